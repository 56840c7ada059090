import { createHash, randomBytes, randomUUID } from "node:crypto";
import { link, lstat, mkdir, readdir, readFile, readlink, rm, stat, writeFile } from "node:fs/promises";
import { createConnection, createServer, type Server } from "node:net";
import { hostname } from "node:os";
import { join, resolve } from "node:path";
import { z } from "zod";
import { type Clock, isoTime } from "../common/clock.ts";
import { failpoint } from "../common/failpoint.ts";
import { errnoOf, Fault } from "../common/fault.ts";
import { durableReplace, removeUnfinished } from "../common/files.ts";
import type { Logger } from "../common/logger.ts";
import { readBootId } from "./journal.ts";

export interface InstanceLockOptions {
  /** Holds the owner file; may lie on a file system that several hosts share. Made (0700) when missing. */
  readonly stateDirectory: string;
  /** On a local file system (/run/…, $XDG_RUNTIME_DIR); made 0700 when missing, must be ours. */
  readonly runtimeDirectory: string;
  readonly clock: Clock;
  readonly log: Logger;
  /** Pause between two renewals of the owner file; default 30 s. */
  readonly renewMs?: number;
  /** Age from which another host's owner file counts as given up; default 5 min. */
  readonly staleMs?: number;
}

/** Held by the one agent of a state directory until disposed; a killed process frees it too. */
export interface InstanceLock extends AsyncDisposable {
  readonly instanceId: string;
  /** Raised at each take-over or fresh start in this state directory. */
  readonly generation: number;
  /** Whom we followed, if an earlier owner had not signed off. */
  readonly tookOver: Owner | undefined;
  /** Aborts when another instance has written itself into the owner file: stop side effects. */
  readonly lost: AbortSignal;
}

const ownerSchema = z.object({
  host: z.string(),
  machineId: z.string(),
  bootId: z.string(),
  pidNamespace: z.string(),
  pid: z.number().int().positive(),
  startTime: z.string(),
  instanceId: z.string(),
  generation: z.number().int().nonnegative(),
  since: z.string(),
  heartbeatAt: z.string(),
  released: z.boolean(),
});

/** What the owner file says. */
export type Owner = z.infer<typeof ownerSchema>;

const ownerFile = "owner.json";
const defaultRenewMs = 30_000;
const defaultStaleMs = 300_000;
/** Answer time of a live holder; its kernel accepts, so this is only for a machine under great load. */
const connectMs = 5_000;
/** How long a second instance waits to learn who the first one is. */
const newOwnerMs = 3_000;
const newOwnerPauseMs = 50;
/** Age from which a starter's socket that nobody listens on is rubbish. */
const forsakenMs = 60_000;
/** Linux: a socket's path holds 107 bytes. */
const longestSocketPath = 107;

/**
 * Becomes the only instance of a state directory. Two locks, because each alone fails: a listening socket, which the
 * kernel closes with its process, keeps out a second instance on this machine; the owner file one on another host.
 * @throws Fault ALREADY_RUNNING naming host, pid and since when
 */
export async function acquireInstanceLock(options: InstanceLockOptions): Promise<InstanceLock> {
  await mkdir(options.stateDirectory, { recursive: true, mode: 0o700 });
  await prepareRuntimeDirectory(options.runtimeDirectory);
  const socket = await takeSocket(options);
  try {
    const previous = await readOwner(options.stateDirectory);
    if (previous) await refuseLiveOwner(options, previous);
    const owner = await describeSelf(options.clock, (previous?.generation ?? 0) + 1);
    await removeUnfinished(join(options.stateDirectory, ownerFile));
    await failpoint("instance-lock.before-owner");
    await writeOwner(options.stateDirectory, owner);
    await failpoint("instance-lock.after-owner");
    return new HeldLock(options, socket, owner, previous?.released === false ? previous : undefined);
  } catch (error) {
    socket.close();
    throw error;
  }
}

class HeldLock implements InstanceLock {
  readonly instanceId: string;
  readonly generation: number;
  readonly tookOver: Owner | undefined;
  readonly lost: AbortSignal;
  readonly #options: InstanceLockOptions;
  readonly #socket: Server;
  readonly #end = new AbortController();
  readonly #lost = new AbortController();
  readonly #renewing: Promise<void>;
  #owner: Owner;

  constructor(options: InstanceLockOptions, socket: Server, owner: Owner, tookOver: Owner | undefined) {
    this.#options = options;
    this.#socket = socket;
    this.#owner = owner;
    this.instanceId = owner.instanceId;
    this.generation = owner.generation;
    this.tookOver = tookOver;
    this.lost = this.#lost.signal;
    this.#renewing = this.#renew();
  }

  async #renew(): Promise<void> {
    const { clock, log, stateDirectory, renewMs = defaultRenewMs } = this.#options;
    for (;;) {
      await clock.sleep(renewMs, this.#end.signal);
      if (this.#end.signal.aborted) return;
      try {
        const found = await readOwner(stateDirectory);
        if (found && found.instanceId !== this.instanceId) {
          log.error({ owner: found }, "another instance has taken over this state directory");
          this.#lost.abort();
          return;
        }
        this.#owner = { ...this.#owner, heartbeatAt: isoTime(clock.now()) };
        await writeOwner(stateDirectory, this.#owner);
      } catch (error) {
        log.warn({ err: error }, "the owner file could not be renewed");
      }
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#end.abort();
    await this.#renewing;
    try {
      if (!this.lost.aborted) await writeOwner(this.#options.stateDirectory, { ...this.#owner, released: true });
    } catch (error) {
      this.#options.log.warn({ err: error }, "the owner file could not be signed off");
    }
    // The socket's name stays: names only rise, see takeSocket.
    this.#socket.close();
  }
}

/** @throws Fault UNSAFE_PATH when somebody else could put files into it */
async function prepareRuntimeDirectory(directory: string): Promise<void> {
  await mkdir(directory, { recursive: true, mode: 0o700 });
  const found = await lstat(directory);
  const ours = process.getuid === undefined || found.uid === process.getuid();
  if (!found.isDirectory() || !ours || (found.mode & 0o022) !== 0) {
    throw new Fault(
      "UNSAFE_PATH",
      `cannot use the runtime directory '${directory}': it must be a directory of this user that nobody else can write`,
      { hint: `chmod 700 '${directory}', or set SITEAGENT_RUNTIME_DIR` },
    );
  }
}

/**
 * The lock on this machine. Sockets are named `<key>.<n>.lock`; the holder is the one that listens. Whoever finds the
 * highest n dead links its own, already listening socket as n + 1, which the file system grants to one only, and looks
 * again: a live socket of another n means that it came late. Names are never given back, only dead lower ones are removed
 * by the holder, so a slow starter cannot get a number that was in use.
 */
async function takeSocket(options: InstanceLockOptions): Promise<Server> {
  const directory = resolve(options.runtimeDirectory);
  const key = createHash("sha256")
    .update(`${hostname()}\n${resolve(options.stateDirectory)}`)
    .digest("hex")
    .slice(0, 12);
  const temporary = join(directory, `${key}.${randomBytes(6).toString("hex")}`);
  if (Buffer.byteLength(temporary) > longestSocketPath) {
    throw new Fault(
      "UNSAFE_PATH",
      `cannot use the runtime directory '${directory}': its path is too long for a socket`,
      {
        hint: "set SITEAGENT_RUNTIME_DIR to a short path on a local disk",
      },
    );
  }
  const server = await listen(temporary);
  try {
    for (;;) {
      const highest = (await socketNumbers(directory, key)).at(-1) ?? 0;
      if (highest > 0 && (await isListening(socketPath(directory, key, highest)))) throw await alreadyRunning(options);
      await failpoint("instance-lock.before-link");
      if (await linkNew(temporary, socketPath(directory, key, highest + 1))) {
        await settleSocket(options, directory, key, highest + 1);
        await failpoint("instance-lock.after-link");
        return server;
      }
    }
  } catch (error) {
    server.close();
    throw error;
  } finally {
    await rm(temporary, { force: true });
  }
}

function socketPath(directory: string, key: string, number: number): string {
  return join(directory, `${key}.${number}.lock`);
}

async function linkNew(from: string, to: string): Promise<boolean> {
  try {
    await link(from, to);
    return true;
  } catch (error) {
    if (errnoOf(error) === "EEXIST") return false;
    throw error;
  }
}

async function settleSocket(options: InstanceLockOptions, directory: string, key: string, own: number): Promise<void> {
  for (const number of await socketNumbers(directory, key)) {
    if (number === own) continue;
    const path = socketPath(directory, key, number);
    if (await isListening(path)) {
      await rm(socketPath(directory, key, own), { force: true });
      throw await alreadyRunning(options);
    }
    if (number < own) await rm(path, { force: true });
  }
  await removeForsaken(directory, key);
}

/** Sockets of starters that were killed before they had linked theirs; young ones may just be at it. */
async function removeForsaken(directory: string, key: string): Promise<void> {
  for (const name of await readdir(directory)) {
    if (!new RegExp(`^${key}\\.[0-9a-f]{12}$`).test(name)) continue;
    const path = join(directory, name);
    try {
      const ageMs = Date.now() - (await stat(path)).mtimeMs;
      if (ageMs > forsakenMs && !(await isListening(path))) await rm(path, { force: true });
    } catch (error) {
      if (errnoOf(error) !== "ENOENT") throw error;
    }
  }
}

async function socketNumbers(directory: string, key: string): Promise<readonly number[]> {
  const numbers: number[] = [];
  for (const name of await readdir(directory)) {
    const match = /^([0-9a-f]{12})\.(\d{1,15})\.lock$/.exec(name);
    if (match?.[1] === key) numbers.push(Number(match[2]));
  }
  return numbers.sort((a, b) => a - b);
}

async function listen(path: string): Promise<Server> {
  const server = createServer((connection) => connection.destroy());
  server.unref();
  await new Promise<void>((done, failed) => {
    server.once("error", failed);
    server.listen(path, () => done());
  });
  return server;
}

/** True when a process accepts on the socket (also when that cannot be told: then it is not proven dead). */
function isListening(path: string): Promise<boolean> {
  const { promise, resolve: tell } = Promise.withResolvers<boolean>();
  const connection = createConnection(path);
  const timer = setTimeout(() => tell(true), connectMs);
  connection.once("connect", () => tell(true));
  connection.once("error", (error) => tell(!["ECONNREFUSED", "ENOENT"].includes(errnoOf(error) ?? "")));
  return promise.finally(() => {
    clearTimeout(timer);
    connection.destroy();
  });
}

/** A holder that has just begun writes itself into the owner file in a moment; until then that names one who is gone. */
async function alreadyRunning({ stateDirectory, clock }: InstanceLockOptions): Promise<Fault> {
  const deadline = clock.monotonic() + newOwnerMs;
  for (;;) {
    const owner = await readOwner(stateDirectory);
    if (owner && !owner.released && (await judgeProcess(owner)) !== "gone") return runningFault(stateDirectory, owner);
    if (clock.monotonic() >= deadline) return runningFault(stateDirectory, undefined);
    await clock.sleep(newOwnerPauseMs);
  }
}

function runningFault(directory: string, owner: Owner | undefined): Fault {
  const who = owner
    ? `host '${owner.host}', pid ${owner.pid}, since ${owner.since}`
    : "a process that is just starting";
  return new Fault("ALREADY_RUNNING", `another instance holds the state directory '${directory}': ${who}`, {
    hint: owner
      ? `stop it there, or wait until its last sign of life (${owner.heartbeatAt}) is 5 minutes old`
      : "wait a moment, then ask 'siteagent status'",
    details: owner ? { host: owner.host, pid: owner.pid, since: owner.since, heartbeatAt: owner.heartbeatAt } : {},
  });
}

async function refuseLiveOwner(options: InstanceLockOptions, owner: Owner): Promise<void> {
  if (owner.released) return;
  const verdict = await judgeProcess(owner);
  if (verdict === "gone") return;
  if (verdict === "alive") throw runningFault(options.stateDirectory, owner);
  const ageMs = await ownerAgeMs(options.stateDirectory);
  if (ageMs < (options.staleMs ?? defaultStaleMs)) throw runningFault(options.stateDirectory, owner);
  options.log.warn({ owner, ageMs }, "taking over from an instance that gave no sign of life");
}

/** "unknown" unless the owner lived on this very machine and in our process name space. */
async function judgeProcess(owner: Owner): Promise<"alive" | "gone" | "unknown"> {
  if (owner.host !== hostname() || owner.machineId !== (await machineId())) return "unknown";
  if (owner.bootId !== readBootId()) return "gone";
  if (owner.pidNamespace !== (await pidNamespace())) return "unknown";
  if (owner.pid === process.pid) return owner.startTime === (await startTime(process.pid)) ? "alive" : "gone";
  return (await startTime(owner.pid)) === owner.startTime ? "alive" : "gone";
}

/** Both times come from the file system of the directory, so a wrong clock on either host does no harm. */
async function ownerAgeMs(directory: string): Promise<number> {
  const probe = join(directory, `.probe.${randomUUID()}`);
  try {
    await writeFile(probe, "");
    const [now, then] = [await stat(probe), await stat(join(directory, ownerFile))];
    return now.mtimeMs - then.mtimeMs;
  } finally {
    await rm(probe, { force: true });
  }
}

async function readOwner(directory: string): Promise<Owner | undefined> {
  let text: string;
  try {
    text = await readFile(join(directory, ownerFile), "utf8");
  } catch (error) {
    if (errnoOf(error) === "ENOENT") return undefined;
    throw error;
  }
  try {
    return ownerSchema.parse(JSON.parse(text));
  } catch {
    return undefined; // damaged: the socket and the server's session decide
  }
}

function writeOwner(directory: string, owner: Owner): Promise<void> {
  return durableReplace(join(directory, ownerFile), `${JSON.stringify(owner, null, 2)}\n`);
}

async function describeSelf(clock: Clock, generation: number): Promise<Owner> {
  const now = isoTime(clock.now());
  return {
    host: hostname(),
    machineId: await machineId(),
    bootId: readBootId(),
    pidNamespace: await pidNamespace(),
    pid: process.pid,
    startTime: (await startTime(process.pid)) ?? "",
    instanceId: randomUUID(),
    generation,
    since: now,
    heartbeatAt: now,
    released: false,
  };
}

/** Clock ticks since boot at which a process began; undefined when there is none. */
async function startTime(pid: number): Promise<string | undefined> {
  try {
    const text = await readFile(`/proc/${pid}/stat`, "utf8");
    const [state, ...rest] = text.slice(text.lastIndexOf(")") + 2).split(" ");
    return state === "Z" || state === "X" ? undefined : rest[18];
  } catch {
    return undefined;
  }
}

async function machineId(): Promise<string> {
  try {
    return (await readFile("/etc/machine-id", "utf8")).trim();
  } catch {
    return "";
  }
}

async function pidNamespace(): Promise<string> {
  try {
    return await readlink("/proc/self/ns/pid");
  } catch {
    return "";
  }
}
