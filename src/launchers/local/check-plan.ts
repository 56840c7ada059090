import { access, constants, open, stat } from "node:fs/promises";
import { isAbsolute, join } from "node:path";
import { isoTime } from "../../common/clock.ts";
import type { EndCause } from "../../jobs/states.ts";
import type { AttemptPlan, LaunchResult } from "../types.ts";

/** Linux: one argument or variable. */
const longestStringBytes = 128 * 1024 - 1;
/** Linux: a quarter of the usual 8 MiB stack for arguments and environment together, with the pointers to them. */
const longestTotalBytes = 2 * 1024 * 1024 - 64 * 1024;

/** Why a plan can never be started on this machine, or undefined. All problems at once. */
export async function refusalOf(plan: AttemptPlan, pty: boolean): Promise<LaunchResult | undefined> {
  const problems = [...sizeProblems(plan), ...shapeProblems(plan, pty)];
  if (problems.length > 0) return refuse("launch", problems.join("; "));
  const command = await commandProblem(plan);
  return command && refuse("launch", command.text, command.exitCode);
}

/** "Certain that nothing ran and nothing will." */
export function refuse(cause: EndCause, message: string, exitCode?: number): LaunchResult {
  const end = {
    cause,
    ...(exitCode === undefined ? {} : { exit_code: exitCode }),
    evidence: "refused",
    message: message.slice(0, 500),
    ended_at: isoTime(Date.now()),
  };
  return { state: "refused", end };
}

function sizeProblems(plan: AttemptPlan): readonly string[] {
  const variables = Object.entries(plan.environment).map(([name, value]) => ({ what: name, text: `${name}=${value}` }));
  const strings = [...plan.argv.map((text, index) => ({ what: `argv[${index}]`, text })), ...variables];
  const problems: string[] = [];
  let total = 0;
  for (const { what, text } of strings) {
    const bytes = Buffer.byteLength(text);
    total += bytes + 9;
    if (bytes > longestStringBytes) problems.push(`${what} has ${bytes} bytes; allowed: ${longestStringBytes}`);
    if (text.includes("\0")) problems.push(`${what} holds a NUL character`);
  }
  if (total > longestTotalBytes) {
    problems.push(`arguments and environment have ${total} bytes together; allowed: ${longestTotalBytes}`);
  }
  return problems;
}

function shapeProblems(plan: AttemptPlan, pty: boolean): readonly string[] {
  const problems: string[] = [];
  if (plan.argv[0] === "" || plan.argv[0].includes("=")) {
    problems.push(`argv[0] '${plan.argv[0]}' is no program; allowed: a name or path without '='`);
  }
  for (const [field, value] of [
    ["directory", plan.directory],
    ["workDirectory", plan.workDirectory],
  ] as const) {
    if (!isAbsolute(value)) problems.push(`${field} '${value}' is not absolute`);
  }
  if (plan.runtime === "pty" && !pty) problems.push("runtime 'pty' needs the package node-pty, which is not installed");
  return problems;
}

/** A command that is plainly not there gets a clear word before anything is started; the recorder has the last one. */
async function commandProblem(plan: AttemptPlan): Promise<{ text: string; exitCode: number } | undefined> {
  const [program] = plan.argv;
  const paths = program.includes("/")
    ? [isAbsolute(program) ? program : join(plan.workDirectory, program)]
    : (plan.environment["PATH"] ?? "/bin:/usr/bin").split(":").map((part) => join(part || ".", program));
  let denied: string | undefined;
  for (const path of paths) {
    try {
      const found = await stat(path);
      if (found.isDirectory()) throw new Error("a directory");
      await access(path, constants.X_OK);
      return await unreadableBySystem(path);
    } catch {
      denied ??= (await there(path)) ? path : undefined;
    }
  }
  if (denied !== undefined) return { text: `'${denied}' is not an executable file`, exitCode: 126 };
  const where = program.includes("/") ? "" : ` in PATH '${plan.environment["PATH"] ?? ""}'`;
  return { text: `the command '${program}' was not found${where}`, exitCode: 127 };
}

/** Machine numbers in ELF headers of what this processor runs, 32-bit programs included. */
const machines: Readonly<Record<string, readonly number[]>> = { x64: [62, 3], arm64: [183, 40] };

/** A script whose interpreter is missing, a program for another processor. What cannot be read the kernel may judge. */
async function unreadableBySystem(path: string): Promise<{ text: string; exitCode: number } | undefined> {
  const head = await headOf(path);
  const interpreter = /^#! *(\/[^ \t\n]+)/.exec(head.toString("latin1"))?.[1];
  if (interpreter !== undefined && !(await there(interpreter))) {
    return { text: `the interpreter '${interpreter}' of '${path}' is missing`, exitCode: 127 };
  }
  const known = machines[process.arch];
  if (known === undefined || head.length < 20 || head.toString("latin1", 0, 4) !== "\u007fELF") return undefined;
  const machine = head[5] === 2 ? head.readUInt16BE(18) : head.readUInt16LE(18);
  if (known.includes(machine)) return undefined;
  return { text: `'${path}' is a program for another processor (ELF machine ${machine})`, exitCode: 126 };
}

async function headOf(path: string): Promise<Buffer> {
  try {
    await using file = await open(path);
    const { buffer, bytesRead } = await file.read(Buffer.alloc(256), 0, 256, 0);
    return buffer.subarray(0, bytesRead);
  } catch {
    return Buffer.alloc(0);
  }
}

async function there(path: string): Promise<boolean> {
  try {
    await stat(path);
    return true;
  } catch {
    return false;
  }
}
