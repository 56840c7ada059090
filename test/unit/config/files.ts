import { chmod, writeFile } from "node:fs/promises";
import { loadSite } from "../../../src/config/compile.ts";
import { type ConfigProblem, ConfigProblems, problemText } from "../../../src/config/problems.ts";
import { builtInRegistries } from "../../../src/config/registries.ts";
import type { Site } from "../../../src/config/types.ts";
import type { TemporaryDirectory } from "../../helpers/temporary.ts";

export const head = `site: lab-a
api: {url: https://api.example.org, client_id: sys0a1, client_secret: {file: secret}}
`;

/** Writes site.yaml beside a good secret and loads it. */
export async function load(directory: TemporaryDirectory, text: string, env: NodeJS.ProcessEnv = {}): Promise<Site> {
  await writeSecret(directory);
  await writeFile(directory.join("site.yaml"), text);
  return loadSite(directory.join("site.yaml"), builtInRegistries, { env, home: directory.path });
}

export async function writeSecret(directory: TemporaryDirectory, text = "s3cret\n", mode = 0o600): Promise<void> {
  await writeFile(directory.join("secret"), text, { mode });
  await chmod(directory.join("secret"), mode);
}

/** The problems of a file that cannot be used, as people see them, without the directory. */
export async function problemsOf(
  directory: TemporaryDirectory,
  text: string,
  env: NodeJS.ProcessEnv = {},
): Promise<readonly string[]> {
  const problems = await rawProblemsOf(directory, text, env);
  return problems.map((problem) => problemText(problem).replaceAll(`${directory.path}/`, ""));
}

export async function rawProblemsOf(
  directory: TemporaryDirectory,
  text: string,
  env: NodeJS.ProcessEnv = {},
): Promise<readonly ConfigProblem[]> {
  try {
    await load(directory, text, env);
  } catch (error) {
    if (error instanceof ConfigProblems) return error.problems;
    throw error;
  }
  throw new Error("the file was accepted");
}
