import { createRequire } from "node:module";
import { stripVTControlCharacters } from "node:util";
import { cleanEnvironment, siteagentBin } from "../../helpers/cli.ts";
import { waitFor } from "../../helpers/wait.ts";
import type { Shell } from "./rig.ts";

/** The part of node-pty that is used here; its own types name another package. */
interface NodePty {
  spawn(file: string, args: readonly string[], options: object): RawTerminal;
}
interface RawTerminal {
  readonly pid: number;
  onData(listener: (data: string) => void): void;
  onExit(listener: (end: { exitCode: number; signal?: number }) => void): void;
  write(data: string): void;
  kill(signal?: string): void;
}

/** `bin/siteagent` on a terminal of its own, with a person who reads and types. Ended with its scope. */
export class TerminalSession implements AsyncDisposable {
  /** Everything it has written, with escape sequences. */
  raw = "";
  /** Resolves with the exit code. */
  readonly ended: Promise<number>;
  readonly #terminal: RawTerminal;
  #running = true;
  #seen = 0;

  constructor(
    shell: Shell,
    args: readonly string[],
    options: { readonly columns?: number; readonly env?: Readonly<Record<string, string>> } = {},
  ) {
    const pty = createRequire(import.meta.url)("node-pty") as NodePty;
    const env = { ...cleanEnvironment(shell.directory.path, { ...shell.env, NO_COLOR: undefined, ...options.env }) };
    for (const name of Object.keys(env)) if (env[name] === undefined) delete env[name];
    this.#terminal = pty.spawn(siteagentBin, args, {
      name: "xterm-256color",
      cols: options.columns ?? 80,
      rows: 40,
      cwd: shell.directory.path,
      env,
    });
    this.#terminal.onData((data) => (this.raw += data));
    this.ended = new Promise((resolve) => {
      this.#terminal.onExit(({ exitCode, signal }) => {
        this.#running = false;
        resolve(signal ? 128 + signal : exitCode);
      });
    });
  }

  /** Without escape sequences. */
  get text(): string {
    return stripVTControlCharacters(this.raw).replaceAll("\r\n", "\n");
  }

  type(keys: string): void {
    this.#terminal.write(keys);
  }

  /** Waits for words that were not there at the last wait. */
  async reads(pattern: RegExp): Promise<void> {
    await waitFor(
      () => {
        const at = this.text.slice(this.#seen).search(pattern);
        if (at < 0) return false;
        this.#seen += at + 1;
        return true;
      },
      { what: () => `${String(pattern)} on the terminal:\n${this.text}`, timeoutMs: 20_000 },
    );
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#running) this.#terminal.kill("SIGKILL");
    await this.ended;
  }
}
