/** How attempts end, and what is said of it. */
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { AttemptEnd } from "../../jobs/states.ts";
import type { AttemptPlan } from "../../launchers/types.ts";
import { contains, equal, holds, like } from "../check.ts";
import type { Case } from "../suite.ts";
import { type LauncherHarness, context, launchOne, makePlan, stopped, untilState } from "./attempts.ts";

export const ends: readonly Case<LauncherHarness>[] = [
  ...[0, 7, 125, 126, 127, 255].map((code) => ({
    name: `D9, BAL-24: reports exit code ${code} as it is`,
    run: async (harness: LauncherHarness) => {
      const it = await makePlan(harness.root, `exit ${code}`);
      await launchOne(harness.launcher, it);
      const status = await untilState(harness.launcher, it, "ended");
      like(status.end, { cause: "exit", exit_code: code, evidence: "rc" });
      holds(Date.parse(status.end.ended_at) > Date.now() - 60_000, `ended_at is ${status.end.ended_at}`);
      equal(status.remaining, []);
    },
  })),

  {
    name: "D10: a missing command never ran, and the word says so",
    run: async (harness) => {
      const end = await failsToStart(harness, await makePlan(harness.root, "", { argv: ["nonesuch-program"] }), 127);
      if (end.cause === "launch") contains(end.message ?? "", "nonesuch-program");
    },
  },

  {
    name: "D10: a file that is not executable never ran, and the word says so",
    run: async (harness) => {
      const it = await makePlan(harness.root, "");
      const path = join(it.workDirectory, "program");
      await writeFile(path, "#!/bin/sh\nexit 0\n", { mode: 0o600 });
      const end = await failsToStart(harness, { ...it, argv: [path] }, 126);
      if (end.cause === "launch") contains(end.message ?? "", path);
    },
  },

  ...[
    {
      what: "a script without its interpreter",
      content: "#!/nowhere/interpreter\n",
      code: 127,
      word: "/nowhere/interpreter",
    },
    // The first 20 bytes of a program for a processor of IBM's mainframes.
    {
      what: "another processor's program",
      content: Buffer.from("7f454c4602020100000000000000000000020016", "hex"),
      code: 126,
      word: "program",
    },
  ].map(({ what, content, code, word }) => ({
    name: `D10: ${what} never ran`,
    run: async (harness: LauncherHarness) => {
      const it = await makePlan(harness.root, "");
      const path = join(it.workDirectory, "program");
      await writeFile(path, content, { mode: 0o700 });
      const end = await failsToStart(harness, { ...it, argv: [path] }, code);
      if (end.cause === "launch") contains(end.message ?? "", word);
    },
  })),

  {
    name: "BAL-24, TAP-6: death by a signal is no success and no exit code 0",
    run: async (harness) => {
      const it = await makePlan(harness.root, "kill -KILL $$");
      await launchOne(harness.launcher, it);
      const { end } = await untilState(harness.launcher, it, "ended");
      if (end.cause === "signal") like(end, { signal: "SIGKILL" });
      else like(end, { cause: "exit", exit_code: 137 });
    },
  },

  {
    name: "D9: `exit 137` is not called a signal",
    run: async (harness) => {
      const it = await makePlan(harness.root, "exit 137");
      await launchOne(harness.launcher, it);
      const { end } = await untilState(harness.launcher, it, "ended");
      like(end, { cause: "exit", exit_code: 137 });
      equal(end.signal, undefined);
    },
  },

  {
    name: "D1: the time limit ends it, also when it ignores TERM, and the cause is kept",
    run: async (harness) => {
      const it = await makePlan(harness.root, "trap '' TERM; sleep 60 & wait; sleep 60", {
        limitMs: 1_000,
        graceMs: 300,
      });
      await launchOne(harness.launcher, it);
      const status = await untilState(harness.launcher, it, "ended");
      equal(status.end.cause, "timeout");
      await stopped(harness.launcher, it);
    },
  },

  {
    name: "an exit before the limit is an exit",
    run: async (harness) => {
      const it = await makePlan(harness.root, "exit 0", { limitMs: 60_000 });
      await launchOne(harness.launcher, it);
      equal((await untilState(harness.launcher, it, "ended")).end.cause, "exit");
    },
  },

  {
    name: "D8: an exit with 0 after the limit is a timeout",
    run: async (harness) => {
      const it = await makePlan(harness.root, "trap 'exit 0' TERM; sleep 60 & wait", { limitMs: 1_000 });
      await launchOne(harness.launcher, it);
      like((await untilState(harness.launcher, it, "ended")).end, { cause: "timeout", exit_code: 0 });
      await stopped(harness.launcher, it);
    },
  },

  {
    name: "D4: the end is seen at the exit although a grandchild holds the output open",
    run: async (harness) => {
      const it = await makePlan(harness.root, "sleep 60 & echo done");
      await launchOne(harness.launcher, it);
      const status = await untilState(harness.launcher, it, "ended");
      like(status.end, { cause: "exit", exit_code: 0 });
      equal(status.remaining.length, harness.scheduled === true ? 0 : 1);
      await stopped(harness.launcher, it);
      equal((await untilState(harness.launcher, it, "ended")).remaining, []);
    },
  },

  {
    name: "D13: a job that closes its descriptors or leaves its directory ends like any other",
    run: async (harness) => {
      const it = await makePlan(harness.root, 'exec 0<&- 1>&- 2>&-; cd /; rmdir "$OLDPWD"; exit 5');
      await launchOne(harness.launcher, it);
      like((await untilState(harness.launcher, it, "ended")).end, { cause: "exit", exit_code: 5 });
    },
  },
];

/** Refused at once, or accepted and ended so: a launcher that queues cannot know earlier. */
async function failsToStart(harness: LauncherHarness, it: AttemptPlan, code: number): Promise<AttemptEnd> {
  const [result] = await harness.launcher.launch([it], context);
  const refused = result?.state === "refused";
  const end = refused ? result.end : (await untilState(harness.launcher, it, "ended")).end;
  contains(["launch", "exit"], end.cause);
  // Where a shell was to start it, both codes say "could not".
  if (refused) equal(end.exit_code, code);
  else contains([126, 127], end.exit_code);
  return end;
}
