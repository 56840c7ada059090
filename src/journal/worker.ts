/** The journal's writing thread: file calls may block here for as long as a disk takes, and nobody else waits. */
import { rmSync } from "node:fs";
import { join } from "node:path";
import { parentPort, receiveMessageOnPort, workerData, type MessagePort } from "node:worker_threads";
import { errnoOf, isFault } from "../common/fault.ts";
import { ownKinds } from "./format.ts";
import type { CloseMessage, CommitMessage, CompactMessage, FromWorker, ToWorker, WorkerData } from "./messages.ts";
import { openFiles, type Opened } from "./opening.ts";
import { ballastName, Writer } from "./writer.ts";

const recordsPerMessage = 5_000;
/** A disk or quota that is full; may pass. */
const fullDisk = new Set(["ENOSPC", "EDQUOT"]);

async function serve(port: MessagePort, data: WorkerData): Promise<void> {
  const send = (message: FromWorker): void => port.postMessage(message);
  try {
    const opened = await openWithSpace(data);
    for (let start = 0; start < opened.records.length; start += recordsPerMessage) {
      send({ type: "records", records: opened.records.slice(start, start + recordsPerMessage) });
    }
    const writer = new Writer(data, opened, data.ballastBytes);
    const thread = new WritingThread(port, data, writer);
    await thread.begin();
    send({ type: "opened", snapshot: opened.snapshot, repair: opened.repair, status: writer.status });
  } catch (error) {
    send({
      type: "open-failed",
      code: isFault(error, "JOURNAL_VERSION") ? "JOURNAL_VERSION" : "JOURNAL",
      message: messageOf(error),
      hint: (isFault(error) && error.hint) || "see that the state directory is there, writable and not full",
      details: { directory: data.directory, reason: errnoOf(error) ?? "unknown" },
    });
    port.close();
  }
}

/** A repair needs room: with a full disk the ballast pays for it. */
async function openWithSpace(data: WorkerData): Promise<Opened> {
  try {
    return await openFiles(data, data.at);
  } catch (error) {
    if (!fullDisk.has(errnoOf(error) ?? "")) throw error;
    rmSync(join(data.directory, ballastName), { force: true });
    return openFiles(data, data.at);
  }
}

class WritingThread {
  readonly #port: MessagePort;
  readonly #data: WorkerData;
  readonly #writer: Writer;
  #busy = false;
  #failed = false;
  #syncTimer: NodeJS.Timeout | undefined;
  #syncDue = Number.POSITIVE_INFINITY;
  #spaceTimer: NodeJS.Timeout | undefined;
  #queue: ToWorker[] = [];

  constructor(port: MessagePort, data: WorkerData, writer: Writer) {
    this.#port = port;
    this.#data = data;
    this.#writer = writer;
  }

  /** Says in the file who opened it, and begins to listen. */
  async begin(): Promise<void> {
    const { host, bootId, at } = this.#data;
    const record = { kind: ownKinds.opened, data: JSON.stringify({ host, bootId, pid: process.pid }) };
    if (!this.#writer.makeBallast()) this.#watchSpace();
    await this.#commit([
      { type: "commit", id: 0, at, records: [record], durability: "effect", essential: true } satisfies CommitMessage,
    ]);
    this.#port.on("message", (message: ToWorker) => {
      this.#queue.push(message);
      void this.#work();
    });
  }

  #send(message: FromWorker): void {
    this.#port.postMessage(message);
  }

  /** Takes all that has arrived: what came during a sync goes out with the next one. */
  async #work(): Promise<void> {
    if (this.#busy) return;
    this.#busy = true;
    try {
      for (let batch = this.#take(); batch.length > 0 && !this.#failed; batch = this.#take())
        await this.#carryOut(batch);
    } catch (error) {
      this.#fail(error);
    }
    this.#busy = false;
  }

  #take(): readonly ToWorker[] {
    for (let next = receiveMessageOnPort(this.#port); next; next = receiveMessageOnPort(this.#port)) {
      this.#queue.push(next.message as ToWorker);
    }
    const taken = this.#queue;
    this.#queue = [];
    return taken;
  }

  async #carryOut(batch: readonly ToWorker[]): Promise<void> {
    let commits: CommitMessage[] = [];
    for (const message of batch) {
      if (message.type === "commit") {
        commits.push(message);
        continue;
      }
      await this.#commit(commits);
      commits = [];
      if (message.type === "compact") await this.#compact(message);
      else await this.#close(message);
    }
    await this.#commit(commits);
  }

  async #commit(all: readonly CommitMessage[]): Promise<void> {
    let commits = all;
    if (this.#writer.status.health === "no-space") commits = this.#onlyEssential(all);
    if (commits.length === 0) return;
    try {
      await this.#writer.append(commits);
    } catch (error) {
      if (!fullDisk.has(errnoOf(error) ?? "")) throw error;
      this.#writer.dropBallast();
      this.#watchSpace();
      this.#send({ type: "warning", message: "journal disk is full, ballast given up", data: this.#where(error) });
      commits = await this.#appendWithoutBallast(this.#onlyEssential(commits));
    }
    await this.#syncFor(commits);
  }

  async #appendWithoutBallast(commits: readonly CommitMessage[]): Promise<readonly CommitMessage[]> {
    try {
      if (commits.length > 0) await this.#writer.append(commits);
      return commits;
    } catch (error) {
      if (!fullDisk.has(errnoOf(error) ?? "")) throw error;
      this.#refuse(commits, error);
      return [];
    }
  }

  #onlyEssential(commits: readonly CommitMessage[]): readonly CommitMessage[] {
    const refused = commits.filter((commit) => !commit.essential);
    if (refused.length > 0) this.#refuse(refused, undefined);
    return commits.filter((commit) => commit.essential);
  }

  #refuse(commits: readonly CommitMessage[], error: unknown): void {
    this.#send({
      type: "refused",
      ids: commits.map((commit) => commit.id),
      message: "the disk of the journal is full",
      reason: errnoOf(error) ?? "ENOSPC",
      status: this.#writer.status,
    });
  }

  async #syncFor(commits: readonly CommitMessage[]): Promise<void> {
    const now = commits.some(({ durability }) => durability === "effect" || durability === "report");
    if (now) await this.#sync();
    else if (commits.some(({ durability }) => durability === "group")) this.#syncWithin(this.#data.groupSyncMs);
    else if (commits.length > 0) this.#syncWithin(this.#data.lazySyncMs);
    if (commits.length > 0) {
      this.#send({ type: "done", ids: commits.map(({ id }) => id), status: this.#writer.status });
    }
  }

  async #sync(): Promise<void> {
    clearTimeout(this.#syncTimer);
    this.#syncTimer = undefined;
    this.#syncDue = Number.POSITIVE_INFINITY;
    await this.#writer.sync();
  }

  #syncWithin(ms: number): void {
    const due = performance.now() + ms;
    if (due >= this.#syncDue) return;
    clearTimeout(this.#syncTimer);
    this.#syncDue = due;
    this.#syncTimer = setTimeout(() => void this.#timedSync(), ms);
  }

  async #timedSync(): Promise<void> {
    if (this.#busy) {
      this.#syncDue = Number.POSITIVE_INFINITY;
      this.#syncWithin(10);
      return;
    }
    this.#busy = true;
    try {
      await this.#sync();
      this.#send({ type: "status", status: this.#writer.status });
    } catch (error) {
      this.#fail(error);
    }
    this.#busy = false;
    await this.#work();
  }

  async #compact(message: CompactMessage): Promise<void> {
    await this.#sync();
    try {
      await this.#writer.compact(message.state, message.at);
    } catch (error) {
      if (!fullDisk.has(errnoOf(error) ?? "")) throw error;
      this.#send({
        type: "refused",
        ids: [message.id],
        message: "no space for a snapshot of the journal",
        reason: errnoOf(error) ?? "ENOSPC",
        status: this.#writer.status,
      });
      return;
    }
    this.#send({ type: "done", ids: [message.id], status: this.#writer.status });
  }

  async #close(message: CloseMessage): Promise<void> {
    await this.#sync();
    clearInterval(this.#spaceTimer);
    this.#writer.close();
    this.#send({ type: "done", ids: [message.id], status: this.#writer.status });
    this.#port.close();
  }

  #watchSpace(): void {
    this.#spaceTimer ??= setInterval(() => this.#lookForSpace(), this.#data.spaceCheckMs);
  }

  #lookForSpace(): void {
    try {
      if (!this.#writer.makeBallast()) return;
    } catch (error) {
      this.#fail(error);
      return;
    }
    clearInterval(this.#spaceTimer);
    this.#spaceTimer = undefined;
    this.#send({ type: "status", status: this.#writer.status });
  }

  /** Final: the file is dead until a restart reads it again. */
  #fail(error: unknown): void {
    if (this.#failed) return;
    this.#failed = true;
    clearTimeout(this.#syncTimer);
    clearInterval(this.#spaceTimer);
    this.#send({ type: "failed", message: messageOf(error), reason: errnoOf(error) ?? "unknown" });
    this.#port.close();
  }

  #where(error: unknown): { directory: string; reason: string } {
    return { directory: this.#data.directory, reason: errnoOf(error) ?? "unknown" };
  }
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

if (parentPort) await serve(parentPort, workerData as WorkerData);
