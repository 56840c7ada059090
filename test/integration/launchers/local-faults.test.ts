/** What happens when runner, recorder, machine or people misbehave. Every test has a place of its own: they kill things. */
import { spawn } from "node:child_process";
import { mkdir, readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, test, vi } from "vitest";
import type { AttemptPlan, AttemptRef } from "../../../src/launchers/types.ts";
import { identityOf, nodeIdentity, parseIdentity, type ProcessIdentity } from "../../../src/runner/identity.ts";
import { context, launchOne, makePlan, pidsPrinted, readOut, statusNow, stopped, untilState } from "./attempts.ts";
import { describeWithEngine } from "../../helpers/engines/index.ts";
import { failOnLeakedProcesses } from "../../helpers/leaks.ts";
import { isAlive } from "../../helpers/processes.ts";
import { Program } from "../../helpers/program.ts";
import { temporaryDirectory } from "../../helpers/temporary.ts";
import { waitFor } from "../../helpers/wait.ts";
import { localHarness, tiersHere } from "./local-harness.ts";

failOnLeakedProcesses();

/** A machine without a writable control group tree has one tier less; the suite says so by its names. */
const here = await tiersHere();

async function identityIn(plan: AttemptPlan, name: "recorder" | "job"): Promise<ProcessIdentity> {
  const identity = parseIdentity(await readFile(join(plan.directory, name), "utf8"));
  if (!identity) throw new Error(`no identity in ${name}`);
  return identity;
}

function line(identity: ProcessIdentity, mode = ""): string {
  const { pid, startTicks, bootId, pidNamespace, machineId, atMs } = identity;
  return `1 ${pid} ${startTicks} ${bootId} ${pidNamespace} ${machineId} ${atMs} ${mode}\n`;
}

describeWithEngine("mount", "a full disk", () => {
  test.each(here)(
    "C2: tier %s: the job fails by its own error, and its exit record waits until it can be written",
    { timeout: 60_000 },
    async (containment) => {
      await using directory = await temporaryDirectory("sa-full-");
      const program = join(import.meta.dirname, "programs", "full-disk.ts");
      const args = [
        "-m",
        "--propagation",
        "private",
        process.execPath,
        program,
        directory.join("mounted"),
        containment,
      ];
      const done = await (await Program.start("unshare", args, { env: process.env })).result(50_000);
      expect(done).toMatchObject({ code: 0, stderr: "" });
    },
  );
});

describe.each(here)("tier %s", (containment) => {
  test("the exit code survives the death of the runner", async () => {
    await using harness = await localHarness({ containment });
    const plan = await makePlan(harness.root, "while ! test -e go; do sleep 0.05; done; exit 9");
    const ref = await launchOne(harness.launcher, plan);
    await harness.killRunner();
    expect((await statusNow(harness.launcher, ref)).state).toBe("running");
    await writeFile(join(plan.workDirectory, "go"), "");
    expect((await untilState(harness.launcher, ref, "ended")).end).toMatchObject({ cause: "exit", exit_code: 9 });
    expect(harness.runners()).toEqual([]); // reading evidence needs none
  });

  test("the time limit holds without agent and runner", async () => {
    await using harness = await localHarness({ containment });
    const plan = await makePlan(harness.root, "trap '' TERM; echo $$; setsid sleep 60 & sleep 60 & wait; sleep 60", {
      limitMs: 1_500,
      graceMs: 200,
    });
    await launchOne(harness.launcher, plan);
    await harness.launcher[Symbol.asyncDispose]();
    await harness.killRunner();
    const later = harness.reopen();
    const status = await untilState(later, plan, "ended");
    expect(status.end.cause).toBe("timeout");
    await waitFor(async () => (await untilState(later, plan, "ended")).remaining.length === 0, {
      what: "nothing left",
    });
    expect(harness.runners()).toEqual([]);
  });

  test("B16, TAP-6: a recorder that was killed: running, then lost, never success", async () => {
    await using harness = await localHarness({ containment });
    const plan = await makePlan(harness.root, "sleep 1.5; exit 0");
    const ref = await launchOne(harness.launcher, plan);
    process.kill((await identityIn(plan, "recorder")).pid, "SIGKILL");
    const later = harness.reopen();
    expect((await untilState(later, ref, "running")).state).toBe("running");
    const { end } = await untilState(later, ref, "ended");
    expect(end).toMatchObject({ cause: "status-lost", evidence: "identity" });
    expect(end.exit_code).toBeUndefined();
  });

  test("B17: runner and recorder killed, the job lives: adopted by its identity and stopped", async () => {
    await using harness = await localHarness({ containment });
    const plan = await makePlan(harness.root, "sleep 60 & echo $!; echo $$; wait");
    const ref = await launchOne(harness.launcher, plan);
    const pids = await pidsPrinted(plan, 2);
    await harness.killRunner();
    process.kill((await identityIn(plan, "recorder")).pid, "SIGKILL");
    const later = harness.reopen();
    const bare = { token: ref.token, directory: ref.directory };
    expect((await untilState(later, bare, "running")).state).toBe("running");
    await stopped(later, bare);
    expect(pids.filter(isAlive)).toEqual([]);
    expect(await statusNow(later, bare)).toMatchObject({
      state: "ended",
      end: { cause: "status-lost" },
      remaining: [],
    });
  });

  test("D2: processes that leave session, group and parent die with the attempt", async () => {
    await using harness = await localHarness({ containment });
    const escape =
      "setsid sh -c '(sleep 61 & echo $!) &'; (setsid sleep 62 & echo $!); sleep 63 & echo $!; wait; sleep 64";
    const plan = await makePlan(harness.root, escape);
    const ref = await launchOne(harness.launcher, plan);
    const pids = await pidsPrinted(plan, 3);
    await stopped(harness.launcher, ref);
    expect(pids.filter(isAlive)).toEqual([]);
    expect(await statusNow(harness.launcher, ref)).toMatchObject({ state: "ended", remaining: [] });
  });

  test("D2: processes that outlive the command are reported, and die on request", async () => {
    await using harness = await localHarness({ containment });
    const plan = await makePlan(harness.root, "setsid sleep 61 & echo $!; exit 0");
    const ref = await launchOne(harness.launcher, plan);
    const pids = await pidsPrinted(plan, 1);
    const status = await untilState(harness.launcher, ref, "ended");
    expect(status).toMatchObject({ end: { cause: "exit", exit_code: 0 }, remaining: pids });
    await stopped(harness.launcher, ref);
    expect(pids.filter(isAlive)).toEqual([]);
  });

  test("D3: a job that forks without end is outrun", async () => {
    await using harness = await localHarness({ containment });
    const forker = "trap '' TERM; n=0; while [ $n -lt 5000 ]; do sleep 60 & n=$((n + 1)); sleep 0.002; done; wait";
    const plan = await makePlan(harness.root, `(${forker}) & echo ready; ${forker}`);
    const ref = await launchOne(harness.launcher, plan);
    await waitFor(async () => (await readOut(plan)).includes("ready"), { what: "the forkers" });
    await stopped(harness.launcher, ref, 100);
    expect(await statusNow(harness.launcher, ref)).toMatchObject({ state: "ended", remaining: [] });
  });

  test("D14: a job that was stopped by SIGSTOP is shown so, its limit runs, and it can be ended", async () => {
    await using harness = await localHarness({ containment });
    const plan = await makePlan(harness.root, "kill -STOP $$; exit 0", { limitMs: 2_000, graceMs: 200 });
    const ref = await launchOne(harness.launcher, plan);
    const other = harness.reopen();
    await waitFor(
      async () => {
        const status = await statusNow(other, ref);
        await harness.killRunner().catch(() => {});
        return status.state === "running" && status.suspended;
      },
      { what: "suspended" },
    );
    expect((await untilState(other, ref, "ended")).end.cause).toBe("timeout");
    await stopped(other, ref);
  });

  test("output beyond the cap costs no space, keeps head and tail, and hurts nobody", async () => {
    await using harness = await localHarness({ containment });
    const script = "echo first; head -c 8000000 /dev/zero | tr '\\0' x; echo; echo last; echo problem >&2; exit 3";
    const plan = await makePlan(harness.root, script, { maxOutputBytes: 1_000_000 });
    const ref = await launchOne(harness.launcher, plan);
    const { end } = await untilState(harness.launcher, ref, "ended");
    expect(end).toMatchObject({ cause: "exit", exit_code: 3, message: "output beyond its cap was dropped" });
    const out = await readFile(join(plan.directory, "out"));
    expect(out.subarray(0, 6).toString()).toBe("first\n");
    expect(out.subarray(-6).toString()).toBe("\nlast\n");
    expect(out.length).toBe(8_000_000 + 12);
    const [from = 0, to = 0] = (await readOut(plan, "out.dropped")).split(" ").map(Number);
    expect(out.length - (to - from)).toBeLessThanOrEqual(1_000_000);
    expect(out.subarray(from, to).includes(1)).toBe(false);
    expect(await readOut(plan, "err")).toBe("problem\n");
  });

  test("C13: a job that deletes its attempt directory is followed by its identity and never a success", async () => {
    await using harness = await localHarness({ containment });
    const plan = await makePlan(harness.root, "sleep 0.5; rm -rf ../attempt; echo gone > ../mark; sleep 1; exit 0");
    const ref = await launchOne(harness.launcher, plan);
    await waitFor(() => readFile(join(plan.workDirectory, "../mark")), { what: "the deletion" });
    expect((await statusNow(harness.reopen(), ref)).state).toBe("running");
    const { end } = await untilState(harness.reopen(), ref, "ended");
    expect(end.cause).toBe("status-lost");
    expect(await harness.launcher.find([{ token: ref.token, directory: ref.directory }], context)).not.toEqual([
      undefined,
    ]);
  });

  test("nothing of the agent's environment reaches the job, its recorder or the runner", async () => {
    vi.stubEnv("SITEAGENT_CLIENT_SECRET", "planted-secret-4711");
    vi.stubEnv("NOTIFY_SOCKET", "planted-secret-4711");
    await using harness = await localHarness({ containment });
    const plan = await makePlan(harness.root, "env; cat /proc/$PPID/environ; cat /proc/$PPID/cmdline");
    await launchOne(harness.launcher, plan);
    await untilState(harness.launcher, plan, "ended");
    expect(await readOut(plan)).not.toContain("planted-secret");
    for (const pid of harness.runners()) {
      expect(await readFile(`/proc/${pid}/environ`, "utf8")).not.toContain("planted-secret");
    }
  });

  test("limits of the job are its own: open files, core, who dies first, descriptors, session", async () => {
    await using harness = await localHarness({ containment, openFiles: 777 });
    const script =
      "ulimit -n; ulimit -c; cat /proc/self/oom_score_adj; ls /proc/self/fd; cut -d' ' -f6 /proc/$$/stat; echo $$";
    const plan = await makePlan(harness.root, script);
    await launchOne(harness.launcher, plan);
    await untilState(harness.launcher, plan, "ended");
    const lines = (await readOut(plan)).trim().split("\n");
    expect(lines.slice(0, 3)).toEqual(["777", "0", "500"]);
    expect(lines.slice(3, -2)).toEqual(["0", "1", "2", "3"]); // 3 is what ls reads
    expect(lines.at(-2)).toBe(lines.at(-1));
  });
});

describe("containment", () => {
  test.runIf(here.includes("subreaper")).each(here.filter((tier) => tier !== "group"))(
    "%s holds what has left its session, its parent and its environment",
    async (containment) => {
      await using harness = await localHarness({ containment });
      const plan = await makePlan(harness.root, "(env -i setsid sh -c '(sleep 61 & echo $!) &'); sleep 62");
      const ref = await launchOne(harness.launcher, plan);
      const pids = await pidsPrinted(plan, 1);
      await stopped(harness.launcher, ref);
      expect(pids.filter(isAlive)).toEqual([]);
      const status = await untilState(harness.launcher, ref, "ended");
      expect(status).toMatchObject({ remaining: [], tier: containment });
    },
  );
});

describe("identity", () => {
  async function stranger(harness: { root: string }, change: Partial<ProcessIdentity>) {
    const bystander = spawn("sleep", ["60"], { stdio: "ignore" });
    const pid = bystander.pid ?? 0;
    const plan = await makePlan(harness.root, "");
    await mkdir(join(plan.directory, "started"));
    const identity = identityOf(pid);
    if (!identity) throw new Error("no bystander");
    const forged = { ...identity, ...change };
    await writeFile(join(plan.directory, "recorder"), line(forged, "perl"));
    await writeFile(join(plan.directory, "job"), line(forged));
    const ref: AttemptRef = { token: plan.token, directory: plan.directory };
    const end = async (): Promise<void> => {
      const over = new Promise((resolve) => bystander.once("exit", resolve));
      bystander.kill("SIGKILL");
      await over;
    };
    return { ref, plan, pid, [Symbol.asyncDispose]: end };
  }

  test("B18: a process that has our number by chance is never signalled, and ours counts as lost", async () => {
    await using harness = await localHarness();
    await using other = await stranger(harness, { startTicks: 1 });
    expect(await statusNow(harness.launcher, other.ref)).toMatchObject({
      state: "ended",
      end: { cause: "status-lost" },
    });
    await stopped(harness.launcher, other.ref);
    expect(isAlive(other.pid)).toBe(true);
  });

  test("B15: a machine that was restarted: cause node, and no signal", async () => {
    await using harness = await localHarness();
    await using other = await stranger(harness, { bootId: "11111111-2222-3333-4444-555555555555" });
    expect(await statusNow(harness.launcher, other.ref)).toMatchObject({
      state: "ended",
      end: { cause: "node", evidence: "identity" },
      remaining: [],
    });
    await stopped(harness.launcher, other.ref);
    expect(isAlive(other.pid)).toBe(true);
  });

  test.each([{ machineId: "0123456789abcdef0123456789abcdef" }, { pidNamespace: "1" }])(
    "another machine or container (%o): unknown, and no signal",
    async (change) => {
      await using harness = await localHarness();
      await using other = await stranger(harness, change);
      expect(await statusNow(harness.launcher, other.ref)).toMatchObject({ state: "unknown", why: "unreachable" });
      const [answer] = await harness.launcher.stop([other.ref], { graceMs: 0, reason: "test" }, context);
      expect(answer?.state).toBe("unknown");
      expect(isAlive(other.pid)).toBe(true);
    },
  );

  test("B15: an exit record that was written before the restart counts", async () => {
    await using harness = await localHarness();
    await using other = await stranger(harness, { bootId: "11111111-2222-3333-4444-555555555555" });
    await writeFile(join(other.plan.directory, "rc"), `0\n1 exit 0 ${Date.now()} - 0 0 0\n`);
    expect(await statusNow(harness.launcher, other.ref)).toMatchObject({
      state: "ended",
      end: { cause: "exit", exit_code: 0 },
      remaining: [],
    });
  });

  test("damaged evidence is no success", async () => {
    await using harness = await localHarness();
    const plan = await makePlan(harness.root, "");
    await mkdir(join(plan.directory, "started"));
    await writeFile(join(plan.directory, "recorder"), "rubbish\n");
    await writeFile(join(plan.directory, "rc"), "0\n");
    expect(await statusNow(harness.launcher, plan)).toMatchObject({ state: "unknown", why: "unrecognised" });
  });

  test("a start guard without identity is starting for 30 s, then never started", async () => {
    await using harness = await localHarness();
    const plan = await makePlan(harness.root, "");
    await mkdir(join(plan.directory, "started"));
    expect(await statusNow(harness.launcher, plan)).toEqual({ state: "unknown", why: "starting" });
    const late = { ...context, clock: { ...context.clock, now: () => Date.now() + 31_000 } };
    expect(await harness.launcher.statuses([plan], late)).toEqual([{ state: "absent" }]);
    expect(nodeIdentity().bootId).toMatch(/^[0-9a-f-]{36}$/);
    await rm(plan.directory, { recursive: true });
  });
});

describe("evidence that a job could have forged", () => {
  test("a control group that does not bear the attempt's token is never killed", async () => {
    await using harness = await localHarness();
    const bystander = await makePlan(harness.root, "sleep 60");
    const other = await launchOne(harness.launcher, bystander);
    const plan = await makePlan(harness.root, "exit 0");
    await launchOne(harness.launcher, plan);
    await untilState(harness.launcher, plan, "ended");
    const group = await readFile(join(bystander.directory, "cgroup"), "utf8").catch(() => "/sys/fs/cgroup\n");
    await writeFile(join(plan.directory, "cgroup"), group);
    await rm(join(plan.directory, "rc"));
    await stopped(harness.reopen(), plan);
    expect((await statusNow(harness.launcher, other)).state).toBe("running");
    await stopped(harness.launcher, other);
  });

  test("a second launch after an interrupted start says that nothing ran", async () => {
    await using harness = await localHarness();
    const plan = await makePlan(harness.root, "exit 0");
    await mkdir(join(plan.directory, "started"));
    expect(await harness.launcher.launch([plan], context)).toMatchObject([{ state: "unknown" }]);
    const late = { ...context, clock: { ...context.clock, now: () => Date.now() + 31_000 } };
    expect(await harness.launcher.launch([plan], late)).toMatchObject([
      { state: "refused", end: { cause: "infrastructure" } },
    ]);
  });

  test("an attempt stopped before its start stays so, at once and for good", async () => {
    await using harness = await localHarness();
    const plan = await makePlan(harness.root, "exit 0");
    const order = { graceMs: 0, reason: "test" };
    for (let again = 0; again < 2; again++) {
      expect(await harness.launcher.stop([plan], order, context)).toEqual([{ state: "gone", tier: "never-started" }]);
      expect(await statusNow(harness.launcher, plan)).toEqual({ state: "absent" });
    }
    expect(await harness.launcher.launch([plan], context)).toMatchObject([{ state: "refused" }]);
  });

  test("a job that stops its own recorder is ended all the same", async () => {
    await using harness = await localHarness();
    const script = "until [ -e go ]; do sleep 0.02; done; kill -STOP $PPID; echo stopped; sleep 60";
    const plan = await makePlan(harness.root, script);
    const ref = await launchOne(harness.launcher, plan);
    await writeFile(join(plan.workDirectory, "go"), "");
    await waitFor(async () => (await readOut(plan)).includes("stopped"), { what: "the stop of the recorder" });
    await stopped(harness.launcher, ref);
    expect(await statusNow(harness.launcher, ref)).toMatchObject({ state: "ended", end: { cause: "cancelled" } });
  });
});
