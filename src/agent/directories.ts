import { readdir, readFile } from "node:fs/promises";
import { basename, dirname, isAbsolute, join } from "node:path";
import { Fault } from "../common/fault.ts";
import { inFileThread } from "../common/file-thread.ts";
import { removeTree } from "../common/files.ts";
import { isToken, type Token } from "../common/token.ts";
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
  const marker = {
    job: job.id,
    op_id: job.op_id,
    workflow: job.spec.workflow,
    app: job.app.name,
    claimed_at: job.claimed_at,
  };
  await makeTree({
    root: job.directory,
    below: [inputs, work, tmp, secrets, dirname(attempt), attempt],
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

async function markedJob(directory: string): Promise<string | undefined> {
  try {
    const { job } = JSON.parse(await readFile(join(directory, "job.json"), "utf8")) as { job?: unknown };
    return typeof job === "string" ? job : undefined;
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
