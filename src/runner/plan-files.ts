import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { Fault } from "../common/fault.ts";
import type { OomCounter } from "./oom.ts";

/** A signal before the time limit. */
export interface LimitWarning {
  /** Name (`SIGUSR1`). */
  readonly signal: string;
  readonly beforeMs: number;
  /** Every process of the attempt, or its first one alone. */
  readonly to: "all" | "command";
}

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
  /** Only with a limit. */
  readonly warning?: LimitWarning | undefined;
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
    perlWarning(plan),
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
    `limit_s=${shellLimit(plan) ?? ""}`,
    ...shellWarning(plan),
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

/** Whole seconds, rounded up; undefined = none. */
function shellLimit({ limitMs }: RecorderPlan): number | undefined {
  return limitMs === undefined ? undefined : Math.max(1, Math.ceil(limitMs / 1000));
}

/** Seconds after the start, signal, whom; rounded so that there is never less time left than was promised. */
function shellWarning(plan: RecorderPlan): readonly string[] {
  const [limit, { warning }] = [shellLimit(plan), plan];
  if (!warning || limit === undefined) return ["warn_s=", "warn_signal=", "warn_to="];
  const at = Math.max(0, limit - Math.ceil(warning.beforeMs / 1000));
  return [`warn_s=${at}`, `warn_signal=${quote(bareName(warning.signal))}`, `warn_to=${warning.to}`];
}

/** The same in milliseconds, in one field. */
function perlWarning({ limitMs, warning }: RecorderPlan): string {
  if (!warning || limitMs === undefined) return "";
  return `${Math.max(0, limitMs - warning.beforeMs)} ${bareName(warning.signal)} ${warning.to}`;
}

function bareName(signal: string): string {
  return signal.replace(/^SIG/, "");
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

function oomText(oom: OomCounter | undefined): string {
  return oom === undefined ? "" : `${oom.alone ? "alone" : "shared"} ${oom.count} ${oom.file}`;
}

/** One word of a POSIX shell that stands for exactly this text. */
export function quote(text: string): string {
  // Most have none, and a plan has dozens of words.
  return text.includes("'") ? `'${text.replaceAll("'", `'\\''`)}'` : `'${text}'`;
}
