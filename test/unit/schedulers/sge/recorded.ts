import { readFileSync } from "node:fs";
import { join } from "node:path";
import type { RunResult } from "../../../../src/hosts/types.ts";

const directory = join(import.meta.dirname, "..", "..", "..", "fixtures", "gridengine");

/** What a real command of Grid Engine answered, by the name of its file. */
export function recorded(name: string): RunResult {
  const { exit_code, stdout, stderr } = JSON.parse(readFileSync(join(directory, `${name}.json`), "utf8")) as {
    exit_code: number;
    stdout: string;
    stderr: string;
  };
  return result({ exitCode: exit_code, stdout, stderr });
}

export function result(more: Partial<RunResult>): RunResult {
  return { exitCode: 0, signal: undefined, stdout: "", stderr: "", truncated: false, timedOut: false, ...more };
}
