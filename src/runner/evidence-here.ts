/** Evidence read in a thread that may wait for the file system (file-thread.ts): a tenth of the cost of reading it while others go on. */
import { closeSync, lstatSync, readdirSync, readSync, statSync } from "node:fs";
import { join } from "node:path";
import { errnoOf } from "../common/fault.ts";
import { openPlainFileHere } from "../common/files-here.ts";
import { type Evidence, evidenceOf, maxEvidenceBytes } from "./evidence.ts";

/** As `readEvidence`. */
export function readEvidenceHere(directory: string, token?: string): Evidence {
  const names = ifThere(() => new Set(readdirSync(directory)));
  const read = (name: string): string | undefined => (names?.has(name) === true ? textOf(directory, name) : undefined);
  const rc = read("rc");
  const atEnd = (name: string): string | undefined => (rc === undefined ? undefined : read(name));
  const guard = names?.has("started") === true ? join(directory, "started") : undefined;
  const files = {
    there: names !== undefined,
    guardAtMs: guard === undefined ? undefined : ifThere(() => statSync(guard).mtimeMs),
    barred: guard !== undefined && isLink(guard),
    rc,
    recorder: read("recorder"),
    job: read("job"),
    gone: atEnd("gone"),
    dropped: atEnd("out.dropped") ?? atEnd("err.dropped"),
    oom: atEnd("oom"),
    timeout: read("timeout"),
    stop: read("stop"),
    cgroup: read("cgroup"),
  };
  return evidenceOf(files, token);
}

const whole = Buffer.allocUnsafe(maxEvidenceBytes + 1);

function textOf(directory: string, name: string): string | undefined {
  const file = openPlainFileHere(join(directory, name));
  if (file === undefined) return undefined;
  try {
    const length = readSync(file, whole, 0, whole.length, 0);
    return length > maxEvidenceBytes ? undefined : whole.toString("utf8", 0, length);
  } finally {
    closeSync(file);
  }
}

function isLink(path: string): boolean {
  return ifThere(() => lstatSync(path).isSymbolicLink()) === true;
}

function ifThere<T>(look: () => T): T | undefined {
  try {
    return look();
  } catch (error) {
    const code = errnoOf(error);
    if (code === "ENOENT" || code === "ENOTDIR") return undefined;
    throw error;
  }
}
