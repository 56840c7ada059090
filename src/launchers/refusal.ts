import { isAbsolute } from "node:path";
import { isoTime } from "../common/clock.ts";
import { type AttemptLimits, checkLimits } from "../jobs/resources.ts";
import type { EndCause } from "../jobs/states.ts";
import type { AttemptPlan, LaunchResult } from "./types.ts";

/** Linux: one argument or variable. */
const longestStringBytes = 128 * 1024 - 1;
/** Linux: a quarter of the usual 8 MiB stack for arguments and environment together, with the pointers to them. */
const longestTotalBytes = 2 * 1024 * 1024 - 64 * 1024;

/** "Certain that nothing ran and nothing will." */
export function refuse(cause: EndCause, message: string, exitCode?: number): LaunchResult {
  const end = {
    cause,
    ...(exitCode === undefined ? {} : { exit_code: exitCode }),
    evidence: "refused",
    message: message.slice(0, 500),
    ended_at: isoTime(Date.now()),
  };
  return { state: "refused", end };
}

/** What makes a plan impossible wherever it is started; all of it. */
export function planProblems(plan: AttemptPlan): readonly string[] {
  return [...sizeProblems(plan), ...shapeProblems(plan)];
}

/** What of a plan is beyond these limits; all of it. `who`: whose limits. */
export function limitProblems(plan: AttemptPlan, limits: AttemptLimits, who: string): readonly string[] {
  const resources = { ...plan.resources, walltime: plan.limitMs };
  const problems = checkLimits(resources, plan.graceMs, limits, who);
  return problems.map(({ message, allowed }) => `${message}; allowed: ${allowed}`);
}

function sizeProblems(plan: AttemptPlan): readonly string[] {
  const variables = Object.entries(plan.environment).map(([name, value]) => ({ what: name, text: `${name}=${value}` }));
  const strings = [...plan.argv.map((text, index) => ({ what: `argv[${index}]`, text })), ...variables];
  const problems: string[] = [];
  let total = 0;
  for (const { what, text } of strings) {
    const bytes = Buffer.byteLength(text);
    total += bytes + 9;
    if (bytes > longestStringBytes) problems.push(`${what} has ${bytes} bytes; allowed: ${longestStringBytes}`);
    if (text.includes("\0")) problems.push(`${what} holds a NUL character`);
  }
  if (total > longestTotalBytes) {
    problems.push(`arguments and environment have ${total} bytes together; allowed: ${longestTotalBytes}`);
  }
  return problems;
}

function shapeProblems(plan: AttemptPlan): readonly string[] {
  const problems: string[] = [];
  if (plan.argv[0] === "" || plan.argv[0].includes("=")) {
    problems.push(`argv[0] '${plan.argv[0]}' is no program; allowed: a name or path without '='`);
  }
  for (const [field, value] of [
    ["directory", plan.directory],
    ["workDirectory", plan.workDirectory],
  ] as const) {
    if (!isAbsolute(value)) problems.push(`${field} '${value}' is not absolute`);
  }
  return problems;
}
