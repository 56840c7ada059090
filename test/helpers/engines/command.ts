import { execFile } from "node:child_process";
import { accessSync, constants } from "node:fs";
import { delimiter, join } from "node:path";
import { promisify } from "node:util";
import type { EngineProbe } from "./engine.ts";

const run = promisify(execFile);

/** The first executable `name` in PATH or in `more`, where administrators' programs lie that PATH may lack. */
export function findProgram(name: string, more: readonly string[] = []): string | undefined {
  const directories = (process.env["PATH"] ?? "").split(delimiter).filter((directory) => directory !== "");
  return [...directories, ...more].map((directory) => join(directory, name)).find(isExecutable);
}

export function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

/** The first line that `file --version` prints. */
export async function versionOf(file: string, args: readonly string[] = ["--version"]): Promise<EngineProbe> {
  try {
    const { stdout, stderr } = await run(file, args, { timeout: 20_000 });
    return { ok: true, version: (stdout || stderr).split("\n")[0] ?? "" };
  } catch (error) {
    return { ok: false, reason: `'${file}' fails: ${error instanceof Error ? error.message : String(error)}` };
  }
}
