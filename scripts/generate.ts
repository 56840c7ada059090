/**
 * `npm run generate`: writes what the modules in scripts/generate/ make out of the code's own tables; `--check` compares
 * instead and names the files that differ (exit 1). A module exports `files(): Promise<GeneratedFile[]>`
 * (scripts/lib/generated.ts).
 */
import { existsSync } from "node:fs";
import { join } from "node:path";
import { differing, runGenerators, writeFiles } from "./lib/generators.ts";
import { repository } from "./lib/run.ts";

async function main(check: boolean): Promise<number> {
  const directory = join(repository, "scripts", "generate");
  const files = existsSync(directory) ? await runGenerators(directory) : [];
  const different = await differing(files, repository);
  const paths = different.map(({ path }) => path);
  if (check) {
    for (const path of paths) process.stdout.write(`${path} is not what 'npm run generate' makes\n`);
    return Number(paths.length > 0);
  }
  await writeFiles(different, repository);
  for (const path of paths) process.stdout.write(`wrote ${path}\n`);
  process.stdout.write(`${files.length} generated files, ${paths.length} changed\n`);
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
