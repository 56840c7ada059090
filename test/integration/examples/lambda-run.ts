import { spawn } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { text } from "node:stream/consumers";

export const lambda = join(import.meta.dirname, "../../../examples/lambda");
export const program = (name: string): string => join(lambda, "bin", name);
export const data = (name: string): string => join(lambda, "data", name);

export interface Ended {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs a program as a launcher would: by path, with a bare environment and the Node of the test. */
export async function run(argv: readonly string[], environment: Record<string, string> = {}): Promise<Ended> {
  const [file = "", ...args] = argv;
  const env = { PATH: process.env["PATH"] ?? "", READQC_NODE: process.execPath, ...environment };
  const child = spawn(file, args, { env, stdio: ["ignore", "pipe", "pipe"] });
  const ended = new Promise<{ code: number | null; signal: NodeJS.Signals | null }>((resolve, reject) => {
    child.once("error", reject);
    child.once("close", (code, signal) => resolve({ code, signal }));
  });
  const [stdout, stderr, end] = await Promise.all([text(child.stdout), text(child.stderr), ended]);
  return { ...end, stdout, stderr };
}

export interface Scratch extends AsyncDisposable {
  readonly path: string;
  at(name: string): string;
}

/** A directory that is gone at the end of the test. */
export async function scratch(): Promise<Scratch> {
  const path = await mkdtemp(join(tmpdir(), "lambda-"));
  return {
    path,
    at: (name) => join(path, name),
    [Symbol.asyncDispose]: () => rm(path, { recursive: true, force: true }),
  };
}
