import { chmod, mkdir, readdir, readFile, rename, rm, symlink, utimes, writeFile } from "node:fs/promises";
import { hostname } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { systemClock } from "../../../src/common/clock.ts";
import { silentLogger } from "../../../src/common/logger.ts";
import { acquireInstanceLock, type InstanceLock } from "../../../src/journal/instance-lock.ts";
import { compileCache } from "../../helpers/compile-cache.ts";
import { failOnLeakedProcesses } from "../../helpers/leaks.ts";
import { Program } from "../../helpers/program.ts";
import { temporaryDirectory, type TemporaryDirectory } from "../../helpers/temporary.ts";
import { waitFor } from "../../helpers/wait.ts";

failOnLeakedProcesses();

const locker = join(import.meta.dirname, "programs", "locker.ts");

function acquire(directory: TemporaryDirectory, renewMs = 30_000): Promise<InstanceLock> {
  return acquireInstanceLock({
    stateDirectory: directory.join("state"),
    runtimeDirectory: directory.join("run"),
    clock: systemClock,
    log: silentLogger,
    renewMs,
  });
}

function start(directory: TemporaryDirectory): Promise<Program> {
  return Program.start(process.execPath, [locker, directory.join("state"), directory.join("run")], {
    env: compileCache,
  });
}

async function verdict(
  program: Program,
): Promise<{ readonly won?: number; readonly refused?: string; message?: string }> {
  const [, line] = await program.output(/^(\{.*\})$/m);
  return JSON.parse(line ?? "") as { won?: number; refused?: string; message?: string };
}

async function writeOwner(directory: TemporaryDirectory, changes: object, ageMs: number): Promise<void> {
  const path = directory.join("state", "owner.json");
  {
    await using _ = await acquire(directory);
  }
  const owner = JSON.parse(await readFile(path, "utf8")) as object;
  await writeFile(path, JSON.stringify({ ...owner, released: false, ...changes }));
  const then = new Date(Date.now() - ageMs);
  await utimes(path, then, then);
}

test("of many simultaneous starters exactly one wins, round after round, also over a killed holder", async () => {
  await using directory = await temporaryDirectory();
  for (let round = 1; round <= 4; round++) {
    const programs = await Promise.all(Array.from({ length: 5 }, () => start(directory)));
    const verdicts = await Promise.all(programs.map(verdict));
    const winners = programs.filter((_program, index) => verdicts[index]?.won !== undefined);
    expect(winners.length, JSON.stringify(verdicts)).toBe(1);
    expect(verdicts.filter(({ refused }) => refused === "ALREADY_RUNNING").length).toBe(4);
    for (const winner of winners) winner.signal("SIGKILL");
    await Promise.all(programs.map((program) => program.finished));
  }
});

test("a second instance is told host, pid and since when; after the end of the first it may start", async () => {
  await using directory = await temporaryDirectory();
  await using first = await start(directory);
  await verdict(first);
  await expect(acquire(directory)).rejects.toMatchObject({
    code: "ALREADY_RUNNING",
    message: expect.stringMatching(new RegExp(`host '${hostname()}', pid ${first.pid}, since \\d{4}-`)),
    details: { pid: first.pid },
  });
  first.end();
  await first.finished;
  await using lock = await acquire(directory);
  expect(lock).toMatchObject({ generation: 2, tookOver: undefined });
});

test("takes over from a killed process at once and raises the generation", async () => {
  await using directory = await temporaryDirectory();
  await using first = await start(directory);
  await verdict(first);
  first.signal("SIGKILL");
  await first.finished;
  await using lock = await acquire(directory);
  expect(lock.generation).toBe(2);
  expect(lock.tookOver?.pid).toBe(first.pid);
});

test("state directories do not disturb each other in one runtime directory", async () => {
  await using one = await temporaryDirectory();
  await using other = await temporaryDirectory();
  const options = { runtimeDirectory: one.join("run"), clock: systemClock, log: silentLogger };
  await using first = await acquireInstanceLock({ ...options, stateDirectory: one.join("state") });
  await using second = await acquireInstanceLock({ ...options, stateDirectory: other.join("state") });
  expect(first.instanceId).not.toBe(second.instanceId);
});

test("refuses while another host shows signs of life, whatever its clock says", async () => {
  await using directory = await temporaryDirectory();
  await writeOwner(directory, { host: "login7", pid: 4711, heartbeatAt: "2001-01-01T00:00:00.000Z" }, 240_000);
  await expect(acquire(directory)).rejects.toMatchObject({
    code: "ALREADY_RUNNING",
    message: expect.stringContaining("host 'login7', pid 4711"),
  });
});

test("takes over from another host that was silent for more than five minutes", async () => {
  await using directory = await temporaryDirectory();
  await writeOwner(directory, { host: "login7", heartbeatAt: "2999-01-01T00:00:00.000Z" }, 301_000);
  await using lock = await acquire(directory);
  expect(lock.tookOver?.host).toBe("login7");
});

test.each([
  ["this host after a reboot", { bootId: "another boot" }],
  ["a process of this host whose pid is another's now", { pid: process.ppid, startTime: "1" }],
])("takes over from %s", async (_name, changes) => {
  await using directory = await temporaryDirectory();
  await writeOwner(directory, changes, 1_000);
  await using lock = await acquire(directory);
  expect(lock.generation).toBe(2);
});

test("starts over a damaged owner file", async () => {
  await using directory = await temporaryDirectory();
  await mkdir(directory.join("state"), { recursive: true });
  await writeFile(directory.join("state", "owner.json"), '{"host":');
  await using lock = await acquire(directory);
  expect(lock.generation).toBe(1);
});

test("renews its sign of life, and notices when another has taken over", async () => {
  await using directory = await temporaryDirectory();
  await using lock = await acquire(directory, 10);
  const path = directory.join("state", "owner.json");
  const first = await readFile(path, "utf8");
  await waitFor(async () => (await readFile(path, "utf8")) !== first, { what: "a renewed owner file" });
  expect(lock.lost.aborted).toBe(false);
  await waitFor(
    async () => {
      await writeFile(path, JSON.stringify({ ...(JSON.parse(first) as object), instanceId: "another" }));
      return lock.lost.aborted;
    },
    { what: "the loss to be noticed" },
  );
});

test("names of dead holders and starters do not pile up", async () => {
  await using directory = await temporaryDirectory();
  for (let round = 0; round < 5; round++) {
    await using program = await start(directory);
    await verdict(program);
    program.signal("SIGKILL");
    await program.finished;
  }
  const names = await readdir(directory.join("run"));
  expect(names.length).toBe(1);
  const [key] = names[0]?.split(".") ?? [];
  const forsaken = directory.join("run", `${key ?? ""}.0123456789ab`);
  await writeFile(forsaken, "");
  await utimes(forsaken, 1, 1);
  await using _ = await acquire(directory);
  const left = await readdir(directory.join("run"));
  expect(left.length).toBe(1);
  expect(left[0]).toMatch(/\.6\.lock$/);
});

test("refuses a runtime directory that is a link, or whose path no socket can have", async () => {
  await using directory = await temporaryDirectory();
  await mkdir(directory.join("real"), { mode: 0o700 });
  await symlink(directory.join("real"), directory.join("run"));
  await expect(acquire(directory)).rejects.toMatchObject({ code: "UNSAFE_PATH" });
  const options = { stateDirectory: directory.join("state"), clock: systemClock, log: silentLogger };
  const long = directory.join("x".repeat(100));
  await expect(acquireInstanceLock({ ...options, runtimeDirectory: long })).rejects.toMatchObject({
    code: "UNSAFE_PATH",
    message: expect.stringContaining("too long for a socket"),
  });
});

test("knows a living holder by its process where its socket is not seen", async () => {
  await using directory = await temporaryDirectory();
  await using _ = await acquire(directory);
  const options = { stateDirectory: directory.join("state"), clock: systemClock, log: silentLogger };
  const elsewhere = acquireInstanceLock({ ...options, runtimeDirectory: directory.join("another") });
  await expect(elsewhere).rejects.toMatchObject({
    code: "ALREADY_RUNNING",
    message: expect.stringContaining(`pid ${process.pid}`),
  });
});

test.each([
  ["of another machine with the same name", { machineId: "0123456789abcdef0123456789abcdef" }],
  ["in another container of this machine", { pidNamespace: "pid:[1]" }],
])("waits for the silence of an owner %s, whatever its pid", async (_name, changes) => {
  await using directory = await temporaryDirectory();
  await writeOwner(directory, { ...changes, pid: 4711 }, 240_000);
  await expect(acquire(directory)).rejects.toMatchObject({ code: "ALREADY_RUNNING" });
  const silent = new Date(Date.now() - 301_000);
  await utimes(directory.join("state", "owner.json"), silent, silent);
  await using lock = await acquire(directory);
  expect(lock.tookOver?.pid).toBe(4711);
});

test("says so when the holder has not told yet who it is", async () => {
  await using directory = await temporaryDirectory();
  await using _ = await acquire(directory);
  await rm(directory.join("state", "owner.json"));
  await expect(acquire(directory)).rejects.toMatchObject({
    code: "ALREADY_RUNNING",
    message: expect.stringContaining("a process that is just starting"),
    hint: expect.stringContaining("wait a moment"),
  });
});

test("names the holder, not one who died before it, while that is still writing itself down", async () => {
  await using directory = await temporaryDirectory();
  await using _ = await acquire(directory);
  const path = directory.join("state", "owner.json");
  const own = await readFile(path, "utf8");
  await writeFile(path, JSON.stringify({ ...(JSON.parse(own) as object), pid: 999_999_999 }));
  const refused = acquire(directory).catch((error: unknown) => error);
  const naming = setTimeout(() => void writeFile(path, own), 300);
  expect(await refused).toMatchObject({
    code: "ALREADY_RUNNING",
    message: expect.stringContaining(`pid ${process.pid},`),
  });
  clearTimeout(naming);
});

test("a disk that takes no sign of life costs neither the lock nor an orderly end", async () => {
  await using directory = await temporaryDirectory();
  const warnings: string[] = [];
  const lock = await acquireInstanceLock({
    stateDirectory: directory.join("state"),
    runtimeDirectory: directory.join("run"),
    clock: systemClock,
    log: { ...silentLogger, warn: (_data: unknown, message?: string) => warnings.push(message ?? "") },
    renewMs: 10,
  });
  // In one step: it is written to all the time.
  await rename(directory.join("state"), directory.join("away"));
  await waitFor(() => warnings.includes("the owner file could not be renewed"), { what: "the failed renewal" });
  expect(lock.lost.aborted).toBe(false);
  await lock[Symbol.asyncDispose]();
  expect(warnings.at(-1)).toBe("the owner file could not be signed off");
});

test("refuses a runtime directory that others can write", async () => {
  await using directory = await temporaryDirectory();
  await mkdir(directory.join("run"));
  await chmod(directory.join("run"), 0o777);
  await expect(acquire(directory)).rejects.toMatchObject({ code: "UNSAFE_PATH" });
});
