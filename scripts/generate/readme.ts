/** The help in README.md, the one part of it that the code decides. */
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { buildProgram } from "../../src/cli/program.ts";
import type { GeneratedFile } from "../lib/generated.ts";
import { repository } from "../lib/run.ts";

const block = /(?<=^## Commands\n\n```\n)[\s\S]*?(?=^```$)/m;

export async function files(): Promise<readonly GeneratedFile[]> {
  const readme = await readFile(join(repository, "README.md"), "utf8");
  if (!block.test(readme)) throw new Error("README.md has no block of help under 'Commands'");
  return [{ path: "README.md", content: readme.replace(block, () => `${help()}\n`) }];
}

/** As it looks outside of a terminal, always with the same width. */
function help(): string {
  let text = "";
  const write = (chunk: string): boolean => {
    text += chunk;
    return true;
  };
  const stream = { columns: 100, write } as unknown as NodeJS.WriteStream & { fd: 1 } & { fd: 2 };
  const host = { stdout: stream, stderr: stream, env: { LANG: "C.UTF-8" } };
  buildProgram(host, () => Promise.resolve()).outputHelp();
  return text.trimEnd();
}
