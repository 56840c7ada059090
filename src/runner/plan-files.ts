import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { Fault } from "../common/fault.ts";
import type { OomCounter } from "./oom.ts";

/** What a recorder is told. Everything is data: nothing of it is ever read as shell text. */
export interface RecorderPlan {
  readonly token: string;
  readonly directory: string;
  readonly workDirectory: string;
  readonly argv: readonly [string, ...string[]];
  readonly environment: Readonly<Record<string, string>>;
  readonly umask: number;
  readonly limitMs: number | undefined;
  readonly graceMs: number;
  /** Cap of each of out and err; 0 = none. */
  readonly maxOutputBytes: number;
  /** Directory of the attempt's own control group; undefined = none. */
  readonly cgroup: string | undefined;
  /** Soft limit of open files; undefined = as it is. */
  readonly openFiles: number | undefined;
  /** What tells whether lack of memory ended it; undefined = nothing. */
  readonly oom?: OomCounter | undefined;
}

/** What is different for a recorder that a scheduler starts. */
export interface BatchRecorder {
  /** Exit codes in which the scheduler reads a meaning of its own: the recorder ends with 1 instead; with any other it ends as the command did. */
  readonly reservedCodes: readonly number[];
}

/** The plan as recorder.pl reads it: fields separated by NUL, which no argument or variable can hold. */
export function perlPlan(plan: RecorderPlan): string {
  const environment = Object.entries(plan.environment).map(([name, value]) => `${name}=${value}`);
  return [
    "siteagent-plan 1",
    plan.token,
    plan.limitMs === undefined ? "" : String(plan.limitMs),
    String(plan.graceMs),
    plan.umask.toString(8),
    plan.workDirectory,
    String(plan.maxOutputBytes),
    plan.cgroup ?? "",
    String(plan.openFiles ?? ""),
    oomText(plan.oom),
    String(environment.length),
    ...environment,
    ...plan.argv,
  ].join("\0");
}

/**
 * The plan as recorder.sh reads it: assignments with every value quoted, and one function that becomes the command. For a batch job the
 * environment is laid over the one that scheduler and site gave; `PATH` is theirs, and what the plan has of it they were told before.
 */
export function shellPlan(plan: RecorderPlan, batch?: BatchRecorder): string {
  const { PATH: _path, ...others } = plan.environment;
  const environment = Object.entries(batch ? others : plan.environment).map(([name, value]) => `${name}=${value}`);
  const command = [...environment, ...plan.argv].map(quote);
  const base = batch ? `--unset=OLDPWD "$given_locale" PATH="$given_path"` : "-i";
  return [
    `format='siteagent-plan 1'`,
    `token=${quote(plan.token)}`,
    `limit_s=${plan.limitMs === undefined ? "" : Math.max(1, Math.ceil(plan.limitMs / 1000))}`,
    `grace_s=${Math.ceil(plan.graceMs / 1000)}`,
    `mask=${plan.umask.toString(8).padStart(4, "0")}`,
    `cwd=${quote(plan.workDirectory)}`,
    `cap=${plan.maxOutputBytes > 0 ? plan.maxOutputBytes : ""}`,
    `cgroup=${quote(plan.cgroup ?? "")}`,
    `nofile=${plan.openFiles ?? ""}`,
    `oom=${quote(oomText(plan.oom))}`,
    `codes=${batch ? quote(batch.reservedCodes.join(" ") || "none") : ""}`,
    // A scheduler may know what belongs to a job by its session (PBS does): there everything stays in the one it gave.
    `session=${batch ? "" : "setsid"}`,
    `run() { exec $session $env $signals ${base} ${command.join(" ")}; }`,
    "",
  ].join("\n");
}

/** Writes the plan into the attempt's directory, for both recorders' sake as 0600. Synchronous: the runner starts many in a row. */
export function writePlan(plan: RecorderPlan, form: "perl" | "sh"): void {
  const [name, text] = form === "perl" ? ["plan", perlPlan(plan)] : ["plan.sh", shellPlan(plan)];
  try {
    writeFileSync(join(plan.directory, name), text, { mode: 0o600 });
  } catch (error) {
    throw new Fault("LAUNCH", `cannot write '${name}' into the attempt directory '${plan.directory}'`, {
      cause: error,
    });
  }
}

/** One word of a POSIX shell that stands for exactly this text. */
function oomText(oom: OomCounter | undefined): string {
  return oom === undefined ? "" : `${oom.alone ? "alone" : "shared"} ${oom.count} ${oom.file}`;
}

export function quote(text: string): string {
  return `'${text.replaceAll("'", `'\\''`)}'`;
}
