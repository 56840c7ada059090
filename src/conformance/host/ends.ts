/** Ending commands. */
import { readdir } from "node:fs/promises";
import { equal, holds, like, rejects } from "../check.ts";
import { callContext, type Case } from "../suite.ts";
import { type HostHarness, directoryOf, pidIn, shell, untilGone } from "./commands.ts";

export const ends: readonly Case<HostHarness>[] = [
  {
    name: "ends the whole group when the time is over, also what ignores TERM",
    run: async (harness) => {
      const place = await directoryOf(harness, "late");
      const script = `trap "" TERM; (trap "" TERM; echo $$ > leader; exec sleep 300) & echo $! > child; wait; sleep 300`;
      const result = await harness.host.run(shell(place, script, { timeoutMs: 300 }), callContext());
      like(result, { timedOut: true, exitCode: undefined, signal: "SIGKILL" });
      await untilGone(await pidIn(place, "leader"), await pidIn(place, "child"));
    },
  },

  {
    name: "lets a command end by itself within the grace after its time is over",
    run: async (harness) => {
      const script = "trap 'echo bye; exit 7' TERM; sleep 300 & wait";
      const result = await harness.host.run(shell(harness.root, script, { timeoutMs: 300 }), callContext());
      like(result, { timedOut: true, exitCode: 7, stdout: "bye\n" });
    },
  },

  {
    name: "leaves nothing of the group behind when the command ends well",
    run: async (harness) => {
      const place = await directoryOf(harness, "well");
      const { exitCode } = await harness.host.run(shell(place, "sleep 300 & echo $! > child; exit 0"), callContext());
      equal(exitCode, 0);
      await untilGone(await pidIn(place, "child"));
    },
  },

  {
    name: "does not wait for a process that left the group with the output",
    run: async (harness) => {
      const place = await directoryOf(harness, "away");
      const script =
        "setsid sh -c 'echo $$ > away; exec sleep 300' & while [ ! -s away ]; do sleep 0.02; done; echo out";
      const begin = performance.now();
      like(await harness.host.run(shell(place, script), callContext()), { stdout: "out\n", exitCode: 0 });
      holds(performance.now() - begin < 30_000, "it waited for the process that had left");
      process.kill(await pidIn(place, "away"), "SIGKILL");
    },
  },

  ...[
    ["without input", undefined],
    ["with input that it has read", "x\n"],
    ["with input that it does not read", "x".repeat(1_000_000)],
  ].map(([what, stdin]) => ({
    name: `ends the group of a command ${what} and throws CANCELLED when the context aborts`,
    run: async (harness: HostHarness) => {
      const place = await directoryOf(harness, `cancel ${what}`);
      const controller = new AbortController();
      const script = `${stdin === "x\n" ? "read line;" : ""} sleep 300 & echo $! > child; echo $$ > leader; wait`;
      const request = shell(place, script, stdin === undefined ? {} : { stdin });
      const running = harness.host.run(request, callContext(controller.signal));
      const pids = [await pidIn(place, "leader"), await pidIn(place, "child")];
      controller.abort();
      await rejects(running, { name: "Fault", code: "CANCELLED" });
      await untilGone(...pids);
    },
  })),

  {
    name: "starts nothing for a context that has aborted",
    run: async (harness) => {
      const place = await directoryOf(harness, "never");
      const running = harness.host.run(shell(place, "touch late"), callContext(AbortSignal.abort()));
      await rejects(running, { name: "Fault", code: "CANCELLED" });
      equal(await readdir(place), []);
    },
  },
];
