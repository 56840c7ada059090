/** A page of the documents as a reader follows it: writes the files that its blocks show, types its commands, compares what is printed. */
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { expect } from "vitest";
import { runCli } from "./cli.ts";

interface Block {
  /** `ts my-file.ts`, `ts my-file.ts (continued)`, `console`. */
  readonly title: string;
  readonly text: string;
}

/** The fenced blocks of Markdown with a title of several words, and the consoles; in order. */
export function blocksOf(markdown: string): readonly Block[] {
  return [...markdown.matchAll(/^```(console|\w+ .+)\n([\s\S]*?)^```$/gm)].map(([, title = "", text = ""]) => ({
    title,
    text,
  }));
}

/** Follows all blocks in a directory and returns the content of each file as the page leaves it. */
export async function followPage(markdown: string, directory: string): Promise<ReadonlyMap<string, string>> {
  const files = new Map<string, string>();
  for (const { title, text } of blocksOf(markdown)) {
    const [, name = "", more] = /^\w+ (\S+)( \(continued\))?$/.exec(title) ?? [];
    if (name === "") await typeCommands(text, directory);
    else {
      const content = more === undefined ? text : `${files.get(name)}\n${text}`;
      files.set(name, content);
      await writeFile(join(directory, name), content, { mode: 0o600 });
    }
  }
  return files;
}

/** `$ siteagent …` with what it prints below: each line in order, `…` for any number of others. `$ echo $?`: its exit code. */
async function typeCommands(console: string, directory: string): Promise<void> {
  let code: number | undefined;
  for (const part of console.split(/^\$ /m).slice(1)) {
    const [command = "", ...shown] = part.trimEnd().split("\n");
    if (command === "echo $?") {
      expect(`${code}`).toBe(shown.join("\n"));
      continue;
    }
    const [program, ...args] = command.split(" ");
    expect(program).toBe("siteagent");
    const result = await runCli(args, { cwd: directory, timeoutMs: 300_000 });
    code = result.code ?? undefined;
    expect(result.stdout, command).toMatch(linesPattern(shown));
  }
}

function linesPattern(lines: readonly string[]): RegExp {
  const parts = lines.map((line) => (line === "…" ? "(?:.*\\n)*?" : `${RegExp.escape(line)}\\n`));
  return new RegExp(`^${parts.join("")}$`);
}
