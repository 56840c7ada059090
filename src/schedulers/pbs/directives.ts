import type { Resources } from "../../jobs/app.ts";
import { coresPerNode, totalMemoryBytes } from "../../jobs/resources.ts";
import type { Placement, SubmitRequest } from "../types.ts";
import { tokenVariable } from "./record.ts";
import type { Flavour } from "./version.ts";

/** What PBS is asked for, one line each. A value with a control character is refused by the script that they are put into. */
export function directivesOf(request: SubmitRequest, flavour: Flavour): readonly string[] {
  const { token, placement, walltimeS } = request;
  const options: (readonly string[])[] = [
    ["-N", token],
    ["-v", `${tokenVariable}=${token}`],
    ["-S", "/bin/sh"],
    ["-m", "n"],
    ...arrayOptions(request, flavour),
    ["-j", "oe"],
    ["-o", logOf(request, flavour)],
    ...(flavour === "torque" ? torqueResources(request) : selectResources(request)),
    ...(walltimeS === undefined ? [] : [["-l", `walltime=${clockOf(walltimeS)}`]]),
    ...placementOptions(placement, flavour),
  ];
  const native = placement.native.map(quoted).join(" ");
  return [
    ...options.map((words) => `#PBS ${words.map(quoted).join(" ")}`),
    ...(native === "" ? [] : [`#PBS ${native}`]),
  ];
}

/** No one-element arrays: OpenPBS refuses a range that does not rise. Its arrays cannot be made unrepeatable; the start guard holds there. */
function arrayOptions({ tasks }: SubmitRequest, flavour: Flavour): readonly (readonly string[])[] {
  if (tasks === 1) return [["-r", "n"]];
  return flavour === "torque"
    ? [
        ["-r", "n"],
        ["-t", `0-${tasks - 1}`],
      ]
    : [["-J", `0-${tasks - 1}`]];
}

/** Tasks must not write over each other; Torque appends the index by itself. */
function logOf({ log, tasks }: SubmitRequest, flavour: Flavour): string {
  return tasks > 1 && flavour === "openpbs" ? `${log}.^array_index^` : log;
}

/** One chunk a node; without `scatter` several could lie on one host. */
function selectResources({ resources, placement }: SubmitRequest): readonly (readonly string[])[] {
  const chunk = [
    `ncpus=${coresPerNode(resources)}`,
    `mpiprocs=${resources.ranks_per_node}`,
    `ompthreads=${resources.threads_per_rank}`,
    ...(resources.gpus > 0 ? [`ngpus=${resources.gpus}`] : []),
    ...(resources.memory === undefined ? [] : [`mem=${kilobytes(resources.memory)}`]),
    ...(placement.constraint === undefined ? [] : [placement.constraint]),
  ];
  const arrangement = resources.nodes > 1 ? "scatter" : "pack";
  const place = placement.exclusive ? `${arrangement}:excl` : arrangement;
  return [
    ["-l", `select=${resources.nodes}:${chunk.join(":")}`],
    ["-l", `place=${place}`],
  ];
}

/** Torque counts memory for the whole job. */
function torqueResources({ resources, placement }: SubmitRequest): readonly (readonly string[])[] {
  const node = [
    `nodes=${resources.nodes}`,
    `ppn=${coresPerNode(resources)}`,
    ...(resources.gpus > 0 ? [`gpus=${resources.gpus}`] : []),
    ...(placement.constraint === undefined ? [] : [placement.constraint]),
  ];
  const memory = totalMemoryBytes(resources);
  return [
    ["-l", node.join(":")],
    ...(memory === undefined ? [] : [["-l", `mem=${kilobytes(memory)}`]]),
    ...(placement.exclusive ? [["-n"]] : []),
  ];
}

/** A reservation of PBS is a queue. */
function placementOptions(placement: Placement, flavour: Flavour): readonly (readonly string[])[] {
  const queue = placement.queue ?? (flavour === "openpbs" ? placement.reservation : undefined);
  const reserved = flavour === "torque" ? placement.reservation : undefined;
  return [
    ...(queue === undefined ? [] : [["-q", queue]]),
    ...(placement.account === undefined ? [] : [["-A", placement.account]]),
    ...(placement.project === undefined ? [] : [["-P", placement.project]]),
    ...(placement.qos === undefined ? [] : [["-l", `qos=${placement.qos}`]]),
    ...(placement.licenses === undefined ? [] : [["-l", placement.licenses]]),
    ...(reserved === undefined ? [] : [["-W", `x=FLAGS:ADVRES:${reserved}`]]),
  ];
}

/** Options that are ours, or that would change what the submission means or prints. */
const ownOptions = /^-[NSvVojekJtrzIXh]/;
const ownAttributes = /^(?:-W)?(?:block|depend)\b/;

/** What of a request PBS cannot do, all of it. */
export function problemsOf(request: SubmitRequest, flavour: Flavour): readonly string[] {
  const { placement, resources } = request;
  const problems: string[] = [];
  const refuse = (value: string | undefined, message: string): void => {
    if (value !== undefined) problems.push(message);
  };
  refuse(placement.parallelEnvironment, "PBS has no parallel environments");
  if (flavour === "openpbs") {
    refuse(placement.qos, "PBS has no QOS: a queue, or a resource among the native options, takes its place");
    if (placement.queue !== undefined)
      refuse(placement.reservation, "a reservation of PBS is a queue: give one of both");
  } else {
    refuse(placement.project, "Torque has no projects (its -P means another account)");
    refuse(placement.licenses, "Torque has no licences: its scheduler takes them as native options");
  }
  if (request.log.includes(":")) problems.push(`PBS takes what stands before the ':' in '${request.log}' for a host`);
  return [...problems, ...nativeProblems(placement.native), ...wrongResources(resources), ...unquotable(request)];
}

function nativeProblems(native: readonly string[]): readonly string[] {
  const first = native[0];
  return [
    ...(first === undefined || first.startsWith("-") ? [] : [`the native option '${first}' does not begin with '-'`]),
    ...native
      .filter((word) => ownOptions.test(word) || ownAttributes.test(word))
      .map((word) => `the native option '${word}' is set by the agent itself`),
  ];
}

function unquotable({ log, placement }: SubmitRequest): readonly string[] {
  const { native, ...named } = placement;
  return [log, ...native, ...Object.values(named)]
    .filter((value): value is string => typeof value === "string" && value.includes("'") && value.includes('"'))
    .map((value) => `qsub cannot be given both kinds of quotes in one word: ${value}`);
}

function wrongResources(resources: Resources): readonly string[] {
  const needed = resources.ranks_per_node * resources.threads_per_rank;
  return coresPerNode(resources) < needed ? [`${needed} threads need more than ${coresPerNode(resources)} cores`] : [];
}

/** `HH:MM:SS`, hours without bound. Whole seconds, at least one. */
export function clockOf(seconds: number): string {
  const whole = Math.max(1, Math.ceil(seconds));
  const two = (value: number): string => String(value).padStart(2, "0");
  return `${two(Math.floor(whole / 3600))}:${two(Math.floor((whole % 3600) / 60))}:${two(whole % 60)}`;
}

/** `kb` is 1024 bytes; rounded up, so that nobody gets less than was asked for. A number without a unit would be bytes. */
export function kilobytes(bytes: number): string {
  return `${Math.ceil(bytes / 1024)}kb`;
}

/** As one word of a directive, where both kinds of quotes stand for what is between them. */
function quoted(word: string): string {
  if (/^[\w@%+=:,./^()[\]-]+$/.test(word)) return word;
  return word.includes("'") ? `"${word}"` : `'${word}'`;
}
