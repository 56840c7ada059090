import { chmod, writeFile } from "node:fs/promises";
import { expect } from "vitest";
import { loadSite } from "../../../src/config/compile.ts";
import { type ConfigProblem, ConfigProblems, problemText } from "../../../src/config/problems.ts";
import { builtInRegistries } from "../../../src/config/registries.ts";
import type { Site } from "../../../src/config/types.ts";
import { type TemporaryDirectory, temporaryDirectory } from "../../helpers/temporary.ts";

export const head = `site: lab-a
api: {url: https://api.example.org, client_id: sys0a1, client_secret: {file: secret}}
`;

/** A site file with one app; `lines` are its keys beside workflow and target. */
export const app = (lines: string): string => `${head}apps:
  b:
    workflow: w
    target: local
${lines.replace(/^/gm, "    ")}
`;

/** What does not fit, the text of a site file, and its problems in their order. */
export type Misfits = [what: string, text: string, expected: readonly (string | RegExp)[]];

/** The file has these problems and no other. */
export async function expectMisfits(text: string, expected: Misfits[2]): Promise<void> {
  await using directory = await temporaryDirectory();
  const problems = await problemsOf(directory, text);
  expect(problems).toHaveLength(expected.length);
  for (const [index, wanted] of expected.entries()) {
    if (typeof wanted === "string") expect(problems[index]).toBe(wanted);
    else expect(problems[index]).toMatch(wanted);
  }
}

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
