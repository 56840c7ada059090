import type { Resources } from "../../jobs/app.ts";
import { coresPerNode, memoryPerCoreBytes, totalCores } from "../../jobs/resources.ts";
import { clockOf, directiveWord, kibibytes, nativeProblems, unquotable } from "../directive-words.ts";
import type { Placement, SubmitRequest } from "../types.ts";

/** What Grid Engine is asked for, one line each. A value with a control character is refused by the script that they are put into. */
export function directivesOf(request: SubmitRequest): readonly string[] {
  const { token, tasks, placement } = request;
  const options: readonly (readonly string[])[] = [
    ["-N", token],
    ["-ac", `siteagent=${token}`],
    ["-S", "/bin/sh"],
    ["-r", "n"],
    ["-m", "n"],
    ...(tasks > 1 ? [["-t", `1-${tasks}`]] : []),
    ["-wd", request.directory],
    ["-j", "y"],
    ["-o", tasks > 1 ? `${request.log}.$TASK_ID` : request.log],
    ...slots(request),
    ...resources(request),
    ...placementOptions(placement),
    ...(placement.native.length === 0 ? [] : [placement.native]),
  ];
  return options.map((words) => `#$ ${words.map(directiveWord).join(" ")}`);
}

/** Slots are counted over all nodes; how they are spread is a rule of the parallel environment. */
function slots({ resources: asked, placement }: SubmitRequest): readonly (readonly string[])[] {
  const count = totalCores(asked);
  return count === 1 || placement.parallelEnvironment === undefined
    ? []
    : [["-pe", placement.parallelEnvironment, String(count)]];
}

/** Memory and GPUs are counted for each slot. */
function resources({ resources: asked, walltimeS, placement }: SubmitRequest): readonly (readonly string[])[] {
  const memory = memoryPerCoreBytes(asked);
  const gpus = gpusPerSlot(asked);
  const list = [
    ...(walltimeS === undefined ? [] : [`h_rt=${clockOf(walltimeS)}`]),
    ...(memory === undefined ? [] : [`h_vmem=${kibibytes(memory)}K`]),
    ...(gpus === 0 ? [] : [`gpu=${gpus}`]),
    ...(placement.exclusive ? ["exclusive=true"] : []),
    ...(placement.constraint === undefined ? [] : [placement.constraint]),
    ...(placement.licenses === undefined ? [] : [placement.licenses]),
  ];
  return list.length === 0 ? [] : [["-l", list.join(",")]];
}

function gpusPerSlot(asked: Resources): number {
  return asked.gpus / coresPerNode(asked);
}

function placementOptions(placement: Placement): readonly (readonly string[])[] {
  return [
    ...(placement.queue === undefined ? [] : [["-q", placement.queue]]),
    ...(placement.account === undefined ? [] : [["-A", placement.account]]),
    ...(placement.project === undefined ? [] : [["-P", placement.project]]),
    ...(placement.reservation === undefined ? [] : [["-ar", placement.reservation]]),
  ];
}

/** Options that are ours, or that would change what the submission means or prints. */
const ownOptions =
  /^-(?:N|S|o|e|i|j|wd|cwd|r|m|t|V|b|h|ac|dc|sc|now|sync|terse|verify|clear|help|inherit|shell|hold_jid(?:_ad)?|@.*)$/;

/** What of a request Grid Engine cannot do, all of it. */
export function problemsOf(request: SubmitRequest): readonly string[] {
  const { placement, log, directory } = request;
  const problems: string[] = [];
  if (placement.qos !== undefined) problems.push("Grid Engine has no QOS");
  if (totalCores(request.resources) > 1 && placement.parallelEnvironment === undefined) {
    problems.push(`${totalCores(request.resources)} cores need a parallel environment, and the target names none`);
  }
  if (!Number.isInteger(gpusPerSlot(request.resources))) {
    problems.push(
      `GPUs are counted for each slot: ${request.resources.gpus} do not spread over ${coresPerNode(request.resources)} slots`,
    );
  }
  if (/[:$]/.test(log)) problems.push(`':' and '$' mean something to Grid Engine in the path '${log}'`);
  if (/[$]/.test(directory)) problems.push(`'$' means something to Grid Engine in the path '${directory}'`);
  if (placement.reservation !== undefined && !/^\d+$/.test(placement.reservation)) {
    problems.push(`a reservation of Grid Engine is a number, not '${placement.reservation}'`);
  }
  return [
    ...problems,
    ...nativeProblems(placement.native, ownOptions),
    ...unquotable([log, directory, ...placement.native, ...Object.values(placement)], "sge"),
  ];
}
