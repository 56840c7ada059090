import { mkdir, readdir, readFile, writeFile } from "node:fs/promises";
import { dirname, isAbsolute, join, normalize } from "node:path";
import { pathToFileURL } from "node:url";
import type { GeneratedFile } from "./generated.ts";
import { captureStep, tool } from "./run.ts";

interface Generator {
  files(): Promise<readonly GeneratedFile[]>;
}

/** What all modules in `directory` make, formatted. Throws when one does not keep to the contract or two make the same file. */
export async function runGenerators(directory: string): Promise<readonly GeneratedFile[]> {
  const made = new Map<string, GeneratedFile>();
  const names = (await readdir(directory)).filter((name) => name.endsWith(".ts"));
  for (const name of names.toSorted()) {
    const module = (await import(pathToFileURL(join(directory, name)).href)) as Partial<Generator>;
    if (!module.files) throw new Error(`${name} exports no 'files'`);
    for (const file of await module.files()) {
      const inside = !isAbsolute(file.path) && normalize(file.path) === file.path && !file.path.startsWith("..");
      if (!inside) throw new Error(`${name}: '${file.path}' is no path inside of the repository`);
      if (made.has(file.path)) throw new Error(`${name}: '${file.path}' is made by another module too`);
      made.set(file.path, { path: file.path, content: await formatted(file) });
    }
  }
  return [...made.values()];
}

/** As `npm run format` would leave it; what the formatter does not know or is told to leave alone stays as it is. */
async function formatted({ path, content }: GeneratedFile): Promise<string> {
  const args = [tool("oxfmt/bin/oxfmt"), `--stdin-filepath=${path}`];
  const { code, stdout } = await captureStep(process.execPath, args, { input: content });
  return code === 0 && stdout !== "" ? stdout : content;
}

/** Those whose file under `root` is missing or has other content. */
export async function differing(files: readonly GeneratedFile[], root: string): Promise<readonly GeneratedFile[]> {
  const current = await Promise.all(files.map(({ path }) => readIfThere(join(root, path))));
  return files.filter((file, index) => current[index] !== file.content);
}

export async function writeFiles(files: readonly GeneratedFile[], root: string): Promise<void> {
  for (const { path, content } of files) {
    await mkdir(dirname(join(root, path)), { recursive: true });
    await writeFile(join(root, path), content);
  }
}

async function readIfThere(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, "utf8");
  } catch {
    return undefined;
  }
}
