/** Runs in the thread for files: its calls wait. */
import { accessSync, closeSync, constants, openSync, readSync, statSync } from "node:fs";
import { isAbsolute, join } from "node:path";

export interface CommandProblem {
  readonly text: string;
  /** What a shell would say. */
  readonly exitCode: number;
}

/**
 * A command that is plainly not there gets a clear word before anything is started; the recorder has the last one. `searchPath` is the
 * attempt's PATH.
 */
export function commandProblem(
  program: string,
  workDirectory: string,
  searchPath: string | undefined,
): CommandProblem | undefined {
  const paths = program.includes("/")
    ? [isAbsolute(program) ? program : join(workDirectory, program)]
    : (searchPath ?? "/bin:/usr/bin").split(":").map((part) => join(part || ".", program));
  let denied: string | undefined;
  for (const path of paths) {
    const found = statOf(path);
    if (found === undefined) continue;
    if (!found.isDirectory() && isExecutable(path)) return unreadableBySystem(path);
    denied ??= path;
  }
  if (denied !== undefined) return { text: `'${denied}' is not an executable file`, exitCode: 126 };
  const where = program.includes("/") ? "" : ` in PATH '${searchPath ?? ""}'`;
  return { text: `the command '${program}' was not found${where}`, exitCode: 127 };
}

/** Machine numbers in ELF headers of what this processor runs, 32-bit programs included. */
const machines: Readonly<Record<string, readonly number[]>> = { x64: [62, 3], arm64: [183, 40] };

/** A script whose interpreter is missing, a program for another processor. What cannot be read the kernel may judge. */
function unreadableBySystem(path: string): CommandProblem | undefined {
  const head = headOf(path);
  const text = head.toString("latin1");
  const interpreter = /^#! *(\/[^ \t\n]+)/.exec(text)?.[1];
  if (interpreter !== undefined && statOf(interpreter) === undefined) {
    return { text: `the interpreter '${interpreter}' of '${path}' is missing`, exitCode: 127 };
  }
  const known = machines[process.arch];
  if (known === undefined || head.length < 20 || !text.startsWith("\u007fELF")) return undefined;
  const machine = head[5] === 2 ? head.readUInt16BE(18) : head.readUInt16LE(18);
  if (known.includes(machine)) return undefined;
  return { text: `'${path}' is a program for another processor (ELF machine ${machine})`, exitCode: 126 };
}

/** Not waited for, should it be a fifo. */
function headOf(path: string): Buffer {
  const head = Buffer.alloc(256);
  try {
    const file = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
    try {
      return head.subarray(0, readSync(file, head, 0, head.length, 0));
    } finally {
      closeSync(file);
    }
  } catch {
    return head.subarray(0, 0);
  }
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

function statOf(path: string) {
  try {
    return statSync(path, { throwIfNoEntry: false });
  } catch {
    return undefined;
  }
}
