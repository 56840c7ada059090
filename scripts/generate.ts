/**
 * `npm run generate`: writes what the modules in scripts/generate/ make out of the code's own tables; `--check` compares
 * instead and names the files that differ (exit 1). A module exports `files(): Promise<GeneratedFile[]>`.
 */
import { mkdir, readdir, readFile, writeFile } from "node:fs/promises";
import { dirname, join, normalize } from "node:path";
import { pathToFileURL } from "node:url";
import type { GeneratedFile } from "./lib/generated.ts";
import { captureStep, repository, tool } from "./lib/run.ts";

interface Generator {
  files(): Promise<readonly GeneratedFile[]>;
}

const generators = join(repository, "scripts", "generate");

async function generate(): Promise<readonly GeneratedFile[]> {
  const made: GeneratedFile[] = [];
  for (const name of (await listed(generators)).filter((entry) => entry.endsWith(".ts")).toSorted()) {
    const module = (await import(pathToFileURL(join(generators, name)).href)) as Partial<Generator>;
    if (!module.files) throw new Error(`scripts/generate/${name} exports no 'files'`);
    for (const file of await module.files()) {
      if (normalize(file.path) !== file.path || /^(\/|\.\.)/.test(file.path)) {
        throw new Error(`scripts/generate/${name}: '${file.path}' is no path inside of the repository`);
      }
      made.push({ path: file.path, content: await formatted(file) });
    }
  }
  return made;
}

/** As `npm run format` would leave it; what the formatter does not know or is told to leave alone stays as it is. */
async function formatted({ path, content }: GeneratedFile): Promise<string> {
  const args = [tool("oxfmt/bin/oxfmt"), `--stdin-filepath=${path}`];
  const { code, stdout } = await captureStep(process.execPath, args, { input: content });
  return code === 0 && stdout !== "" ? stdout : content;
}

async function listed(directory: string): Promise<readonly string[]> {
  try {
    return await readdir(directory);
  } catch {
    return [];
  }
}

async function current(path: string): Promise<string | undefined> {
  try {
    return await readFile(join(repository, path), "utf8");
  } catch {
    return undefined;
  }
}

async function main(check: boolean): Promise<number> {
  const files = await generate();
  const different: GeneratedFile[] = [];
  for (const file of files) if ((await current(file.path)) !== file.content) different.push(file);
  if (check) {
    for (const { path } of different) process.stdout.write(`${path} is not what 'npm run generate' makes\n`);
    return Number(different.length > 0);
  }
  for (const { path, content } of different) {
    await mkdir(dirname(join(repository, path)), { recursive: true });
    await writeFile(join(repository, path), content);
    process.stdout.write(`wrote ${path}\n`);
  }
  process.stdout.write(`${files.length} generated files, ${different.length} changed\n`);
  return 0;
}

try {
  process.exitCode = await main(process.argv.includes("--check"));
} catch (error) {
  process.stderr.write(
    `npm run generate: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}\n`,
  );
  process.exitCode = 1;
}
