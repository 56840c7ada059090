import { Fault } from "../common/fault.ts";

/** Shell words that are expanded on the node, each the right side of an assignment: `${SLURM_ARRAY_TASK_ID:-0}`. */
export interface ScriptVariables {
  /** Index of the task from 0; 0 in a plain job. */
  readonly task: string;
  /** The job's id as the submit command printed it (`ScheduledJob.id`); of an array the parent's. */
  readonly nativeId: string;
  /** How often the scheduler itself began it again; empty where it does not say so. */
  readonly restarts: string;
}

export interface ScriptParts {
  /** Whole lines (`#SBATCH --time=0-01:00:00`). Schedulers stop reading them at the first command. */
  readonly directives: readonly string[];
  readonly variables: ScriptVariables;
  /** Commands between the variables and the body: what the scheduler put into the environment and is to be gone from it. */
  readonly prologue?: readonly string[];
  /** POSIX shell text; any number of lines. */
  readonly body: string;
}

/**
 * The text of a job script: `#!/bin/sh`, the directives right under it, `SITEAGENT_TASK`, `SITEAGENT_NATIVE_ID` and `SITEAGENT_RESTARTS`
 * (variables of the shell, not exported), prologue, body. Pure.
 * @throws Fault INVALID for a line break or control character in a line that must be one, and for a NUL in the body.
 */
export function renderScript(parts: ScriptParts): string {
  const { task, nativeId, restarts } = parts.variables;
  const assignments = [`SITEAGENT_TASK=${task}`, `SITEAGENT_NATIVE_ID=${nativeId}`, `SITEAGENT_RESTARTS=${restarts}`];
  const lines = [...parts.directives, "", ...assignments, ...(parts.prologue ?? [])];
  for (const line of lines) oneLine("a line of the job script", line);
  if (parts.body.includes("\0")) throw new Fault("INVALID", "the body of a job script has a NUL character");
  return ["#!/bin/sh", ...lines, "", parts.body.endsWith("\n") ? parts.body : `${parts.body}\n`].join("\n");
}

/**
 * The value itself, if it can stand in one line of a script.
 * @throws Fault INVALID naming `what` when it has a line break or another control character: it could end the line and begin a command.
 */
export function oneLine(what: string, value: string): string {
  // oxlint-disable-next-line no-control-regex -- control characters are what is looked for
  const found = /[\u0000-\u001f\u007f\u0085\u2028\u2029]/.exec(value);
  if (!found) return value;
  const code = value.charCodeAt(found.index).toString(16).padStart(4, "0");
  throw new Fault("INVALID", `${what} has the control character U+${code}: ${JSON.stringify(value.slice(0, 200))}`);
}
