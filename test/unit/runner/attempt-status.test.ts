/** What directory and process table say of an attempt: absence is not evidence, and nothing unidentified is ever touched. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdir, rm, symlink, utimes, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { systemClock } from "../../../src/common/clock.ts";
import { silentLogger } from "../../../src/common/logger.ts";
import { newToken } from "../../../src/common/token.ts";
import { type AttemptName, lookAt } from "../../../src/runner/attempt-status.ts";
import { identityOf, nodeIdentity, type ProcessIdentity } from "../../../src/runner/identity.ts";
import { cookieName } from "../../../src/runner/processes.ts";
import { Stopper } from "../../../src/runner/stop.ts";
import { temporaryDirectory } from "../../helpers/temporary.ts";
import { waitFor } from "../../helpers/wait.ts";

const now = Date.now();
const anHourAgo = new Date(now - 3_600_000);

const ended: ProcessIdentity = { ...nodeIdentity(), pid: process.pid, startTicks: 1, atMs: now };
const elsewhere: ProcessIdentity = { ...ended, machineId: "0123456789abcdef0123456789abcdef" };
const beforeBoot: ProcessIdentity = { ...ended, bootId: "00000000-0000-0000-0000-000000000000" };

const lineOf = ({ pid, startTicks, bootId, pidNamespace, machineId, atMs }: ProcessIdentity, mode = "sh"): string =>
  `1 ${pid} ${startTicks} ${bootId} ${pidNamespace} ${machineId} ${atMs} ${mode}\n`;

interface Content {
  readonly guard?: "now" | "an hour ago" | "of a stop";
  readonly recorder?: ProcessIdentity | "damaged";
  readonly job?: ProcessIdentity | "damaged";
  readonly rc?: string;
  readonly stop?: boolean;
}

/** An attempt's directory with the given content. */
async function attempt(root: string, content: Content): Promise<AttemptName> {
  const name = { token: newToken(), directory: join(root, newToken()) };
  await mkdir(name.directory);
  const put = (file: string, text: string): Promise<void> => writeFile(join(name.directory, file), text);
  if (content.guard === "of a stop") await symlink(".", join(name.directory, "started"));
  else if (content.guard !== undefined) await mkdir(join(name.directory, "started"));
  if (content.guard === "an hour ago") await utimes(join(name.directory, "started"), anHourAgo, anHourAgo);
  for (const file of ["recorder", "job"] as const) {
    const identity = content[file];
    if (identity !== undefined) await put(file, identity === "damaged" ? "rubbish" : lineOf(identity));
  }
  if (content.rc !== undefined) await put("rc", content.rc);
  if (content.stop === true) await put("stop", "0\ntest\n");
  return name;
}

describe("an attempt of which no process lives", () => {
  it.each<[string, Content, object]>([
    ["was never begun", {}, { state: "absent" }],
    ["was kept from beginning", { guard: "now", stop: true }, { state: "absent" }],
    ["was kept from beginning by a runner that died then", { guard: "of a stop" }, { state: "absent" }],
    ["has just taken its guard", { guard: "now" }, { state: "unknown", why: "starting" }],
    ["died between guard and identity", { guard: "an hour ago" }, { state: "absent" }],
    [
      "has a damaged identity",
      { guard: "an hour ago", recorder: "damaged" },
      { state: "unknown", why: "unrecognised" },
    ],
    [
      "has a recorder on another machine",
      { guard: "an hour ago", recorder: elsewhere },
      { state: "unknown", why: "unreachable", raw: expect.stringContaining(elsewhere.machineId) },
    ],
    [
      "ended with the machine",
      { guard: "an hour ago", recorder: beforeBoot, job: beforeBoot },
      { state: "ended", end: { cause: "node" }, remaining: [] },
    ],
    ["has a dead recorder and just began", { guard: "now", recorder: ended }, { state: "unknown", why: "starting" }],
    ["has a dead recorder and never began", { guard: "an hour ago", recorder: ended }, { state: "absent" }],
    [
      "has a dead recorder and a job of which nothing is known",
      { guard: "an hour ago", recorder: ended, job: "damaged" },
      { state: "ended", end: { cause: "status-lost", evidence: "identity" }, tier: "group" },
    ],
    [
      "has a dead recorder and a dead job",
      { guard: "an hour ago", recorder: ended, job: ended },
      { state: "ended", end: { cause: "status-lost" }, remaining: [] },
    ],
    [
      "has a dead recorder and a job elsewhere",
      { guard: "an hour ago", recorder: ended, job: elsewhere },
      { state: "unknown", why: "unreachable" },
    ],
    [
      "could not be started",
      { guard: "an hour ago", rc: `127\n1 launch 127 ${now} - 1 0 0 no such program\n` },
      { state: "ended", end: { cause: "launch", message: "no such program" }, tier: "never-started" },
    ],
    [
      "has an exit record and nothing else",
      { guard: "an hour ago", rc: `0\n1 exit 0 ${now} - 0 0 0\n` },
      { state: "ended", end: { cause: "exit", exit_code: 0 }, remaining: [] },
    ],
    [
      "has an exit record from before the machine was restarted",
      { guard: "an hour ago", recorder: beforeBoot, job: beforeBoot, rc: `4\n1 exit 4 ${now} - 0 0 0\n` },
      { state: "ended", end: { cause: "exit", exit_code: 4 }, remaining: [] },
    ],
    [
      "has a damaged exit record",
      { guard: "an hour ago", recorder: ended, job: ended, rc: "0\n" },
      { state: "ended", end: { cause: "status-lost" } },
    ],
  ])("that %s", async (_what, content, status) => {
    await using directory = await temporaryDirectory();
    const look = lookAt(await attempt(directory.path, content), now);
    expect(look.status).toMatchObject(status);
    expect(look.witnessed).toBe(false);
  });

  it("whose directory is gone is lost, not successful", async () => {
    await using directory = await temporaryDirectory();
    const name = { token: newToken(), directory: directory.join("gone") };
    const { status } = lookAt(name, now);
    expect(status).toMatchObject({ state: "ended", end: { cause: "status-lost", evidence: "missing" } });
    const known = lookAt({ ...name, recorder: ended, job: ended }, now);
    expect(known.status).toMatchObject({ state: "ended", end: { cause: "status-lost" } });
  });
});

describe("an attempt whose processes live", () => {
  it("runs, and says that it is suspended while it is", async () => {
    await using directory = await temporaryDirectory();
    const child = spawn("sleep", ["60"], { stdio: "ignore" });
    try {
      await once(child, "spawn");
      const job = identityOf(child.pid ?? 0);
      const recorder = identityOf(process.pid);
      if (!job || !recorder) throw new Error("no identities");
      const name = await attempt(directory.path, { guard: "now", recorder, job });
      const first = lookAt(name, now);
      expect(first).toMatchObject({
        status: { state: "running" },
        witnessed: true,
        name: { recorder: { pid: process.pid } },
      });
      child.kill("SIGSTOP");
      // By the identities that the first look has told.
      const suspended = async () => {
        const { status } = lookAt(first.name, now);
        return status.state === "running" && status.suspended === true;
      };
      await waitFor(suspended, { what: "suspended" });
      const orphan = await attempt(directory.path, { guard: "now", recorder: ended, job });
      expect(lookAt(orphan, now)).toMatchObject({ status: { state: "running" }, witnessed: false });
      const young = await attempt(directory.path, { guard: "now", recorder });
      expect(lookAt(young, now).status).toEqual({ state: "unknown", why: "starting" });
    } finally {
      child.kill("SIGKILL");
      await once(child, "exit");
    }
  });
});

/** A process for as long as the test lasts. */
async function living(environment: Record<string, string> = {}): Promise<{ pid: number } & AsyncDisposable> {
  const child = spawn("/bin/sleep", ["60"], { stdio: "ignore", env: environment });
  await once(child, "spawn");
  return {
    pid: child.pid ?? 0,
    async [Symbol.asyncDispose]() {
      const exit = once(child, "exit");
      child.kill("SIGKILL");
      await exit;
    },
  };
}

describe("an attempt whose evidence was deleted, but of which a process lives", () => {
  const order = { graceMs: 0, reason: "test" };

  it.each<[string, Content, string | undefined]>([
    ["with its guard", { guard: "an hour ago" }, anHourAgo.toISOString()],
    ["with everything", {}, undefined],
  ])("%s, runs and is not to be started again", async (what, content, since) => {
    await using directory = await temporaryDirectory();
    const name = await attempt(directory.path, content);
    await using child = await living({ [cookieName]: name.token });
    const gone = what === "with everything" ? { ...name, directory: directory.join("gone") } : name;
    const { status, witnessed } = lookAt(gone, now);
    expect(status).toMatchObject({ state: "running", since: since ?? new Date(now).toISOString() });
    expect(witnessed).toBe(false);
    const answer = await new Stopper(systemClock, silentLogger, () => {}).stop(gone, order);
    expect(answer).toMatchObject({ state: "remaining", pids: [child.pid], why: expect.stringContaining("state ") });
  });

  it("has ended when its exit record says so, and says what outlived it", async () => {
    await using directory = await temporaryDirectory();
    const name = await attempt(directory.path, { guard: "an hour ago", rc: `0\n1 exit 0 ${now} - 0 0 0\n` });
    await using child = await living({ [cookieName]: name.token });
    expect(lookAt(name, now).status).toMatchObject({ state: "ended", remaining: [child.pid], tier: "group" });
  });
});

describe("an attempt with a control group", () => {
  /** Files where the kernel has its own: what is read of them is the same. */
  async function groupOf(root: string, name: AttemptName, pids: readonly number[], below: readonly number[]) {
    const group = join(root, "siteagent-0123456789ab", name.token);
    await mkdir(join(group, "below"), { recursive: true });
    await writeFile(join(group, "cgroup.procs"), pids.map((pid) => `${pid}\n`).join(""));
    await writeFile(join(group, "below", "cgroup.procs"), below.map((pid) => `${pid}\n`).join(""));
    await writeFile(join(name.directory, "cgroup"), `${group}\n`);
    return group;
  }
  const content = { guard: "an hour ago", recorder: ended, job: ended } as const;
  const neverPid = 2 ** 22 + 1;

  it("has what the group and those below it hold, and nothing that has ended", async () => {
    await using directory = await temporaryDirectory();
    const name = await attempt(directory.path, content);
    await using one = await living();
    await using other = await living();
    const group = await groupOf(directory.path, name, [one.pid, neverPid], [other.pid]);
    const left = { state: "ended", end: { cause: "status-lost" }, remaining: [one.pid, other.pid], tier: "cgroup" };
    expect(lookAt(name, now).status).toMatchObject(left);
    await rm(group, { recursive: true });
    expect(lookAt(name, now).status).toMatchObject({ ...left, remaining: [] });
  });

  it("is not asked by the name of another's group", async () => {
    await using directory = await temporaryDirectory();
    const name = await attempt(directory.path, content);
    await using foreign = await living();
    const group = await groupOf(directory.path, { ...name, token: newToken() }, [foreign.pid], []);
    for (const path of [group, name.token, `siteagent-0123456789ab/${name.token}`]) {
      await writeFile(join(name.directory, "cgroup"), `${path}\n`);
      expect(lookAt(name, now).status).toMatchObject({ state: "ended", remaining: [], tier: "group" });
    }
  });

  it("ended with the machine in the tier that it was started in", async () => {
    await using directory = await temporaryDirectory();
    const name = await attempt(directory.path, { ...content, recorder: beforeBoot, job: beforeBoot });
    await groupOf(directory.path, name, [], []);
    expect(lookAt(name, now).status).toMatchObject({ state: "ended", end: { cause: "node" }, tier: "cgroup" });
  });
});

describe("an order to stop an attempt that did not begin", () => {
  const stopper = new Stopper(systemClock, silentLogger, () => {});
  const order = { graceMs: 0, reason: "test" };

  it.each<[string, Content, object]>([
    ["takes its guard", {}, { state: "gone", tier: "never-started" }],
    ["waits while it may be starting", { guard: "now" }, { state: "unknown", why: "it is just starting" }],
    ["is over when its starter died", { guard: "an hour ago" }, { state: "gone", tier: "never-started" }],
    ["is over when it was given before", { guard: "now", stop: true }, { state: "gone", tier: "never-started" }],
    ["is over when a runner that took the guard died then", { guard: "of a stop" }, { tier: "never-started" }],
    ["says nothing of another machine", { guard: "now", recorder: elsewhere }, { state: "unknown" }],
    [
      "has nothing to do after its end",
      { guard: "an hour ago", recorder: ended, job: ended },
      { state: "gone", tier: "group" },
    ],
  ])("%s", async (_what, content, answer) => {
    await using directory = await temporaryDirectory();
    const name = await attempt(directory.path, content);
    expect(await stopper.stop(name, order)).toMatchObject(answer);
  });

  it("keeps it from beginning later", async () => {
    await using directory = await temporaryDirectory();
    const name = await attempt(directory.path, {});
    await stopper.stop(name, order);
    expect(lookAt(name, now).status).toEqual({ state: "absent" });
    await expect(mkdir(join(name.directory, "started"))).rejects.toMatchObject({ code: "EEXIST" });
  });

  it("has nothing to stop where the directory is gone", async () => {
    await using directory = await temporaryDirectory();
    expect(await stopper.stop({ token: newToken(), directory: directory.join("gone") }, order)).toMatchObject({
      state: "gone",
    });
  });
});
