/** The runner as a process: one at a time, small, restartable at any point, one version back. */
import { readdirSync, readFileSync } from "node:fs";
import { chmod, stat, writeFile } from "node:fs/promises";
import { createConnection } from "node:net";
import { join } from "node:path";
import { describe, expect, test, vi } from "vitest";
import { isFault } from "../../../src/common/fault.ts";
import { createLocalLauncher } from "../../../src/launchers/local/index.ts";
import { context, launchOne, makePlan, readOut, statusNow, stopped, untilState } from "../launchers/attempts.ts";
import { failOnLeakedProcesses } from "../../helpers/leaks.ts";
import { descendantsOf, isAlive, listProcesses } from "../../helpers/processes.ts";
import { Program } from "../../helpers/program.ts";
import { temporaryDirectory } from "../../helpers/temporary.ts";
import { waitFor } from "../../helpers/wait.ts";
import { localHarness, runnersOf } from "../launchers/local-harness.ts";

failOnLeakedProcesses();

function residentBytes(pid: number): number {
  return Number(/^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1]) * 1024;
}

describe("one runner", () => {
  test("launchers that come at the same time share one", async () => {
    await using directory = await temporaryDirectory();
    const stateDirectory = directory.join("state");
    const launchers = Array.from({ length: 4 }, () => createLocalLauncher({ stateDirectory, idleMs: 300 }));
    const probes = await Promise.all(launchers.map((launcher) => launcher.probe(context)));
    expect(probes.map((probe) => probe.ok)).toEqual([true, true, true, true]);
    expect(runnersOf(stateDirectory)).toHaveLength(1);
    const [pid = 0] = runnersOf(stateDirectory);
    for (const launcher of launchers) await launcher[Symbol.asyncDispose]();
    await waitFor(() => !isAlive(pid), { what: "the end of the idle runner" });
  });

  test("does not end while an attempt runs, and ends after it", async () => {
    await using harness = await localHarness({ idleMs: 200 });
    const plan = await makePlan(harness.root, "sleep 1.2");
    await launchOne(harness.launcher, plan);
    // Not before: an idle one may have ended meanwhile.
    const [pid = 0] = harness.runners();
    await harness.launcher[Symbol.asyncDispose]();
    const job = descendantsOf(pid, listProcesses()).map((entry) => entry.pid);
    expect(job.length).toBeGreaterThan(0);
    await waitFor(() => !isAlive(pid), { what: "the end of the idle runner" });
    await waitFor(() => !job.some(isAlive), { what: "the end of all that it started" });
  });

  test("D12: only its owner can open its socket, and rubbish on it harms nobody", async () => {
    await using harness = await localHarness();
    const path = join(harness.stateDirectory, "runner.sock");
    expect((await stat(path)).mode & 0o777).toBe(0o600);
    expect((await stat(harness.stateDirectory)).mode & 0o777).toBe(0o700);
    for (const rubbish of ["\n\n{}\n", "GET / HTTP/1.1\r\n\r\n", '{"id":1,"verb":"hello","versions":[99]}\n', "\0\0"]) {
      const socket = createConnection(path);
      const closed = new Promise((resolve) => socket.once("close", resolve));
      socket.on("error", () => {});
      socket.end(rubbish);
      socket.resume();
      await closed;
    }
    const plan = await makePlan(harness.root, "exit 2");
    await launchOne(harness.launcher, plan);
    expect((await untilState(harness.launcher, plan, "ended")).end.exit_code).toBe(2);
  });

  test("D12: a job that kills the runner and its own recorder harms its own result alone", async () => {
    await using harness = await localHarness();
    const [pid = 0] = harness.runners();
    const plan = await makePlan(harness.root, `until [ -e go ]; do sleep 0.02; done; kill -KILL ${pid} $PPID; exit 0`);
    const ref = await launchOne(harness.launcher, plan);
    await writeFile(join(plan.workDirectory, "go"), "");
    expect((await untilState(harness.launcher, ref, "ended")).end.cause).toBe("status-lost");
    await waitFor(() => !isAlive(pid), { what: "the death of the runner" });
    const other = await makePlan(harness.root, "exit 3");
    await launchOne(harness.launcher, other);
    expect((await untilState(harness.launcher, other, "ended")).end.exit_code).toBe(3);
  });

  test("BAL-7: bad attempts among 1,000 hinder none of the others", { timeout: 180_000 }, async () => {
    await using harness = await localHarness();
    const bad = new Map([
      [100, { argv: ["nonesuch-program"] }],
      [200, { directory: join(harness.root, "missing") }],
      [300, { argv: ["sh", "-c", "kill -KILL $PPID $$"] }],
      [400, { argv: ["sh", "-c", "kill -STOP $$"] }],
    ] as const);
    const plans = await Promise.all(
      Array.from({ length: 1000 }, (_, index) =>
        makePlan(harness.root, "", { argv: ["true"], ...(bad.get(index as 100) as object | undefined) }),
      ),
    );
    await harness.launcher.launch(plans, context);
    const good = plans.filter((_, index) => !bad.has(index as 100));
    await waitFor(
      async () => (await harness.launcher.statuses(good, context)).every(({ state }) => state === "ended"),
      { what: "the end of all others", timeoutMs: 150_000, intervalMs: 250 },
    );
    const ends = await harness.launcher.statuses(good, context);
    expect(ends.filter((status) => status.state !== "ended" || status.end.exit_code !== 0)).toEqual([]);
    await Promise.all(plans.filter((plan) => !good.includes(plan)).map((plan) => stopped(harness.launcher, plan)));
  });

  test("300 starts leave no descriptor, no process and no memory behind", async () => {
    await using harness = await localHarness();
    const [pid = 0] = harness.runners();
    const many = async (count: number): Promise<void> => {
      const plans = await Promise.all(Array.from({ length: count }, () => makePlan(harness.root, "exit 0")));
      const results = await harness.launcher.launch(plans, context);
      expect(results.filter((result) => result.state !== "accepted")).toEqual([]);
      await waitFor(
        async () => (await harness.launcher.statuses(plans, context)).every((status) => status.state === "ended"),
        { what: "the end of all", timeoutMs: 50_000 },
      );
      // But the one that forks recorders, which stays as long as the runner.
      const left = () => descendantsOf(pid, listProcesses()).filter(({ command }) => !command.endsWith(" --serve"));
      await waitFor(() => left().length === 0, { what: "no process left" });
    };
    await many(50); // until everything is loaded and warm
    const descriptors = readdirSync(`/proc/${pid}/fd`).length;
    const memory = residentBytes(pid);
    await many(300);
    expect(readdirSync(`/proc/${pid}/fd`).length).toBe(descriptors);
    expect(residentBytes(pid) - memory).toBeLessThan(32 * 1024 * 1024);
    expect(harness.runners()).toEqual([pid]);
  });

  test("attempts run on when the installation's recorder is replaced", async () => {
    await using harness = await localHarness();
    const [digest = ""] = readdirSync(join(harness.stateDirectory, "recorder"));
    const copy = join(harness.stateDirectory, "recorder", digest, "recorder.pl");
    await chmod(copy, 0o700);
    await writeFile(copy, "rubbish");
    await harness.killRunner();
    // A copy that is not what its name says is written anew.
    const plan = await makePlan(harness.root, "exit 3");
    const later = harness.reopen();
    await launchOne(later, plan);
    expect((await untilState(later, plan, "ended")).end.exit_code).toBe(3);
  });
});

describe("versions", () => {
  test.each([
    ["an older launcher", { client: [1] }],
    ["an older runner", { runner: [1] }],
  ])("works with %s", async (_, versions) => {
    await using harness = await localHarness({ versions });
    expect(await harness.launcher.probe(context)).toMatchObject({ version: "runner protocol 1" });
    const plans = await Promise.all([makePlan(harness.root, "exit 5"), makePlan(harness.root, "sleep 60")]);
    const results = await harness.launcher.launch(plans, context);
    expect(results.map((result) => result.state)).toEqual(["accepted", "accepted"]);
    const [short, long] = plans;
    if (!short || !long) throw new Error("no plans");
    expect((await untilState(harness.launcher, short, "ended")).end.exit_code).toBe(5);
    await stopped(harness.launcher, long);
  });

  test("says so when there is no common version", async () => {
    await using directory = await temporaryDirectory();
    const stateDirectory = directory.join("state");
    await using launcher = createLocalLauncher({
      stateDirectory,
      idleMs: 100,
      versions: { client: [3], runner: [1, 2] },
    });
    expect(await launcher.probe(context)).toMatchObject({
      ok: false,
      reason: "no common version: the client speaks 3, this runner 1, 2",
    });
    await expect(launcher.launch([await makePlan(directory.path, "")], context)).rejects.toSatisfy((error) =>
      isFault(error, "RUNNER"),
    );
    await launcher[Symbol.asyncDispose]();
    await waitFor(() => runnersOf(stateDirectory).length === 0, { what: "the end of the runner" });
  });
});

describe("killed at", () => {
  test.each(["runner.before-plan", "runner.before-spawn", "runner.after-spawn"])(
    "%s: the launch is unknown, a second one starts it once",
    async (point) => {
      vi.stubEnv("SITEAGENT_TEST", "1");
      vi.stubEnv("SITEAGENT_FAILPOINTS", `${point}=kill`);
      await using harness = await localHarness();
      vi.unstubAllEnvs();
      const plan = await makePlan(harness.root, "echo once >> ../count; exit 4");
      const [first] = await harness.launcher.launch([plan], context);
      expect(first?.state).toBe("unknown");
      const [handle] = await harness.launcher.find([plan], context);
      if (point !== "runner.after-spawn") expect(handle).toBeUndefined();
      await launchOne(harness.launcher, plan);
      expect((await untilState(harness.launcher, plan, "ended")).end).toMatchObject({ cause: "exit", exit_code: 4 });
      expect(readFileSync(join(plan.workDirectory, "../count"), "utf8")).toBe("once\n");
    },
  );

  test.each(["runner.before-stop", "runner.before-kill", "runner.after-kill"])(
    "%s: a second order ends it",
    async (point) => {
      vi.stubEnv("SITEAGENT_TEST", "1");
      vi.stubEnv("SITEAGENT_FAILPOINTS", `${point}=kill`);
      await using harness = await localHarness();
      vi.unstubAllEnvs();
      const plan = await makePlan(harness.root, "trap '' TERM; echo ready; sleep 60 & wait; sleep 60");
      const ref = await launchOne(harness.launcher, plan);
      await waitFor(async () => (await readOut(plan)).includes("ready"), { what: "the trap" });
      const [pid = 0] = harness.runners();
      await harness.launcher.stop([ref], { graceMs: 100, reason: "test" }, context);
      await waitFor(() => !isAlive(pid), { what: "the death of the runner" });
      await stopped(harness.launcher, ref, 100);
      expect(await statusNow(harness.launcher, ref)).toMatchObject({ state: "ended", end: { cause: "cancelled" } });
    },
  );
});

test("works for a user who is not root", async () => {
  const directory = await temporaryDirectory();
  try {
    const root = process.getuid?.() === 0;
    if (root) await chmod(directory.path, 0o777);
    const who = root ? ["--reuid=65534", "--regid=65534", "--clear-groups", "--"] : [];
    const argv = [...who, process.execPath, join(import.meta.dirname, "as-user.ts"), directory.path];
    const program = root ? "setpriv" : (argv.shift() ?? "");
    await using run = await Program.start(program, argv, {
      env: { PATH: process.env["PATH"] },
      cwd: directory.path,
      input: "",
    });
    const { stdout, stderr, code } = await run.result(50_000);
    expect(stderr, readFileSync(directory.join("state", "runner.log"), "utf8")).toBe("");
    expect(code).toBe(0);
    const report = JSON.parse(stdout) as { uid: number; out: string; ended: object; gone: object; tier: string };
    expect(report.uid).not.toBe(0);
    expect(report.out).toBe(`${report.uid}\n`);
    expect(report.ended).toMatchObject({ state: "ended", end: { cause: "exit", exit_code: 7 } });
    expect(report.gone).toMatchObject({ state: "gone", tier: report.tier });
  } finally {
    await waitFor(() => runnersOf(directory.join("state")).length === 0, { what: "the end of the runner" });
    await directory[Symbol.asyncDispose]();
  }
});
