/**
 * Work on files in a thread of its own: each call of Node's promises about files costs a hand-over to a pool and back, a function
 * that makes thirty such calls in a row costs one here. What a file system keeps waiting keeps waiting those who asked, and neither the main
 * loop nor the pool, which also looks up names of hosts. The thread is there while it is needed and ends when it was idle for a while.
 */
import { Worker } from "node:worker_threads";
import { Fault } from "./fault.ts";
import type { FaultCode } from "./faults.ts";
import type { JsonObject } from "./json.ts";

/** A call, for the thread. */
export interface FileCall {
  readonly id: number;
  /** URL of the module. */
  readonly module: string;
  /** Of the function that it exports. */
  readonly name: string;
  readonly args: readonly unknown[];
}

/** What the thread answers to a call. */
export type FileAnswer =
  | { readonly id: number; readonly value: unknown }
  | { readonly id: number; readonly error: ToldError };

/** An error as it passes from one thread to another: code of a Fault or of the system. */
export interface ToldError {
  readonly message: string;
  readonly code?: string | undefined;
  readonly fault?: { readonly hint?: string | undefined; readonly details?: JsonObject | undefined } | undefined;
}

interface Waiting {
  readonly resolve: (value: unknown) => void;
  readonly reject: (error: Error) => void;
}

/** As the local runner: who had nothing to do for a minute is let go. */
const usualIdleMs = 60_000;

/** The thread that all of a process share is `fileThread`; others are for tests. */
export class FileThread {
  readonly #idleMs: number;
  readonly #waiting = new Map<number, Waiting>();
  #calls: FileCall[] = [];
  #nextId = 1;
  #worker: Worker | undefined;
  #idle: NodeJS.Timeout | undefined;
  #used = false;

  constructor(idleMs = usualIdleMs) {
    this.#idleMs = idleMs;
  }

  /** The thread lives now. */
  get running(): boolean {
    return this.#worker !== undefined;
  }

  /** Makes it ready before it is needed. */
  warm(): void {
    this.#worker ??= this.#start();
  }

  /**
   * Calls an exported function there. Arguments and result are plain data. Calls of one turn of the main loop travel together.
   * @throws what the function throws (Faults, and errors of the system with their code); an Error when the thread ended before it answered
   */
  call(module: string, name: string, args: readonly unknown[]): Promise<unknown> {
    const { promise, resolve, reject } = Promise.withResolvers<unknown>();
    const id = this.#nextId++;
    if (this.#waiting.size === 0) this.#worker?.ref();
    this.#waiting.set(id, { resolve, reject });
    if (this.#calls.push({ id, module, name, args }) === 1) setImmediate(() => this.#send());
    return promise;
  }

  #send(): void {
    const calls = this.#calls;
    this.#calls = [];
    this.#used = true;
    try {
      this.warm();
      this.#worker?.postMessage(calls);
    } catch (error) {
      for (const { id } of calls) this.#settle(id)?.reject(error instanceof Error ? error : new Error(String(error)));
    }
  }

  #start(): Worker {
    const worker = new Worker(new URL(`./file-thread-worker${extension(import.meta.url)}`, import.meta.url), {
      name: "files",
      execArgv: [],
    });
    if (this.#waiting.size === 0) worker.unref();
    worker.on("message", (answers: readonly FileAnswer[]) => {
      for (const answer of answers) {
        const waiting = this.#settle(answer.id);
        if ("error" in answer) waiting?.reject(errorOf(answer.error));
        else waiting?.resolve(answer.value);
      }
    });
    worker.on("error", (error) => this.#lost(worker, error));
    worker.on("exit", () => this.#lost(worker, undefined));
    this.#idle ??= setInterval(() => this.#look(), this.#idleMs).unref();
    return worker;
  }

  #settle(id: number): Waiting | undefined {
    const waiting = this.#waiting.get(id);
    if (this.#waiting.delete(id) && this.#waiting.size === 0) this.#worker?.unref();
    return waiting;
  }

  /** Lets it go when nobody has asked since the last look. */
  #look(): void {
    if (this.#used || this.#waiting.size > 0) {
      this.#used = false;
      return;
    }
    const worker = this.#worker;
    this.#worker = undefined;
    this.#rest();
    void worker?.terminate();
  }

  #lost(worker: Worker, cause: unknown): void {
    if (this.#worker !== worker) return;
    this.#worker = undefined;
    this.#rest();
    // Those that were not sent yet go to the next one.
    const unsent = new Set(this.#calls.map((call) => call.id));
    for (const id of [...this.#waiting.keys()]) {
      if (!unsent.has(id)) this.#settle(id)?.reject(new Error("the thread for files has ended", { cause }));
    }
  }

  #rest(): void {
    clearInterval(this.#idle);
    this.#idle = undefined;
  }
}

/** Of this process, like Node's own pool of threads. */
export const fileThread = new FileThread();

/**
 * A function that runs there: `inFileThread<typeof import("./trees.ts").remove>(import.meta.url, "./trees", "remove")`. The path is that of
 * the module without its extension, which is another one in a release. Work of many seconds goes to a `thread` of its own.
 */
export function inFileThread<Func extends (...args: never[]) => unknown>(
  base: string,
  path: string,
  name: string,
  thread = fileThread,
): (...args: Parameters<Func>) => Promise<Awaited<ReturnType<Func>>> {
  const module = new URL(path + extension(base), base).href;
  return (...args) => thread.call(module, name, args) as Promise<Awaited<ReturnType<Func>>>;
}

function extension(url: string): ".ts" | ".js" {
  return url.endsWith(".ts") ? ".ts" : ".js";
}

/** For the other thread. */
export function toldError(error: unknown): ToldError {
  if (error instanceof Fault) {
    const { message, code, hint, details } = error;
    return { message, code, fault: { hint, details } };
  }
  if (!(error instanceof Error)) return { message: String(error) };
  return { message: error.message, code: (error as NodeJS.ErrnoException).code };
}

function errorOf({ message, code, fault }: ToldError): Error {
  if (fault) {
    const { hint, details } = fault;
    return new Fault(code as FaultCode, message, {
      ...(hint === undefined ? {} : { hint }),
      ...(details === undefined ? {} : { details }),
    });
  }
  return Object.assign(new Error(message), code === undefined ? {} : { code });
}
