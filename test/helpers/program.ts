import { type ChildProcess, spawn } from "node:child_process";

export interface ProgramOptions {
  /** The whole environment of the program. */
  readonly env?: Readonly<Record<string, string | undefined>>;
  readonly cwd?: string;
  /** Written to its standard input, which is then closed. Without it standard input stays open until `end()`. */
  readonly input?: string | Uint8Array;
}

export interface Finished {
  readonly stdout: string;
  readonly stderr: string;
  /** Exit code; undefined when a signal ended it. */
  readonly code: number | undefined;
  readonly signal: NodeJS.Signals | undefined;
}

/** How long output may still arrive after the exit when a grandchild holds the pipe. */
const drainMs = 2_000;

/** Children that would outlive this process when it is interrupted. */
const alive = new Set<ChildProcess>();

function endAll(): void {
  for (const child of alive) child.kill("SIGKILL");
}

let watched = false;

/** From the first program on: whoever interrupts the tests ends their programs too. */
function watchInterrupts(): void {
  if (watched) return;
  watched = true;
  process.on("exit", endAll);
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) {
    process.once(signal, () => {
      endAll();
      process.kill(process.pid, signal); // "once" is over: it ends us
    });
  }
}

/**
 * A real child process with its output, ended with its scope (`await using`). `signal` and `stop` reach this process
 * alone, not what it started.
 */
export class Program implements AsyncDisposable {
  readonly pid: number;
  /** Resolves when the process has ended; never rejects. */
  readonly finished: Promise<Finished>;
  readonly #child: ChildProcess;
  readonly #title: string;
  readonly #looks = new Set<() => void>();
  #stdout = "";
  #stderr = "";
  #ended = false;

  private constructor(child: ChildProcess, pid: number, title: string) {
    this.#child = child;
    this.pid = pid;
    this.#title = title;
    child.stdout?.setEncoding("utf8").on("data", (text: string) => this.#take("stdout", text));
    child.stderr?.setEncoding("utf8").on("data", (text: string) => this.#take("stderr", text));
    child.stdin?.on("error", () => {}); // it may end before it has read all
    watchInterrupts();
    alive.add(child);
    this.finished = this.#follow();
  }

  /** Starts `file` with `args`; rejects when it cannot be started. */
  static async start(file: string, args: readonly string[], options: ProgramOptions = {}): Promise<Program> {
    const child = spawn(file, args, { env: { ...options.env }, cwd: options.cwd, stdio: "pipe" });
    await new Promise((resolve, reject) => {
      child.once("spawn", resolve);
      child.once("error", reject);
    });
    if (child.pid === undefined) throw new Error(`'${file}' has no pid`);
    const program = new Program(child, child.pid, [file, ...args].join(" "));
    if (options.input !== undefined) child.stdin.end(options.input);
    return program;
  }

  /** What it has written so far. */
  get stdout(): string {
    return this.#stdout;
  }

  get stderr(): string {
    return this.#stderr;
  }

  get running(): boolean {
    return !this.#ended;
  }

  write(text: string): void {
    this.#child.stdin?.write(text);
  }

  /** Closes its standard input. */
  end(): void {
    this.#child.stdin?.end();
  }

  /**
   * Resolves with the first match of `pattern` in what it has written or will write (default stdout, 30 s). Rejects with
   * all output when it ends before, or the time is over.
   */
  async output(
    pattern: RegExp,
    options: { readonly stream?: "stdout" | "stderr"; readonly timeoutMs?: number } = {},
  ): Promise<RegExpExecArray> {
    const stream = options.stream ?? "stdout";
    const timeoutMs = options.timeoutMs ?? 30_000;
    const { promise, resolve, reject } = Promise.withResolvers<RegExpExecArray>();
    const look = (): void => {
      const match = new RegExp(pattern).exec(stream === "stdout" ? this.#stdout : this.#stderr);
      if (match) resolve(match);
      else if (this.#ended)
        reject(new Error(`${this.#title}: ended without ${String(pattern)} on ${stream}\n${this.#told()}`));
    };
    const timer = setTimeout(() => {
      reject(new Error(`${this.#title}: no ${String(pattern)} on ${stream} within ${timeoutMs} ms\n${this.#told()}`));
    }, timeoutMs);
    this.#looks.add(look);
    look();
    try {
      return await promise;
    } finally {
      clearTimeout(timer);
      this.#looks.delete(look);
    }
  }

  /** Sends a signal to this process, unless it has ended. */
  signal(signal: NodeJS.Signals): void {
    if (!this.#ended) this.#child.kill(signal);
  }

  /** Ends it: `signal`, and SIGKILL after `killAfterMs`. */
  async stop(options: { readonly signal?: NodeJS.Signals; readonly killAfterMs?: number } = {}): Promise<Finished> {
    this.signal(options.signal ?? "SIGTERM");
    const timer = setTimeout(() => this.signal("SIGKILL"), options.killAfterMs ?? 10_000);
    try {
      return await this.finished;
    } finally {
      clearTimeout(timer);
    }
  }

  /** Resolves with the outcome; kills the process and rejects with its output when that takes longer. */
  async result(timeoutMs: number): Promise<Finished> {
    let late = false;
    const timer = setTimeout(() => {
      late = true;
      this.signal("SIGKILL");
    }, timeoutMs);
    const finished = await this.finished;
    clearTimeout(timer);
    if (late) throw new Error(`${this.#title}: did not end within ${timeoutMs} ms\n${this.#told()}`);
    return finished;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }

  #take(stream: "stdout" | "stderr", text: string): void {
    if (stream === "stdout") this.#stdout += text;
    else this.#stderr += text;
    for (const look of this.#looks) look();
  }

  #told(): string {
    return `--- stdout\n${this.#stdout}\n--- stderr\n${this.#stderr}`;
  }

  async #follow(): Promise<Finished> {
    const closed = Promise.withResolvers<void>();
    this.#child.once("close", () => closed.resolve());
    const [code, signal] = await new Promise<[number | null, NodeJS.Signals | null]>((resolve) => {
      this.#child.once("exit", (...end) => resolve(end));
    });
    alive.delete(this.#child);
    const timer = setTimeout(() => closed.resolve(), drainMs);
    await closed.promise;
    clearTimeout(timer);
    this.#child.stdout?.destroy();
    this.#child.stderr?.destroy();
    this.#ended = true;
    for (const look of this.#looks) look();
    return { stdout: this.#stdout, stderr: this.#stderr, code: code ?? undefined, signal: signal ?? undefined };
  }
}
