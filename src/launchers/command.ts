/** From an app and the values of one job to the plan of an attempt: pure, no shell anywhere, nothing inherited. */
import { dirname, join } from "node:path";
import type { Account } from "../common/account.ts";
import { Fault } from "../common/fault.ts";
import { quoted } from "../common/nearest.ts";
import type { Token } from "../common/token.ts";
import type { App, ParameterValues, Warning } from "../jobs/app.ts";
import type { GpuShare, GpuVendor } from "../jobs/gpus.ts";
import { fillText, type TemplateScope } from "../jobs/template.ts";
import { attemptEnvironment, basicEnvironment, inheritedOf } from "./environment.ts";
import type { AttemptPlan } from "./types.ts";
import { asIs, wrap, type Wrap, type Wrapped } from "./wrap.ts";

/** Linux takes no argument or NAME=VALUE of 128 KiB or more, its NUL included. */
export const maxStringBytes = 128 * 1024 - 1;
/** Linux allows a quarter of the usual 8 MiB stack for all arguments and the environment; 64 KiB of it are left to recorder and starters. */
export const maxTotalBytes = 2 * 1024 * 1024 - 64 * 1024;

/** The directories of a job and of one of its attempts; all absolute. */
export interface JobDirectories {
  readonly job: string;
  readonly in: string;
  readonly work: string;
  /** `TMPDIR`. */
  readonly tmp: string;
  /** Files (0600) of secret parameters, one for each name. */
  readonly secrets: string;
  /** Evidence of the attempt. */
  readonly attempt: string;
}

/** `<workdir>/<job token>/…` as every part of siteagent lays it out. */
export function directoriesOf(workdir: string, jobToken: Token, attempt: number): JobDirectories {
  const job = join(workdir, jobToken);
  return {
    job,
    in: `${job}/in`,
    work: `${job}/work`,
    tmp: `${job}/tmp`,
    secrets: `${job}/secrets`,
    attempt: `${job}/attempts/${attempt}`,
  };
}

/** Directories of the attempts of the same job before one, the latest first. */
export function earlierAttempts(directory: string, attempt: number): readonly string[] {
  return Array.from({ length: Math.max(0, attempt - 1) }, (_, index) =>
    join(dirname(directory), String(attempt - 1 - index)),
  );
}

/** What of the site goes into every environment. */
export interface EnvironmentSettings {
  /** `PATH`. */
  readonly path: string;
  /** Names of variables in `inherited` that attempts may see. */
  readonly environment: readonly string[];
}

export interface PlanInput {
  readonly app: App;
  readonly settings: EnvironmentSettings;
  /** Values of all parameters but the secret ones (`resolveParameters`). */
  readonly values: ParameterValues;
  readonly jobToken: Token;
  readonly token: Token;
  /** 1, 2, … */
  readonly attempt: number;
  readonly directories: JobDirectories;
  /** Environment of the agent; only allow-listed names are taken. */
  readonly inherited: Readonly<Record<string, string | undefined>>;
  readonly account: Account;
  /** A scheduler gives the attempt nodes, cores and GPUs; false: it shares a machine with other attempts. */
  readonly allocation: boolean;
  /** Others use the same cores: on a machine, or packed into an allocation. */
  readonly shared: boolean;
  /** What it has of a shared machine's GPUs; undefined where they are not given out by us. */
  readonly gpus?: GpuShare | undefined;
  /** Whose GPUs the target has. */
  readonly gpuVendor: GpuVendor;
  /** `policy.images` of the site. */
  readonly images: readonly string[];
}

/**
 * The plan of one attempt.
 * @throws Fault PARAMETERS with all problems: missing values, values that are no argument, sizes above what Linux starts.
 */
export function planAttempt(input: PlanInput): AttemptPlan {
  const { app, directories } = input;
  const { container, starter, ...command } = build(input, app.command, wrap);
  return {
    token: input.token,
    attempt: input.attempt,
    directory: directories.attempt,
    workDirectory: directories.work,
    argv: command.argv,
    environment: command.environment,
    runtime: app.runtime === "pty" ? "pty" : "plain",
    ...(container ? { container } : {}),
    ...(starter === undefined ? {} : { starter }),
    umask: Number.parseInt(app.umask, 8),
    limitMs: app.resources.walltime,
    graceMs: app.grace,
    ...(app.warning ? { warning: warningOf(app.warning) } : {}),
    maxOutputBytes: app.max_output,
    resources: app.resources,
    ...(input.gpus ? { gpus: input.gpus.ids } : {}),
  };
}

function warningOf({ signal, before, to }: Warning): AttemptPlan["warning"] {
  return { signal, beforeMs: before, to };
}

export interface PlannedCommand {
  readonly argv: readonly [string, ...string[]];
  readonly environment: Readonly<Record<string, string>>;
}

/**
 * Argv and environment of a command of the app: its own, or a hook's. One element of `command` gives one element of argv.
 * @throws Fault PARAMETERS as `planAttempt`.
 */
export function planCommand(input: PlanInput, command: readonly string[]): PlannedCommand {
  const { argv, environment } = build(input, command, asIs);
  return { argv, environment };
}

function build(input: PlanInput, command: readonly string[], wrapped: Wrap): Wrapped {
  const scope = templateScope(input);
  const problems: string[] = [];
  const fill = (template: string, place: string): string => {
    const filled = fillText(template, scope);
    if (filled.ok) return filled.text;
    problems.push(`${place}: ${filled.problem.message}`);
    return "";
  };
  const [program, ...rest] = command.map((template, index) => fill(template, `command[${index}]`));
  if (program === undefined || program === "") problems.push(`command[0]: ${quoted(program ?? "")} is not a program`);
  const own = Object.entries(input.app.environment).map(
    ([name, template]) => [name, fill(template, `environment.${name}`)] as const,
  );
  const plan = wrapped(input, {
    argv: [program ?? "", ...rest],
    basic: { ...basicEnvironment(input), ...inheritedOf(input) },
    own: Object.fromEntries(own),
    attempt: attemptEnvironment(input),
  });
  problems.push(...plan.problems, ...sizeProblems(plan.argv, plan.environment));
  if (problems.length > 0) {
    throw new Fault("PARAMETERS", `the command of app '${input.app.name}' cannot be built: ${problems.join("; ")}`, {
      details: { problems },
    });
  }
  return plan;
}

/** What `{{names}}` stand for in the commands of this attempt. */
export function templateScope(input: PlanInput): TemplateScope {
  const { app, directories } = input;
  const inputs = Object.entries(app.inputs).map(([name, { to }]) => [name, join(directories.in, to)]);
  const outputs = Object.entries(app.outputs).flatMap(([name, { kind, from }]) => {
    return kind === "glob" ? [] : [[name, join(directories.work, from)]];
  });
  const secrets = Object.entries(app.parameters).flatMap(([name, spec]) => {
    return spec.type === "secret" ? [[name, join(directories.secrets, name)]] : [];
  });
  return {
    values: input.values,
    token: input.jobToken,
    attempt: input.attempt,
    in: directories.in,
    work: directories.work,
    inputs: Object.fromEntries(inputs) as Record<string, string>,
    outputs: Object.fromEntries(outputs) as Record<string, string>,
    secrets: Object.fromEntries(secrets) as Record<string, string>,
  };
}

/** What Linux would refuse with E2BIG, said beforehand and with sizes. */
function sizeProblems(argv: readonly string[], environment: Readonly<Record<string, string>>): readonly string[] {
  const problems: string[] = [];
  let total = 0;
  const count = (text: string, place: string): void => {
    const bytes = Buffer.byteLength(text) + 1;
    total += bytes + 8; // and a pointer to it
    if (bytes > maxStringBytes) problems.push(`${place} has '${bytes}' bytes; allowed: at most ${maxStringBytes}`);
  };
  for (const [index, text] of argv.entries()) count(text, `command[${index}]`);
  for (const [name, value] of Object.entries(environment)) count(`${name}=${value}`, `environment.${name}`);
  if (total > maxTotalBytes) {
    problems.push(`arguments and environment have '${total}' bytes together; allowed: at most ${maxTotalBytes}`);
  }
  return problems;
}
