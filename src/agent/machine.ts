import { randomUUID } from "node:crypto";
import { mkdir, readFile, statfs } from "node:fs/promises";
import { join } from "node:path";
import { errnoOf } from "../common/fault.ts";
import { durableReplace, removeUnfinished } from "../common/files.ts";
import { acquireInstanceLock, type InstanceLock, type InstanceLockOptions } from "../journal/instance-lock.ts";
import { type JournalOptions, openJournal } from "../journal/journal.ts";
import type { Journal, JournalOpening } from "../journal/types.ts";
import { type ControlActions, openControlSocket } from "./control-server.ts";
import { emptyDirectory, makeDirectories, readTraces, removeDirectory, type Traces, tracesOf } from "./directories.ts";
import type { HeldJob } from "./held-job.ts";

export interface FreeRoom {
  readonly bytes: number;
  /** Inodes; undefined where the file system has no fixed number of them. */
  readonly files: number | undefined;
}

/** What the agent itself asks of the machine that it runs on; the simulation has one of its own. */
export interface Machine {
  /** @throws Fault ALREADY_RUNNING, UNSAFE_PATH */
  lock(options: InstanceLockOptions): Promise<InstanceLock>;
  /** The agent's id, stable for a state directory; made at the first start. */
  identity(stateDirectory: string): Promise<string>;
  /** @throws Fault JOURNAL, JOURNAL_VERSION */
  openJournal(options: JournalOptions): Promise<{ readonly journal: Journal; readonly opening: JournalOpening }>;
  openControlSocket(path: string, actions: ControlActions): Promise<AsyncDisposable>;
  /** Makes a job's directories; repeatable. */
  makeDirectories(job: HeldJob): Promise<void>;
  /** Makes the directory of one attempt (0700). */
  makeDirectory(path: string): Promise<void>;
  emptyDirectory(path: string): Promise<void>;
  /** @throws Fault UNSAFE_PATH when the path does not end in a token. */
  removeDirectory(path: string): Promise<void>;
  /** Where the directories of these jobs lie, by the markers in them; jobs without one are not in the answer. */
  tracesOf(workdirs: readonly string[], jobs: ReadonlySet<string>): Promise<ReadonlyMap<string, string>>;
  /** What a job's directory says of it without the journal. */
  readTraces(directory: string): Promise<Traces>;
  /** What we could still write there; undefined when it is not made yet. */
  freeRoom(directory: string): Promise<FreeRoom | undefined>;
}

/** The machine of this process. */
export const thisMachine: Machine = {
  lock: acquireInstanceLock,
  identity,
  openJournal: (options) => openJournal(options),
  openControlSocket,
  makeDirectories,
  async makeDirectory(path) {
    await mkdir(path, { recursive: true, mode: 0o700 });
  },
  emptyDirectory,
  removeDirectory,
  tracesOf,
  readTraces,
  freeRoom,
};

async function identity(stateDirectory: string): Promise<string> {
  const path = join(stateDirectory, "agent-id");
  await removeUnfinished(path);
  try {
    return (await readFile(path, "utf8")).trim();
  } catch (error) {
    if (errnoOf(error) !== "ENOENT") throw error;
  }
  const made = randomUUID();
  await durableReplace(path, `${made}\n`);
  return made;
}

async function freeRoom(directory: string): Promise<FreeRoom | undefined> {
  try {
    const { bavail, bsize, files, ffree } = await statfs(directory);
    return { bytes: bavail * bsize, files: files === 0 ? undefined : ffree };
  } catch {
    // Not made yet: the first job makes it.
    return undefined;
  }
}
