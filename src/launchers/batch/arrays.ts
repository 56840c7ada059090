/**
 * What is written before an array is submitted: one file, however many tasks it has. On a file system that nodes share each file costs
 * milliseconds, over SSH several journeys; attempts by themselves have two each (places.ts).
 *
 * `<workdir>/.siteagent/arrays/<token>.tasks`: a line `siteagent-array 1 AT TASKS BYTES`, for each task a line `FROM LENGTH TOKEN DIRECTORY`
 * (of its plan: from which byte, counted from 1, and how many), BYTES in all, then the plans. Of values from outside only directories are in the
 * lines: a plan is taken by its place, whatever stands in it. `<token>.lines` has the lines once more: which attempts are in an array whose file is
 * damaged, and that no other is.
 */
import { join, relative } from "node:path";
import type { CallContext } from "../../common/context.ts";
import { Fault } from "../../common/fault.ts";
import { inChunks } from "../../common/chunks.ts";
import { isToken, type Token } from "../../common/token.ts";
import type { Host } from "../../hosts/types.ts";
import type { Submission } from "./places.ts";

export interface ArrayTask {
  readonly token: Token;
  /** Absolute; the attempt's. */
  readonly directory: string;
}

/** Where the arrays of a work directory are noted. */
export function arraysIn(workdir: string): string {
  return join(workdir, ".siteagent", "arrays");
}

export function tasksFile(workdir: string, token: Token): string {
  return join(arraysIn(workdir), `${token}.tasks`);
}

function linesFile(workdir: string, token: Token): string {
  return join(arraysIn(workdir), `${token}.lines`);
}

/** Which array a file is about; undefined for what is no part of a note. */
function arrayOf(name: string): Token | undefined {
  const token = /^(.*)\.(?:tasks|lines)$/.exec(name)?.[1];
  return token !== undefined && isToken(token) ? token : undefined;
}

/** What the script prints before it knows which task it is; there only where it did. */
export function arrayLog(workdir: string, token: Token): string {
  return join(arraysIn(workdir), `${token}.log`);
}

/** @throws Fault INVALID for a directory that cannot stand in a line. */
export function tasksText(at: string, tasks: readonly (ArrayTask & { readonly plan: string })[]): string {
  const places = (from: number): readonly string[] => {
    let next = from;
    return tasks.map(({ token, directory, plan }) => {
      const length = Buffer.byteLength(plan);
      const line = `${digits(next)} ${digits(length)} ${token} ${inOneLine(directory)}\n`;
      next += length;
      return line;
    });
  };
  const head = (bytes: number): string => `siteagent-array 1 ${at} ${tasks.length} ${digits(bytes)}\n`;
  const bytes = Buffer.byteLength(head(0) + places(0).join(""));
  return [head(bytes), ...places(bytes + 1), ...tasks.map(({ plan }) => plan)].join("");
}

function inOneLine(directory: string): string {
  if (!directory.includes("\n")) return directory;
  throw new Fault("INVALID", `a directory with a line break cannot be that of a task: ${JSON.stringify(directory)}`);
}

/** Always as many, so that a place says nothing about the length of its line. */
function digits(value: number): string {
  return String(value).padStart(10, "0");
}

export interface ArrayNote {
  readonly at: string;
  readonly tasks: readonly ArrayTask[];
}

/** How many bytes of the file are the lines; undefined when it is none. */
export function noteBytes(text: string): number | undefined {
  const bytes = /^siteagent-array 1 \S+ \d+ (\d{10})\n/.exec(text)?.[1];
  return bytes === undefined ? undefined : Number(bytes);
}

/** The lines of the file, whatever follows them; undefined when they are damaged or cut. */
export function parseNote(text: string): ArrayNote | undefined {
  const [, at, count] = /^siteagent-array 1 (\d{4}-\d\d-\d\dT[\d:.]+Z) (\d+) \d{10}\n/.exec(text) ?? [];
  if (at === undefined) return undefined;
  const lines = text.split("\n", Number(count) + 2).slice(1, -1);
  const tasks = lines.flatMap((line): ArrayTask[] => {
    const [, token = "", directory] = /^\d{10} \d{10} (\S+) (\/.+)$/s.exec(line) ?? [];
    return isToken(token) && directory !== undefined ? [{ token, directory }] : [];
  });
  return tasks.length === Number(count) ? { at, tasks } : undefined;
}

/** Most notes are shorter. */
const firstBytes = 65_536;
const mostBytes = 64 * 1024 * 1024;
const readAtOnce = 8;

/** The arrays of a host's work directory, by the attempts that are their tasks. */
export class Arrays {
  readonly #host: Host;
  readonly #submissions = new Map<Token, Submission>();
  /** Of each array: its tasks that have not ended, as far as this process saw. */
  readonly #open = new Map<Token, Set<Token>>();
  /** One of which not even the attempts in it can be read. */
  #damaged: string | undefined;
  #loaded: Promise<void> | undefined;
  #directory: Promise<unknown> | undefined;

  constructor(host: Host) {
    this.#host = host;
  }

  /** Durable when it ends. */
  async write(
    token: Token,
    at: string,
    tasks: readonly (ArrayTask & { readonly plan: string })[],
    context: CallContext,
  ): Promise<void> {
    const { files, workdir } = this.#host;
    await this.#load(context);
    this.#note(token, { at, tasks });
    this.#directory ??= files.mkdir(arraysIn(workdir), {}, context);
    await this.#directory;
    const text = tasksText(at, tasks);
    const bytes = Buffer.from(text);
    const lines = bytes.subarray(0, noteBytes(text));
    await Promise.all([
      files.write(tasksFile(workdir, token), bytes, { mode: 0o600 }, context),
      files.write(linesFile(workdir, token), lines, { mode: 0o600 }, context),
    ]);
  }

  /** Nothing was accepted, or nobody needs it any more. */
  async remove(token: Token, context: CallContext): Promise<void> {
    const { files, workdir } = this.#host;
    this.#open.delete(token);
    for (const [attempt, submission] of this.#submissions)
      if (submission.token === token) this.#submissions.delete(attempt);
    for (const place of [arrayLog, tasksFile, linesFile]) await files.remove(place(workdir, token), context);
  }

  /** These have ended, and their directories say so: a note that no other attempt needs is removed. */
  async ended(attempts: Iterable<Token>, context: CallContext): Promise<void> {
    for (const attempt of attempts) {
      const array = this.#submissions.get(attempt)?.token;
      if (array === undefined) continue;
      const open = this.#open.get(array);
      if (open?.delete(attempt) === true && open.size === 0) await this.#forget(array, context);
    }
  }

  /** As which task an attempt was submitted, or was about to be; undefined = as none that is known. @throws Fault of the host. */
  async of(attempt: Token, context: CallContext): Promise<Submission | undefined> {
    await this.#load(context);
    return this.#submissions.get(attempt);
  }

  /** As `of`, for one of which an earlier agent may have submitted it. @throws Fault RUNNER also when a note cannot be read: it may be in that one. */
  async certainly(attempt: Token, context: CallContext): Promise<Submission | undefined> {
    const found = await this.of(attempt, context);
    if (found || this.#damaged === undefined) return found;
    throw new Fault(
      "RUNNER",
      `'${this.#damaged}' is damaged: whether the attempt was submitted with its array is not known`,
      {
        hint: "look for a job named as the file at the scheduler; remove the file and the one beside it when there is none",
      },
    );
  }

  async #load(context: CallContext): Promise<void> {
    this.#loaded ??= this.#readAll(context);
    try {
      await this.#loaded;
    } catch (error) {
      this.#loaded = undefined;
      throw error;
    }
  }

  async #readAll(context: CallContext): Promise<void> {
    const { files, workdir } = this.#host;
    const names = (await files.list(arraysIn(workdir), context)) ?? [];
    const arrays = new Set(names.flatMap((name) => arrayOf(name) ?? []));
    const jobs = new Set(await files.list(workdir, context));
    for (const some of inChunks([...arrays], readAtOnce))
      await Promise.all(some.map((token) => this.#take(token, jobs, context)));
  }

  /** `jobs`: the directories that there are. An array none of whose jobs has one any more is nobody's. */
  async #take(token: Token, jobs: ReadonlySet<string>, context: CallContext): Promise<void> {
    const note = await this.#whole(token, context);
    if (note === undefined) return;
    const isThere = ({ directory }: ArrayTask): boolean => jobs.has(jobIn(this.#host.workdir, directory));
    if (jobs.size > 0 && !note.tasks.some(isThere)) return await this.remove(token, context);
    this.#note(token, note);
    this.#open.set(token, new Set(note.tasks.filter(isThere).map((task) => task.token)));
  }

  /** Of several submissions of an attempt the last counts: those before it were proven to be none. */
  #note(array: Token, { at, tasks }: ArrayNote): void {
    this.#open.set(array, new Set(tasks.map(({ token }) => token)));
    for (const [task, { token }] of tasks.entries()) {
      const known = this.#submissions.get(token);
      if (known === undefined || known.at <= at) this.#submissions.set(token, { v: 1, token: array, task, at });
    }
  }

  /** By the first of its files that is whole; undefined = none is. */
  async #whole(token: Token, context: CallContext): Promise<ArrayNote | undefined> {
    const { workdir } = this.#host;
    let damaged: string | undefined;
    for (const path of [tasksFile(workdir, token), linesFile(workdir, token)]) {
      const note = await this.#read(path, context);
      if (note !== "damaged" && note !== undefined) return note;
      if (note === undefined) continue;
      damaged ??= path;
      context.log.error({ path }, "the note of an array is damaged");
    }
    this.#damaged ??= damaged;
    return undefined;
  }

  async #forget(array: Token, context: CallContext): Promise<void> {
    try {
      await this.remove(array, context);
    } catch (error) {
      context.log.warn({ err: error, array }, "the note of an array cannot be removed; the next start removes it");
    }
  }

  /** undefined = it is not there. */
  async #read(path: string, context: CallContext): Promise<ArrayNote | "damaged" | undefined> {
    for (let maxBytes = firstBytes; ;) {
      const text = (await this.#host.files.read(path, { maxBytes }, context))?.toString("utf8");
      if (text === undefined) return undefined;
      const bytes = noteBytes(text) ?? 0;
      if (bytes <= maxBytes || bytes > mostBytes) return parseNote(text) ?? "damaged";
      maxBytes = bytes;
    }
  }
}

/** The name of the job's directory in which an attempt's lies. */
function jobIn(workdir: string, directory: string): string {
  return relative(workdir, directory).split("/", 1)[0] ?? "";
}
