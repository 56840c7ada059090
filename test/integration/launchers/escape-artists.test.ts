/** Programs that do what they can not to be ended. In every tier: what is said to be gone is gone, and the tier is said as it was. */
import { existsSync } from "node:fs";
import { rm } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import type { AttemptRef } from "../../../src/launchers/types.ts";
import { describeWithEngine } from "../../helpers/engines/index.ts";
import { failOnLeakedProcesses } from "../../helpers/leaks.ts";
import { descendantsOf, isAlive, killIfThere, listProcesses } from "../../helpers/processes.ts";
import { waitFor } from "../../helpers/wait.ts";
import { launchOne, makePlan, pidsPrinted, readOut, statusNow, stopped, untilState } from "./attempts.ts";
import { type LocalHarness, localHarness, tiersHere } from "./local-harness.ts";

failOnLeakedProcesses();

const here = await tiersHere();

/** Each prints the pids of its artists, one a line, and waits for them. */
const artists: readonly (readonly [string, string])[] = [
  [
    "a daemon: own session, no parent, no descriptor, directory /",
    "setsid sh -c 'echo $$; cd /; exec 0<&- 1>&- 2>&-; sleep 61; :' & sleep 62",
  ],
  ["stopped by itself, without a parent", "(setsid sh -c 'echo $$; kill -STOP $$; sleep 61' &); sleep 62"],
  [
    "deaf to every polite signal",
    "sh -c \"trap '' HUP INT QUIT TERM USR1 USR2 ALRM PIPE TSTP CONT; echo \\$\\$; while :; do sleep 1; done\" & wait",
  ],
  [
    "under a name that looks like a line of the process table",
    "sh -c 'printf \"x) Z 1 1 1\" >/proc/$$/comm; echo $$; sleep 61; :' & sleep 62",
  ],
  [
    "in a session of its own at every fork",
    "echo $$; setsid sh -c 'echo $$; setsid sh -c \"echo \\$\\$; sleep 61; :\" & sleep 61; :' & sleep 62",
  ],
];

/** Leaves session, parent and environment; the tier `group` does not see that, and does not say so. */
const vanished = "(env -i setsid sh -c 'echo $$; cd /; exec 0<&- 1>&- 2>&-; sleep 61; :' &); sleep 62";

async function run(harness: LocalHarness, script: string): Promise<AttemptRef & { readonly pids: readonly number[] }> {
  const plan = await makePlan(harness.root, script);
  const ref = await launchOne(harness.launcher, plan);
  return { ...ref, pids: await pidsPrinted(plan, 1) };
}

describe.each(here)("tier %s", (containment) => {
  const gone = { state: "gone", tier: containment };

  test.each(artists)("D2: %s", async (_, script) => {
    await using harness = await localHarness({ containment });
    const it = await run(harness, script);
    expect(await stopped(harness.launcher, it)).toEqual(gone);
    expect(it.pids.filter(isAlive)).toEqual([]);
    expect(await statusNow(harness.launcher, it)).toMatchObject({ state: "ended", remaining: [], tier: containment });
  });

  test("D2: without session, parent and environment it is gone, or the tier is the one that promises less", async () => {
    await using harness = await localHarness({ containment });
    const it = await run(harness, vanished);
    expect(await stopped(harness.launcher, it)).toEqual(gone);
    const left = it.pids.filter(isAlive);
    for (const pid of left)
      for (const each of [...descendantsOf(pid, listProcesses()).map((entry) => entry.pid), pid]) killIfThere(each);
    await waitFor(() => !it.pids.some(isAlive), { what: "the end of what we killed" });
    if (containment !== "group") expect(left).toEqual([]);
  });

  test("D2: what outlives the command is named before it is ended", async () => {
    await using harness = await localHarness({ containment });
    const it = await run(harness, "setsid sh -c 'echo $$; cd /; exec sleep 61' & sleep 0.3; exit 0");
    const status = await untilState(harness.launcher, it, "ended");
    expect(status).toMatchObject({ end: { cause: "exit", exit_code: 0 }, remaining: it.pids });
    expect(await stopped(harness.launcher, it)).toEqual({ state: "gone", tier: containment });
    expect(it.pids.filter(isAlive)).toEqual([]);
  });

  test("D3: a bomb of 500 processes that ignore TERM", async () => {
    await using harness = await localHarness({ containment });
    const bomb = `trap '' TERM; f() { if [ "$1" -gt 0 ]; then f $(($1 - 1)) & f $(($1 - 1)) & fi; sleep 61; }; f 8 & echo $$; sleep 61`;
    const it = await run(harness, bomb);
    expect(await stopped(harness.launcher, it, 100)).toEqual(gone);
    expect(await statusNow(harness.launcher, it)).toMatchObject({ state: "ended", remaining: [] });
    const after = await makePlan(harness.root, "exit 0");
    await launchOne(harness.launcher, after);
    expect((await untilState(harness.launcher, after, "ended")).end.exit_code).toBe(0);
  });

  test("D7: stopped in the very moment of its start", async () => {
    await using harness = await localHarness({ containment });
    const plans = await Promise.all(
      Array.from({ length: 10 }, () => makePlan(harness.root, "trap '' TERM; echo $$; sleep 61 & sleep 62")),
    );
    const refs = await Promise.all(plans.map((plan) => launchOne(harness.launcher, plan)));
    expect(await Promise.all(refs.map((ref) => stopped(harness.launcher, ref, 0)))).toEqual(refs.map(() => gone));
    for (const plan of plans) {
      const pids = (await readOut(plan)).split("\n").filter(Boolean).map(Number);
      expect(pids.filter(isAlive)).toEqual([]);
    }
  });

  describeWithEngine("perl-threads", "faster, and with threads", () => {
    test("D3: one that forks and ends at once, for ever, and ignores TERM: never there when it is looked for", async () => {
      await using harness = await localHarness({ containment });
      // Every 200th of 300,000 generations, each of a fraction of a millisecond, leaves a sign of life.
      const program = "for $n (1..300000) { exit if fork; open F, '>', '../alive' unless $n % 200 }";
      const it = await run(
        harness,
        `(trap '' TERM; exec perl -e "${program.replaceAll("$", "\\$")}") & echo $$; sleep 61`,
      );
      const sign = join(it.directory, "..", "alive");
      await waitFor(() => existsSync(sign), { what: "a sign of life" });
      expect(await stopped(harness.launcher, it, 100)).toEqual(gone);
      await rm(sign, { force: true });
      // As long as thousands of generations take.
      const other = await makePlan(harness.root, "", { argv: ["perl", "-e", "for (1..2000) { exit if !fork; wait }"] });
      await launchOne(harness.launcher, other);
      await untilState(harness.launcher, other, "ended");
      expect(existsSync(sign)).toBe(false);
    });

    test("D2: whose first thread has ended, so that it looks like a zombie, runs on and is ended", async () => {
      await using harness = await localHarness({ containment });
      const program = "use threads; threads->create(sub { $SIG{TERM} = 'IGNORE'; sleep 61 }); syscall(60, 0)";
      const it = await run(harness, `perl -e '${program}' & echo $!; exit 0`);
      const [pid = 0] = it.pids;
      const status = await untilState(harness.launcher, it, "ended");
      expect(status.remaining).toEqual([pid]);
      expect(await stopped(harness.launcher, it)).toEqual(gone);
      expect(isAlive(pid)).toBe(false);
    });

    test("D2: a signal raised in a thread is the command's end", async () => {
      await using harness = await localHarness({ containment });
      const program = "use threads; threads->create(sub { kill 'KILL', $$ })->join; sleep 61";
      const plan = await makePlan(harness.root, "", { argv: ["perl", "-e", program] });
      await launchOne(harness.launcher, plan);
      const { end } = await untilState(harness.launcher, plan, "ended");
      expect(end).toMatchObject(containment === "group" ? { exit_code: 137 } : { cause: "signal", signal: "SIGKILL" });
    });
  });
});
