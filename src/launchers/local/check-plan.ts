import { access, constants, open, stat } from "node:fs/promises";
import { isAbsolute, join } from "node:path";
import { planProblems, refuse } from "../refusal.ts";
import type { AttemptPlan, LaunchResult } from "../types.ts";

/** Why a plan can never be started on this machine, or undefined. All problems at once. */
export async function refusalOf(plan: AttemptPlan, pty: boolean): Promise<LaunchResult | undefined> {
  const problems = [...planProblems(plan)];
  if (plan.runtime === "pty" && !pty) problems.push("runtime 'pty' needs the package node-pty, which is not installed");
  if (problems.length > 0) return refuse("launch", problems.join("; "));
  const command = await commandProblem(plan);
  return command && refuse("launch", command.text, command.exitCode);
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
