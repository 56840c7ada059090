import { join } from "node:path";
import type { Clock } from "../common/clock.ts";
import { errnoOf, isFault, messageOf } from "../common/fault.ts";
import type { Disk } from "./disk.ts";
import { ownKinds } from "./format.ts";
import type { CloseMessage, CommitMessage, CompactMessage, FromWorker, ToWorker, WorkerData } from "./messages.ts";
import { fullErrnos } from "./full.ts";
import { Courier, Inbox } from "./courier.ts";
import type { Opened } from "./generations.ts";
import { openFiles } from "./opening.ts";
import type { Reader } from "./reader.ts";
import { ballastName, Writer } from "./writer.ts";

/** How the writing side is reached: a thread's port. */
export interface WriterPort {
  /** What is in `transfer` belongs to the other side from then on. */
  post(message: FromWorker, transfer?: readonly ArrayBuffer[]): void;
  /** From now on `arrived` is called with each message that `take` did not get before; called once, before anything is awaited. */
  listen(arrived: (message: ToWorker) => void): void;
  /** Messages that have come meanwhile, in order. */
  take(): readonly ToWorker[];
  /** Nothing more is read or sent. */
  close(): void;
}

export interface WriterMeans {
  readonly disk: Disk;
  readonly clock: Clock;
}

/** Opens the journal and writes what comes through the port, until that is closed or the disk fails. Its calls block while the disk does. */
export async function serve(port: WriterPort, data: WorkerData, means: WriterMeans): Promise<void> {
  const inbox = new Inbox(port);
  try {
    const courier = new Courier(port, inbox);
    const opened = await openWithSpace(means.disk, data, courier);
    courier.flush();
    const writer = new Writer(means, data, opened, data.ballastBytes);
    const thread = new WritingSide(port, data, means.clock, writer, inbox);
    await thread.begin();
    port.post({ type: "opened", repair: opened.repair, status: writer.status });
  } catch (error) {
    port.post({
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
async function openWithSpace(disk: Disk, data: WorkerData, reader: Reader): Promise<Opened> {
  try {
    return await openFiles(disk, data, data.at, reader);
  } catch (error) {
    if (!fullErrnos.has(errnoOf(error) ?? "")) throw error;
    disk.remove(join(data.directory, ballastName));
    return await openFiles(disk, data, data.at, reader);
  }
}

class WritingSide {
  readonly #port: WriterPort;
  readonly #data: WorkerData;
  readonly #clock: Clock;
  readonly #writer: Writer;
  #busy = false;
  #failed = false;
  #syncTimer: AbortController | undefined;
  #syncDue = Number.POSITIVE_INFINITY;
  #spaceTimer: AbortController | undefined;
  readonly #inbox: Inbox;

  constructor(port: WriterPort, data: WorkerData, clock: Clock, writer: Writer, inbox: Inbox) {
    this.#port = port;
    this.#inbox = inbox;
    this.#data = data;
    this.#clock = clock;
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
    this.#inbox.onArrival(() => void this.#work());
  }

  #send(message: FromWorker): void {
    this.#port.post(message);
  }

  /** Takes all that has arrived: what came during a sync goes out with the next one. */
  async #work(): Promise<void> {
    if (this.#busy) return;
    this.#busy = true;
    try {
      for (let batch = this.#inbox.take(); batch.length > 0 && !this.#failed; batch = this.#inbox.take())
        await this.#carryOut(batch);
    } catch (error) {
      this.#fail(error);
    }
    this.#busy = false;
  }

  async #carryOut(batch: readonly ToWorker[]): Promise<void> {
    let commits: CommitMessage[] = [];
    for (const message of batch) {
      if (message.type === "commit") {
        commits.push(message);
        continue;
      }
      if (message.type === "taken") continue;
      await this.#commit(commits);
      commits = [];
      if (message.type === "compact") await this.#compact(message);
      else await this.#close(message);
    }
    await this.#commit(commits);
  }

  async #commit(all: readonly CommitMessage[]): Promise<void> {
    let commits = all;
    if (this.#writer.status.health !== "ok") commits = this.#onlyEssential(all);
    if (commits.length === 0) return;
    try {
      await this.#writer.append(commits);
    } catch (error) {
      if (!fullErrnos.has(errnoOf(error) ?? "")) throw error;
      this.#writer.dropBallast(error);
      this.#watchSpace();
      this.#send({ type: "warning", message: `${this.#shortage}, ballast given up`, data: this.#where(error) });
      commits = await this.#appendWithoutBallast(this.#onlyEssential(commits));
    }
    await this.#syncFor(commits);
  }

  async #appendWithoutBallast(commits: readonly CommitMessage[]): Promise<readonly CommitMessage[]> {
    try {
      if (commits.length > 0) await this.#writer.append(commits);
      return commits;
    } catch (error) {
      if (!fullErrnos.has(errnoOf(error) ?? "")) throw error;
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
      message: this.#shortage,
      reason: errnoOf(error) ?? this.#writer.status.health,
      status: this.#writer.status,
    });
  }

  get #shortage(): string {
    return this.#writer.status.health === "no-quota"
      ? "the quota of the journal is used up"
      : "the disk of the journal is full";
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
    this.#syncTimer?.abort();
    this.#syncTimer = undefined;
    this.#syncDue = Number.POSITIVE_INFINITY;
    await this.#writer.sync();
  }

  #syncWithin(ms: number): void {
    const due = this.#clock.monotonic() + ms;
    if (due >= this.#syncDue) return;
    this.#syncTimer?.abort();
    this.#syncDue = due;
    this.#syncTimer = this.#after(ms, () => void this.#timedSync());
  }

  #after(ms: number, run: () => void): AbortController {
    const timer = new AbortController();
    void this.#clock.sleep(ms, timer.signal).then(() => {
      if (!timer.signal.aborted) run();
    });
    return timer;
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
      if (!fullErrnos.has(errnoOf(error) ?? "")) throw error;
      this.#send({
        type: "refused",
        ids: [message.id],
        message: `no space for a snapshot of the journal: ${messageOf(error)}`,
        reason: errnoOf(error) ?? "ENOSPC",
        status: this.#writer.status,
      });
      return;
    }
    this.#send({ type: "done", ids: [message.id], status: this.#writer.status });
  }

  async #close(message: CloseMessage): Promise<void> {
    await this.#sync();
    this.#spaceTimer?.abort();
    this.#writer.close();
    this.#send({ type: "done", ids: [message.id], status: this.#writer.status });
    this.#port.close();
  }

  #watchSpace(): void {
    this.#spaceTimer ??= this.#after(this.#data.spaceCheckMs, () => this.#lookForSpace());
  }

  #lookForSpace(): void {
    this.#spaceTimer = undefined;
    try {
      if (!this.#writer.makeBallast()) {
        this.#watchSpace();
        return;
      }
    } catch (error) {
      this.#fail(error);
      return;
    }
    this.#send({ type: "status", status: this.#writer.status });
  }

  /** Final: the file is dead until a restart reads it again. */
  #fail(error: unknown): void {
    if (this.#failed) return;
    this.#failed = true;
    this.#syncTimer?.abort();
    this.#spaceTimer?.abort();
    this.#writer.giveUp();
    this.#send({ type: "failed", message: messageOf(error), reason: errnoOf(error) ?? "unknown" });
    this.#port.close();
  }

  #where(error: unknown): { directory: string; reason: string } {
    return { directory: this.#data.directory, reason: errnoOf(error) ?? "unknown" };
  }
}
