import type { CallContext } from "../../common/context.ts";
import type { TransferContext } from "../types.ts";
import { asFault, isFault } from "../../common/fault.ts";
import type { Token } from "../../common/token.ts";
import { isMissing, isSourceChanged, throwIfStopped } from "../errors.ts";
import type { Note, NotedFile, Notes } from "./notes.ts";
import type { Submission, Tasks, TaskState } from "./tasks.ts";

/** Hands over those of `files` that lie whole at their destination. @throws Fault with `source_changed` after all others. */
export type Settle = (files: readonly NotedFile[]) => Promise<readonly NotedFile[]>;

interface Adopted {
  readonly note: Note;
  readonly files: readonly NotedFile[];
}

/** Lists of files on their way, each by one task: what an earlier call or process has submitted is taken up, the rest submitted. */
export class Work {
  readonly #tasks: Tasks;
  readonly #notes: Notes;
  /** Submissions that a call of this process follows. */
  readonly #followed = new Set<string>();
  /** Tokens of jobs whose tasks are still to be ended; read once, for an earlier process may have left some. */
  #ending: Set<string> | undefined;

  constructor(tasks: Tasks, notes: Notes) {
    this.#tasks = tasks;
    this.#notes = notes;
  }

  /** Returns when every task of these files has ended well; what `settle` gave back then did not arrive. */
  async move(order: Submission, settle: Settle, context: TransferContext): Promise<void> {
    const { adopted, left } = await this.#adopt(order, context);
    const failures: unknown[] = [];
    for (const { note, files } of adopted) {
      try {
        context.log.info({ task: note.task, files: files.length }, "a transfer that was submitted before is followed");
        left.push(...(await this.#finish(note, files, settle, context)));
      } catch (error) {
        throwIfStopped(context.signal);
        failures.push(error);
      } finally {
        this.#followed.delete(note.submission);
      }
    }
    if (failures.length > 0) throw failures[0];
    if (left.length > 0) await this.#submit({ ...order, files: left }, settle, context);
  }

  /** Ends the tasks of a job; also those that could not be ended when it was said of others. */
  async abandon(token: Token, context: CallContext): Promise<void> {
    for (const note of await this.#notes.all(token)) {
      if (!note.abandoned) await this.#notes.put({ ...note, abandoned: true });
    }
    this.#ending ??= new Set((await this.#notes.all()).flatMap((note) => (note.abandoned ? [note.token] : [])));
    for (const one of this.#ending.add(token)) {
      try {
        for (const note of await this.#notes.all(one)) if (note.abandoned) await this.#end(note, context);
        this.#ending.delete(one);
      } catch (error) {
        if (one === token) throw error;
        context.log.info({ err: asFault(error), token: one }, "a Globus task could not be ended yet");
      }
    }
  }

  async #submit(order: Submission, settle: Settle, context: TransferContext): Promise<void> {
    const note = await this.#tasks.submit(order, context);
    this.#followed.add(note.submission);
    try {
      await this.#finish(note, order.files, settle, context);
    } finally {
      this.#followed.delete(note.submission);
    }
  }

  /** The submissions that bring wanted files already, and the files of none. One that would bring an older content is ended. */
  async #adopt(
    order: Submission,
    context: CallContext,
  ): Promise<{ readonly adopted: readonly Adopted[]; readonly left: NotedFile[] }> {
    const wanted = new Map(order.files.map((file) => [file.destination_path, file]));
    const adopted: Adopted[] = [];
    for (const note of await this.#notes.all(order.token)) {
      if (note.scope !== order.scope || note.abandoned || this.#followed.has(note.submission)) continue;
      const same = note.files.filter(({ destination_path: path }) => wanted.has(path));
      if (same.length === 0) continue;
      const asNoted = same.filter((file) => {
        const now = wanted.get(file.destination_path);
        return now?.stamp === file.stamp && now.source_path === file.source_path;
      });
      if (asNoted.length < same.length) {
        await this.#end(note, context);
        continue;
      }
      this.#followed.add(note.submission);
      const files = asNoted.flatMap(({ destination_path: path }) => wanted.get(path) ?? []);
      for (const file of files) wanted.delete(file.destination_path);
      adopted.push({ note, files });
    }
    return { adopted, left: [...wanted.values()] };
  }

  /** Returns the files that did not arrive although the task ended well. */
  async #finish(
    noted: Note,
    files: readonly NotedFile[],
    settle: Settle,
    context: TransferContext,
  ): Promise<readonly NotedFile[]> {
    const found = await this.#ended(noted, context);
    if (!found) return files;
    const { note, state } = found;
    if (state.status === "SUCCEEDED") return await this.#settled(note, files, settle);
    const brought = await this.#tasks.brought(note.task, context);
    const failure = await this.#tasks.failure(note.task, state, context);
    await this.#settled(
      note,
      files.filter(({ destination_path: path }) => brought.has(path)),
      settle,
    );
    throw failure;
  }

  /** How the task ended; undefined when there is none: the submission is refused by now, or Globus knows the task no more. */
  async #ended(
    noted: Note,
    context: TransferContext,
  ): Promise<{ readonly note: Note & { readonly task: string }; readonly state: TaskState } | undefined> {
    try {
      const note = await this.#tasks.resubmit(noted, context);
      return { note, state: await this.#tasks.follow(note.task, context) };
    } catch (error) {
      const isRefused = noted.task === undefined && isFault(error, "TRANSFER_REFUSED");
      if (!isRefused && !isMissing(error)) throw error;
      context.log.info({ err: error, task: noted.task }, "a transfer that was submitted before is submitted anew");
      await this.#notes.drop(noted);
      return undefined;
    }
  }

  async #settled(note: Note, files: readonly NotedFile[], settle: Settle): Promise<readonly NotedFile[]> {
    try {
      const left = await settle(files);
      await this.#notes.drop(note);
      return left;
    } catch (error) {
      // What has changed must be brought by another task.
      if (isSourceChanged(error)) await this.#notes.drop(note);
      throw error;
    }
  }

  async #end(note: Note, context: CallContext): Promise<void> {
    try {
      // Whether a submission without an answer was taken is told by making it again: it is the same one.
      const { task } = await this.#tasks.resubmit(note, context);
      await this.#tasks.cancel(task, context);
    } catch (error) {
      if (!isFault(error, "TRANSFER_REFUSED")) throw error;
    }
    await this.#notes.drop(note);
  }
}
