import { spawn } from "node:child_process";
import { constants } from "node:os";
import { join } from "node:path";

/** The repository. */
export const repository: string = join(import.meta.dirname, "..", "..");

/** A tool out of node_modules, by the file that Node runs. */
export function tool(path: string): string {
  return join(repository, "node_modules", path);
}

const forwarded = ["SIGINT", "SIGTERM", "SIGHUP"] as const;

export interface StepOptions {
  readonly env?: NodeJS.ProcessEnv;
  readonly cwd?: string;
  /** Where its output goes: both streams as they are (default), or all of it to standard error. */
  readonly output?: "inherit" | "stderr";
}

/**
 * Runs a program to its end and resolves with its exit code (128 + number for a signal). Standard input is empty.
 * Signals to this process go on to it; it decides when to end.
 */
export function runStep(file: string, args: readonly string[], options: StepOptions = {}): Promise<number> {
  const child = spawn(file, args, {
    cwd: options.cwd ?? repository,
    env: options.env ?? process.env,
    stdio: ["ignore", options.output === "stderr" ? process.stderr : "inherit", "inherit"],
  });
  return exitCode(child);
}

/** As `runStep`, with the output collected instead of shown. */
export async function captureStep(
  file: string,
  args: readonly string[],
  options: Omit<StepOptions, "output"> & { readonly input?: string } = {},
): Promise<{ code: number; stdout: string; output: string }> {
  const child = spawn(file, args, { cwd: options.cwd ?? repository, env: options.env ?? process.env, stdio: "pipe" });
  let stdout = "";
  let output = "";
  child.stdout.setEncoding("utf8").on("data", (text: string) => {
    stdout += text;
    output += text;
  });
  child.stderr.setEncoding("utf8").on("data", (text: string) => {
    output += text;
  });
  child.stdin.on("error", () => {}); // it may end before it has read all
  child.stdin.end(options.input ?? "");
  return { code: await exitCode(child), stdout, output };
}

async function exitCode(child: ReturnType<typeof spawn>): Promise<number> {
  const forward = (signal: NodeJS.Signals): void => {
    // What is typed at the terminal reaches the child by itself; a second copy would mean "at once".
    if (signal !== "SIGINT" || !process.stdin.isTTY) child.kill(signal);
  };
  for (const signal of forwarded) process.on(signal, forward);
  try {
    return await new Promise<number>((resolve, reject) => {
      child.once("error", reject);
      child.once("close", (code, signal) => resolve(code ?? 128 + constants.signals[signal ?? "SIGTERM"]));
    });
  } finally {
    for (const signal of forwarded) process.off(signal, forward);
  }
}
