import { readFile } from "node:fs/promises";
import { resolve } from "node:path";
import { errnoOf, Fault } from "../common/fault.ts";
import { quoted } from "../common/nearest.ts";
import type { CliContext } from "./context.ts";

const mostBytes = 64 * 1024 * 1024;

/** All of standard input as text. @throws Fault TOO_LARGE. */
export async function readStdin(context: CliContext): Promise<string> {
  const pieces: Buffer[] = [];
  let bytes = 0;
  for await (const piece of context.stdin) {
    const chunk = Buffer.from(piece);
    bytes += chunk.length;
    if (bytes > mostBytes) throw new Fault("TOO_LARGE", `standard input has more than ${mostBytes} bytes`);
    pieces.push(chunk);
  }
  return Buffer.concat(pieces).toString("utf8");
}

/** A text file, or standard input for `-`. @throws Fault NOT_FOUND, TRANSFER. */
export async function readText(context: CliContext, name: string): Promise<string> {
  if (name === "-") return await readStdin(context);
  return (await readBytes(context, name)).toString("utf8");
}

export async function readBytes(context: CliContext, name: string): Promise<Buffer> {
  try {
    return await readFile(resolve(context.cwd, name));
  } catch (error) {
    const code = errnoOf(error);
    if (code === "ENOENT") throw new Fault("NOT_FOUND", `there is no file ${quoted(name)}`, { cause: error });
    throw new Fault("TRANSFER", `the file ${quoted(name)} cannot be read: ${code ?? String(error)}`, { cause: error });
  }
}

/** A secret: asked for on a terminal without echo, else the first line of standard input. @throws Fault USAGE when it is empty. */
export async function askSecret(context: CliContext, what: string): Promise<string> {
  let text: string;
  if (context.stdin.isTTY === true) {
    const prompts = await import("@clack/prompts");
    const answer = await prompts.password({ message: what, output: process.stderr });
    if (prompts.isCancel(answer)) throw new Fault("CANCELLED", "nothing was done");
    text = answer;
  } else {
    text = (await readStdin(context)).split(/\r?\n/, 1)[0] ?? "";
  }
  if (text === "") throw new Fault("USAGE", `${what}: nothing was given`);
  return text;
}
