/** What every launcher promises (src/launchers/types.ts), proven on real processes. `make` gives a place to run in and clears it up. */
import { readFile, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { AttemptEnd } from "../../src/jobs/states.ts";
import type { AttemptPlan, Launcher } from "../../src/launchers/types.ts";
import { waitFor } from "../helpers/wait.ts";
import {
  context,
  launchOne,
  makePlan,
  readOut,
  statusNow,
  stopped,
  untilState,
} from "../integration/launchers/attempts.ts";

/** One launcher with a directory of its own; the tests of a suite share it. */
export interface LauncherHarness extends AsyncDisposable {
  readonly launcher: Launcher;
  /** Where the tests make directories of attempts. */
  readonly root: string;
  /** A second launcher on the same place, as a restarted agent makes it. */
  reopen(): Launcher;
  /** A scheduler starts the attempts: it lays its own variables under the plan's, and ends what outlives them. */
  readonly scheduled?: boolean;
}

export function describeLauncher(name: string, make: () => Promise<LauncherHarness>): void {
  describe(`launcher contract: ${name}`, () => {
    let harness: LauncherHarness;
    beforeAll(async () => {
      harness = await make();
    });
    afterAll(async () => {
      await harness[Symbol.asyncDispose]();
    });
    const plan = (script: string, extra?: Partial<AttemptPlan>): Promise<AttemptPlan> =>
      makePlan(harness.root, script, extra);

    describe("starts", () => startTests(() => harness, plan));
    describe("ends", () => endTests(() => harness, plan));
    describe("stops", () => stopTests(() => harness, plan));
    describe("environment", () => environmentTests(() => harness, plan));
  });
}

type Plan = (script: string, extra?: Partial<AttemptPlan>) => Promise<AttemptPlan>;

function startTests(harness: () => LauncherHarness, plan: Plan): void {
  test("works here, and says in which tier", async () => {
    const { launcher } = harness();
    expect(await launcher.probe(context)).toMatchObject({ ok: true });
    expect(["cgroup", "unit", "subreaper", "group", "scheduler"]).toContain(launcher.capabilities.tier);
  });

  test("knows nothing of what was never launched", async () => {
    const ref = await plan("exit 0");
    expect(await harness().launcher.find([ref], context)).toEqual([undefined]);
    expect(await statusNow(harness().launcher, ref)).toEqual({ state: "absent" });
  });

  test("gives one result for each plan, in order", async () => {
    const plans = await Promise.all([3, 1, 2].map((code) => plan(`exit ${code}`)));
    const [first, second, third] = plans;
    if (!first || !second || !third) throw new Error("no plans");
    const missing = await plan("", { argv: ["nonesuch-program"] });
    const results = await harness().launcher.launch([first, missing, second, third], context);
    expect(results.map((result) => result.state)).toEqual(["accepted", expect.anything(), "accepted", "accepted"]);
    const codes = [];
    for (const each of plans) codes.push((await untilState(harness().launcher, each, "ended")).end.exit_code);
    expect(codes).toEqual([3, 1, 2]);
  });

  test("starts a token once, however often and by whomever it is launched", async () => {
    const once = await plan("echo started >> ../count; sleep 0.3");
    const other = harness().reopen();
    try {
      const tries = Array.from({ length: 20 }, (_, index) =>
        (index % 2 ? other : harness().launcher).launch([once], context),
      );
      const results = (await Promise.all(tries)).flat();
      expect(new Set(results.map((result) => result.state))).toEqual(new Set(["accepted"]));
      await untilState(harness().launcher, once, "ended");
      const [again] = await harness().launcher.launch([once], context);
      expect(again?.state).toBe("accepted");
      expect(await readFile(join(once.workDirectory, "..", "count"), "utf8")).toBe("started\n");
    } finally {
      await other[Symbol.asyncDispose]();
    }
  });

  test("BAL-15: is found by a restarted agent that has no handle", async () => {
    const it = await plan("sleep 60");
    await launchOne(harness().launcher, it);
    const restarted = harness().reopen();
    try {
      const ref = { token: it.token, directory: it.directory };
      const [handle] = await restarted.find([ref], context);
      expect(handle).toMatchObject({ version: expect.any(Number) });
      await untilState(restarted, { ...ref, handle }, "running");
      await stopped(restarted, { ...ref, handle });
      expect((await statusNow(restarted, ref)).state).toBe("ended");
    } finally {
      await restarted[Symbol.asyncDispose]();
    }
  });

  test("D11: refuses arguments that are too large, with sizes, and starts nothing", async () => {
    const large = await plan("", { argv: ["echo", "x".repeat(200_000)] });
    const [result] = await harness().launcher.launch([large], context);
    expect(result).toMatchObject({ state: "refused", end: { cause: "launch" } });
    expect(JSON.stringify(result)).toContain("argv[1] has 200000 bytes");
    expect(await harness().launcher.find([large], context)).toEqual([undefined]);
  });

  test("calls back when an attempt ends", async () => {
    const seen = new Set<string>();
    using _watch = harness().launcher.watch((token) => void seen.add(token));
    const it = await plan("exit 0");
    await launchOne(harness().launcher, it);
    await waitFor(() => seen.has(it.token), { what: "a call back" });
  });
}

function endTests(harness: () => LauncherHarness, plan: Plan): void {
  test.each([0, 7, 125, 126, 127, 255])("D9, BAL-24: reports exit code %i as it is", async (code) => {
    const it = await plan(`exit ${code}`);
    await launchOne(harness().launcher, it);
    const status = await untilState(harness().launcher, it, "ended");
    expect(status.end).toMatchObject({ cause: "exit", exit_code: code, evidence: "rc" });
    expect(Date.parse(status.end.ended_at)).toBeGreaterThan(Date.now() - 60_000);
    expect(status.remaining).toEqual([]);
  });

  /** Refused at once, or accepted and ended so: a launcher that queues cannot know earlier. */
  async function failsToStart(it: AttemptPlan, code: number): Promise<AttemptEnd> {
    const [result] = await harness().launcher.launch([it], context);
    const refused = result?.state === "refused";
    const end = refused ? result.end : (await untilState(harness().launcher, it, "ended")).end;
    expect(["launch", "exit"]).toContain(end.cause);
    // Where a shell was to start it, both codes say "could not".
    if (refused) expect(end.exit_code).toBe(code);
    else expect([126, 127]).toContain(end.exit_code);
    return end;
  }

  test("D10: a missing command never ran, and the word says so", async () => {
    const end = await failsToStart(await plan("", { argv: ["nonesuch-program"] }), 127);
    if (end.cause === "launch") expect(end.message).toContain("nonesuch-program");
  });

  test("D10: a file that is not executable never ran, and the word says so", async () => {
    const it = await plan("");
    const path = join(it.workDirectory, "program");
    await writeFile(path, "#!/bin/sh\nexit 0\n", { mode: 0o600 });
    const end = await failsToStart({ ...it, argv: [path] }, 126);
    if (end.cause === "launch") expect(end.message).toContain(path);
  });

  test.each([
    ["#!/nowhere/interpreter\n", 127, "/nowhere/interpreter"],
    // The first 20 bytes of a program for a processor of IBM's mainframes.
    [Buffer.from("7f454c4602020100000000000000000000020016", "hex"), 126, "program"],
  ])(
    "D10: a script without its interpreter, or another processor's program, never ran",
    async (content, code, word) => {
      const it = await plan("");
      const path = join(it.workDirectory, "program");
      await writeFile(path, content, { mode: 0o700 });
      const end = await failsToStart({ ...it, argv: [path] }, code);
      if (end.cause === "launch") expect(end.message).toContain(word);
    },
  );

  test("BAL-24, TAP-6: death by a signal is no success and no exit code 0", async () => {
    const it = await plan("kill -KILL $$");
    await launchOne(harness().launcher, it);
    const { end } = await untilState(harness().launcher, it, "ended");
    if (end.cause === "signal") expect(end).toMatchObject({ signal: "SIGKILL" });
    else expect(end).toMatchObject({ cause: "exit", exit_code: 137 });
  });

  test("D9: `exit 137` is not called a signal", async () => {
    const it = await plan("exit 137");
    await launchOne(harness().launcher, it);
    const { end } = await untilState(harness().launcher, it, "ended");
    expect(end).toMatchObject({ cause: "exit", exit_code: 137 });
    expect(end.signal).toBeUndefined();
  });

  test("D1: the time limit ends it, also when it ignores TERM, and the cause is kept", async () => {
    const it = await plan("trap '' TERM; sleep 60 & wait; sleep 60", { limitMs: 1_000, graceMs: 300 });
    await launchOne(harness().launcher, it);
    const status = await untilState(harness().launcher, it, "ended");
    expect(status.end.cause).toBe("timeout");
    await stopped(harness().launcher, it);
  });

  test("an exit before the limit is an exit", async () => {
    const it = await plan("exit 0", { limitMs: 60_000 });
    await launchOne(harness().launcher, it);
    expect((await untilState(harness().launcher, it, "ended")).end.cause).toBe("exit");
  });

  test("D8: an exit with 0 after the limit is a timeout", async () => {
    const it = await plan("trap 'exit 0' TERM; sleep 60 & wait", { limitMs: 1_000 });
    await launchOne(harness().launcher, it);
    expect((await untilState(harness().launcher, it, "ended")).end).toMatchObject({ cause: "timeout", exit_code: 0 });
    await stopped(harness().launcher, it);
  });

  test("D4: the end is seen at the exit although a grandchild holds the output open", async () => {
    const it = await plan("sleep 60 & echo done");
    await launchOne(harness().launcher, it);
    const status = await untilState(harness().launcher, it, "ended");
    expect(status.end).toMatchObject({ cause: "exit", exit_code: 0 });
    expect(status.remaining).toHaveLength(harness().scheduled === true ? 0 : 1);
    await stopped(harness().launcher, it);
    expect((await untilState(harness().launcher, it, "ended")).remaining).toEqual([]);
  });

  test("D13: a job that closes its descriptors or leaves its directory ends like any other", async () => {
    const it = await plan('exec 0<&- 1>&- 2>&-; cd /; rmdir "$OLDPWD"; exit 5');
    await launchOne(harness().launcher, it);
    expect((await untilState(harness().launcher, it, "ended")).end).toMatchObject({ cause: "exit", exit_code: 5 });
  });
}

function stopTests(harness: () => LauncherHarness, plan: Plan): void {
  test("ends a running attempt, and the cause is the order", async () => {
    const it = await plan("sleep 60");
    const ref = await launchOne(harness().launcher, it);
    await untilState(harness().launcher, ref, "running");
    const [first] = await harness().launcher.stop([ref], { graceMs: 1_000, reason: "test" }, context);
    expect(first).toEqual({ state: "stopping" });
    await stopped(harness().launcher, ref);
    expect(await statusNow(harness().launcher, ref)).toMatchObject({
      state: "ended",
      end: { cause: "cancelled" },
      remaining: [],
    });
  });

  test("lets it clean up within the grace period", async () => {
    const it = await plan("trap 'echo cleaned; exit 3' TERM; echo ready; sleep 60 & wait");
    const ref = await launchOne(harness().launcher, it);
    await waitFor(async () => (await readOut(it)).includes("ready"), { what: "the trap" });
    await stopped(harness().launcher, ref, 5_000);
    expect((await statusNow(harness().launcher, ref)) as object).toMatchObject({
      end: { cause: "cancelled", exit_code: 3 },
    });
    expect(await readOut(it)).toContain("cleaned");
  });

  test("D1: ends one that ignores TERM, and all its children", async () => {
    const it = await plan("trap '' TERM; sleep 61 & sleep 62 & echo ready; wait; sleep 63");
    const ref = await launchOne(harness().launcher, it);
    await waitFor(async () => (await readOut(it)).includes("ready"), { what: "the trap" });
    await stopped(harness().launcher, ref, 200);
    expect(await statusNow(harness().launcher, ref)).toMatchObject({ state: "ended", remaining: [] });
  });

  test("an attempt that was stopped before its start never starts", async () => {
    const it = await plan("touch ../ran");
    await stopped(harness().launcher, it);
    await harness().launcher.launch([it], context);
    await expect(stat(join(it.workDirectory, "..", "ran"))).rejects.toThrow("ENOENT");
  });

  test("D6: an exit in the very moment of the stop has one end, and its code is kept", async () => {
    const plans = await Promise.all(Array.from({ length: 8 }, (_, index) => plan(`sleep 0.${index}; exit 4`)));
    const refs = await Promise.all(plans.map((it) => launchOne(harness().launcher, it)));
    for (const ref of refs.slice(0, 4)) await untilState(harness().launcher, ref, "ended");
    await Promise.all(refs.map((ref) => stopped(harness().launcher, ref, 5_000)));
    const ends = await Promise.all(refs.map(async (ref) => await untilState(harness().launcher, ref, "ended")));
    expect(ends[3]?.end).toMatchObject({ cause: "exit", exit_code: 4 });
    for (const { end, remaining } of ends) {
      expect(remaining).toEqual([]);
      expect(["exit", "cancelled"]).toContain(end.cause);
      if (end.cause === "exit") expect(end.exit_code).toBe(4);
    }
    const later = harness().reopen();
    const again = await Promise.all(refs.map(async (ref) => await untilState(later, ref, "ended")));
    expect(again.map(({ end }) => end)).toEqual(ends.map(({ end }) => end));
    await later[Symbol.asyncDispose]();
  });

  test("D6: stopping what has ended changes nothing", async () => {
    const it = await plan("exit 4");
    const ref = await launchOne(harness().launcher, it);
    await untilState(harness().launcher, ref, "ended");
    await stopped(harness().launcher, ref);
    expect(await statusNow(harness().launcher, ref)).toMatchObject({ end: { cause: "exit", exit_code: 4 } });
  });
}

function environmentTests(harness: () => LauncherHarness, plan: Plan): void {
  test("is exactly the plan's", async () => {
    const environment = { PATH: "/usr/bin:/bin", ODD: "a 'b' \"c\" $d `e` \\ \nnext line", EMPTY: "" };
    const it = await plan("", { argv: ["/usr/bin/env", "-0"], environment });
    await launchOne(harness().launcher, it);
    await untilState(harness().launcher, it, "ended");
    const lines = (await readOut(it)).split("\0").filter(Boolean);
    const found = Object.fromEntries(lines.map((line) => line.split(/=(.*)/s).slice(0, 2))) as object;
    if (harness().scheduled !== true) expect(found).toEqual(environment);
    else expect(found).toMatchObject(environment);
    expect(found).not.toHaveProperty("OLDPWD");
  });

  test("BAL-20: arguments arrive as they are", async () => {
    const odd = ["", " ", "a b", "'", '"', "$HOME", "`id`", "\\", "*", "-n", "line\nline", "ü€", "%s"];
    const it = await plan("", { argv: ["printf", "[%s]\\n", ...odd] });
    await launchOne(harness().launcher, it);
    await untilState(harness().launcher, it, "ended");
    expect(await readOut(it)).toBe(odd.map((text) => `[${text}]\n`).join(""));
  });

  test("working directory, umask, empty stdin, output to files", async () => {
    const it = await plan("pwd -P; umask; cat; echo problem >&2; touch new; exit 0", { umask: 0o027 });
    await launchOne(harness().launcher, it);
    await untilState(harness().launcher, it, "ended");
    expect(await readOut(it)).toBe(`${it.workDirectory}\n0027\n`);
    expect(await readOut(it, "err")).toBe("problem\n");
    expect((await stat(join(it.workDirectory, "new"))).mode & 0o777).toBe(0o640);
    expect((await stat(join(it.directory, "out"))).mode & 0o077).toBe(0);
  });
}
