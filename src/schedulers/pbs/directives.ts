import type { Resources } from "../../jobs/app.ts";
import { coresPerNode, totalMemoryBytes } from "../../jobs/resources.ts";
import { clockOf, directiveWord, kibibytes, nativeProblems, unquotable } from "../directive-words.ts";
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
  const native = placement.native.map(directiveWord).join(" ");
  return [
    ...options.map((words) => `#PBS ${words.map(directiveWord).join(" ")}`),
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
    ...(resources.memory === undefined ? [] : [`mem=${kibibytes(resources.memory)}kb`]),
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
    ...(memory === undefined ? [] : [["-l", `mem=${kibibytes(memory)}kb`]]),
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
const ownOptions = /^-[NSvVojekJtrzIXh]|^(?:-W)?(?:block|depend)\b/;

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
  return [
    ...problems,
    ...nativeProblems(placement.native, ownOptions),
    ...wrongResources(resources),
    ...unquotable([request.log, ...placement.native, ...Object.values(placement)], "pbs"),
  ];
}

function wrongResources(resources: Resources): readonly string[] {
  const needed = resources.ranks_per_node * resources.threads_per_rank;
  return coresPerNode(resources) < needed ? [`${needed} threads need more than ${coresPerNode(resources)} cores`] : [];
}
