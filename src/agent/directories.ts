import { readdir, readFile } from "node:fs/promises";
import { basename, dirname, isAbsolute, join } from "node:path";
import { Fault } from "../common/fault.ts";
import { inFileThread } from "../common/file-thread.ts";
import { removeTree } from "../common/files.ts";
import { isToken, type Token } from "../common/token.ts";
import { arraysIn, parseNote } from "../launchers/batch/arrays.ts";
import { directoriesOf, type JobDirectories } from "../launchers/command.ts";
import type { HeldJob } from "./held-job.ts";
import type * as trees from "./trees.ts";

/** The directories of a job and of one attempt (default: the current one). Names are tokens and numbers: ids never enter a path. */
export function jobDirectories(job: HeldJob, attempt: number = job.attempt): JobDirectories {
  return directoriesOf(dirname(job.directory), job.token, attempt);
}

const makeTree = inFileThread<typeof trees.makeTree>(import.meta.url, "./trees", "makeTree");
const removeWhole = inFileThread<typeof trees.removeWhole>(import.meta.url, "./trees", "removeWhole");

/**
 * Makes the job's directories (0700), that of its first attempt included, with a marker that says whose they are; repeatable, and
 * durable when it ends.
 */
export async function makeDirectories(job: HeldJob): Promise<void> {
  const { in: inputs, work, tmp, secrets, attempt } = jobDirectories(job, 1);
  const hasSecrets = Object.values(job.app.parameters).some((spec) => spec.type === "secret");
  const marker = {
    job: job.id,
    op_id: job.op_id,
    workflow: job.spec.workflow,
    app: job.app.name,
    claimed_at: job.claimed_at,
  };
  await makeTree({
    root: job.directory,
    // Each costs a short job more than its record does; few jobs have secrets.
    below: [inputs, work, tmp, ...(hasSecrets ? [secrets] : []), dirname(attempt), attempt],
    marker: { path: join(job.directory, "job.json"), text: `${JSON.stringify(marker, null, 2)}\n` },
  });
}

/** Where the directories of these jobs lie, by the markers in them; jobs without one are not in the answer. */
export async function tracesOf(
  workdirs: readonly string[],
  jobs: ReadonlySet<string>,
): Promise<ReadonlyMap<string, string>> {
  const found = new Map<string, string>();
  for (const workdir of workdirs) {
    const names = await readdir(workdir).catch((): string[] => []);
    for (const name of names.filter(isToken)) {
      const job = await markedJob(join(workdir, name));
      if (job !== undefined && jobs.has(job)) found.set(job, join(workdir, name));
    }
  }
  return found;
}

/** What a job's directory says without the journal. */
export interface Traces {
  /** The name of its app; undefined when there is no marker. */
  readonly app: string | undefined;
  /** Those of which something may have begun. */
  readonly attempts: readonly { readonly token: Token; readonly directory: string }[];
  /** False: something has begun and does not say by which token. */
  readonly whole: boolean;
}

export async function readTraces(directory: string): Promise<Traces> {
  const marker = await readMarker(directory);
  const numbers = await readdir(join(directory, "attempts")).catch((): string[] => []);
  const attempts: { token: Token; directory: string }[] = [];
  let whole = true;
  let known: Promise<ReadonlyMap<string, Token>> | undefined;
  const tasks = (): Promise<ReadonlyMap<string, Token>> => (known ??= tasksIn(dirname(directory)));
  for (const number of numbers) {
    const attempt = join(directory, "attempts", number);
    const names = await readdir(attempt).catch((): string[] => []);
    // Tasks of an array that have not begun have nothing there.
    const token = (await tokenIn(attempt, names)) ?? (await tasks()).get(attempt);
    if (token !== undefined) attempts.push({ token, directory: attempt });
    else if (names.length > 0) whole = false;
  }
  return { app: typeof marker?.["app"] === "string" ? marker["app"] : undefined, attempts, whole };
}

/** By the environment in the plan, in either form of it. */
async function tokenIn(attempt: string, names: readonly string[]): Promise<Token | undefined> {
  const name = names.find((one) => one === "plan" || one === "plan.sh");
  const text = name === undefined ? "" : await readFile(join(attempt, name), "latin1").catch(() => "");
  const token = /SITEAGENT_ATTEMPT_TOKEN=([a-z][a-z0-9]{14})/.exec(text)?.[1];
  return token !== undefined && isToken(token) ? token : undefined;
}

/** Directories of attempts that were submitted as tasks of arrays, and their tokens. */
async function tasksIn(workdir: string): Promise<ReadonlyMap<string, Token>> {
  const found = new Map<string, Token>();
  const directory = arraysIn(workdir);
  for (const name of await readdir(directory).catch((): string[] => [])) {
    const note = parseNote(await readFile(join(directory, name), "utf8").catch(() => ""));
    for (const task of note?.tasks ?? []) found.set(task.directory, task.token);
  }
  return found;
}

async function markedJob(directory: string): Promise<string | undefined> {
  const job = (await readMarker(directory))?.["job"];
  return typeof job === "string" ? job : undefined;
}

async function readMarker(directory: string): Promise<Readonly<Record<string, unknown>> | undefined> {
  try {
    return JSON.parse(await readFile(join(directory, "job.json"), "utf8")) as Record<string, unknown>;
  } catch {
    return undefined; // no marker, or none that can be read
  }
}

/** For apps with `restart: clean`: the next attempt finds an empty work/. */
export async function emptyDirectory(path: string): Promise<void> {
  for (const name of await readdir(path)) await removeTree(join(path, name));
}

/**
 * Removes a job's directory and nothing else: the path must end in a token.
 * @throws Fault UNSAFE_PATH otherwise.
 */
export async function removeDirectory(root: string): Promise<void> {
  if (!isAbsolute(root) || !isToken(basename(root))) {
    throw new Fault("UNSAFE_PATH", `refused to remove '${root}': its last part is no token`);
  }
  await removeWhole(root);
}

/** Where a new job's directories will lie. */
export function jobDirectory(workdir: string, token: Token): string {
  return directoriesOf(workdir, token, 0).job;
}
