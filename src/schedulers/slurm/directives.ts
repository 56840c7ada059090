import { asFault, Fault } from "../../common/fault.ts";
import type { Resources } from "../../jobs/app.ts";
import { oneLine } from "../script.ts";
import type { Placement, SubmitRequest } from "../types.ts";

/** Options that would take the job out of our hands: no id, no job, another body, or another cluster than the one that is asked. */
const forbidden =
  /^(?:--(?:array|clusters?|help|parsable|test-only|usage|version|wait|wrap)(?:=|$)|-(?:a|M|V|W|h)(?!-))/;

/**
 * `#SBATCH` lines of a request, the administrator's own first: of two that say the same the last holds.
 * @throws Fault INVALID with everything that Slurm cannot be asked for.
 */
export function directives(request: SubmitRequest): readonly string[] {
  const problems: string[] = [];
  const options = [
    ...nativeOptions(request.placement.native, problems),
    ...placementOptions(request.placement, problems),
    ...resourceOptions(request.resources, request.walltimeS, request.placement.exclusive ?? false),
    ...ownOptions(request, problems),
  ];
  if (problems.length > 0) throw new Fault("INVALID", problems.join("; "), { details: { problems } });
  return options.map((option) => `#SBATCH ${option}`);
}

/** Words that belong to an option stay in its line. */
function nativeOptions(words: readonly string[], problems: string[]): readonly string[] {
  const lines: string[] = [];
  for (const word of words) {
    if (forbidden.test(word)) problems.push(`the native option '${word}' cannot be used here`);
    const text = quoted("a native option", word, problems);
    const last = lines.length - 1;
    if (word.startsWith("-") || last < 0) lines.push(text);
    else lines[last] += ` ${text}`;
  }
  return lines;
}

function placementOptions(placement: Placement, problems: string[]): readonly string[] {
  if (placement.project !== undefined) problems.push("Slurm knows no project; set account");
  if (placement.parallelEnvironment !== undefined) problems.push("Slurm knows no parallel environment");
  const values = {
    partition: placement.queue,
    account: placement.account,
    qos: placement.qos,
    constraint: placement.constraint,
    reservation: placement.reservation,
    licenses: placement.licenses,
  };
  const options: string[] = [];
  for (const [name, value] of Object.entries(values)) {
    if (value !== undefined) options.push(`--${name}=${quoted(`the ${name}`, value, problems)}`);
  }
  return placement.exclusive === true ? [...options, "--exclusive"] : options;
}

/**
 * Sizes are per node. Both counts of tasks are given because some sites ask for each. Memory in MiB, time in whole minutes, which is
 * Slurm's own resolution; both rounded up.
 */
export function resourceOptions(
  resources: Resources,
  walltimeS: number | undefined,
  exclusive: boolean,
): readonly string[] {
  const { nodes, ranks_per_node: ranks, threads_per_rank: threads, cores, gpus, memory } = resources;
  const options = [
    `--nodes=${nodes}`,
    `--ntasks=${nodes * ranks}`,
    `--ntasks-per-node=${ranks}`,
    `--cpus-per-task=${Math.max(threads, Math.ceil((cores ?? 0) / ranks))}`,
  ];
  if (gpus > 0) options.push(`--gpus-per-node=${gpus}`);
  // 0 would be all memory of the node, which whole nodes do not get by themselves.
  if (memory !== undefined) options.push(`--mem=${Math.max(1, Math.ceil(memory / 2 ** 20))}M`);
  else if (exclusive) options.push("--mem=0");
  if (walltimeS !== undefined) options.push(`--time=${slurmTime(walltimeS)}`);
  return options;
}

/** `D-HH:MM:00`, never less than a minute. */
export function slurmTime(seconds: number): string {
  const minutes = Math.max(1, Math.ceil(seconds / 60));
  const two = (value: number): string => String(value).padStart(2, "0");
  return `${Math.floor(minutes / 1440)}-${two(Math.floor(minutes / 60) % 24)}:${two(minutes % 60)}:00`;
}

function ownOptions(request: SubmitRequest, problems: string[]): readonly string[] {
  const { token, tasks, directory, log } = request;
  if (log.includes("\\")) problems.push(`Slurm cannot write to a log with a backslash: '${log}'`);
  return [
    `--job-name=${token}`,
    `--comment=${token}`,
    `--chdir=${quoted("the directory", directory, problems)}`,
    // Standard error goes there, too. In this name Slurm replaces %j and the like.
    `--output=${quoted("the log", log.replaceAll("%", "%%"), problems)}`,
    "--open-mode=append",
    // Whether it runs again is decided by us; an administrator may still requeue it.
    "--no-requeue",
    "--mail-type=NONE",
    ...(tasks > 1 ? [`--array=0-${tasks - 1}`] : []),
  ];
}

/** One word as sbatch reads it: in double quotes, in which a backslash keeps what follows. Outside of quotes no blank can be kept. */
function quoted(what: string, value: string, problems: string[]): string {
  if (value === "") problems.push(`${what} is empty`);
  try {
    const word = oneLine(what, value);
    return /^[\w@%+=:,./*&|[\]-]+$/.test(word) ? word : `"${word.replace(/["\\]/g, "\\$&")}"`;
  } catch (error) {
    problems.push(asFault(error).message);
    return "";
  }
}
