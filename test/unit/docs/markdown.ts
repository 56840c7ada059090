import { readFileSync } from "node:fs";
import { execFileSync } from "node:child_process";
import { join } from "node:path";
import { repository } from "../../helpers/cli.ts";

/** Every Markdown file that belongs to the project, relative to the repository. */
export const markdownFiles: readonly string[] = listed()
  .filter((path) => path.endsWith(".md"))
  .toSorted();

/** Tracked files and new ones that are not ignored; without git (an unpacked archive) the documents that are always there. */
function listed(): readonly string[] {
  try {
    const args = ["ls-files", "--cached", "--others", "--exclude-standard", "*.md"];
    return execFileSync("git", args, { cwd: repository, encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] }).split(
      "\n",
    );
  } catch {
    return ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "CHANGELOG.md", "systemd/README.md"];
  }
}

export function read(path: string): string {
  return readFileSync(join(repository, path), "utf8");
}

/** Contents of fenced blocks, of one language or of all. */
export function blocks(text: string, language?: string): readonly string[] {
  const found = [...text.matchAll(/^( *)```(\w*)\n([\s\S]*?)^\1```$/gm)];
  return found.flatMap(([, , name = "", content = ""]) =>
    language === undefined || name === language ? [content] : [],
  );
}

/** The text without fenced blocks. */
export function prose(text: string): string {
  return text.replace(/^( *)```[\s\S]*?^\1```$/gm, "");
}

/** GitHub's anchors of all headings. */
export function anchors(text: string): ReadonlySet<string> {
  const headings = [...prose(text).matchAll(/^#+ (.*)$/gm)].map(([, heading = ""]) => heading);
  const plain = (heading: string): string =>
    heading
      .toLowerCase()
      .replace(/[^\p{L}\p{N} _-]/gu, "")
      .replaceAll(" ", "-");
  return new Set(headings.map(plain));
}
