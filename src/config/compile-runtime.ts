/** Cross checks of how an app's command is started. */
import { formatDuration } from "../common/units.ts";
import { gpuVariables } from "../jobs/gpus.ts";
import { containerOf, type Runtime, zipOf } from "../jobs/runtime.ts";
import { hasPlace } from "../jobs/template.ts";
import { type MpiStarter, mpiStarters, starterTemplateFlaw } from "../jobs/mpi.ts";
import { type AppSettings, checkReadable, type Compiling } from "./compiling.ts";
import type { SiteTarget } from "./types.ts";

/** A starter that fits the target, and places that are known. */
export function checkMpi(
  { loaded: { report } }: Compiling,
  path: readonly PropertyKey[],
  app: AppSettings,
  targets: Readonly<Record<string, SiteTarget>>,
): void {
  const { mpi } = app;
  const target = Object.hasOwn(targets, app.target) ? targets[app.target] : undefined;
  const starter = typeof mpi?.starter === "string" ? mpi.starter : undefined;
  const isPacked = target?.shared === true && target.allocation;
  if (isPacked && app.resources.nodes > 1 && !(starter !== undefined && mpiStarters[starter].takesNodes)) {
    report.add({
      path: [...path, "resources", "nodes"],
      message: `on several nodes of an allocation that target '${app.target}' shares out an app needs an MPI starter that can be told which`,
      value: app.resources.nodes,
      allowed: `1, or one of ${startersThat(({ takesNodes }) => takesNodes)}`,
    });
  }
  if (!mpi) return;
  const at = [...path, "mpi", "starter"];
  if (typeof mpi.starter === "string") {
    const { allocation, takesNodes } = mpiStarters[mpi.starter];
    const others = startersThat((one) => !one.allocation || (isPacked && one.takesNodes));
    if (target?.shared && allocation && !(isPacked && takesNodes)) {
      report.add({
        path: at,
        message: `'${mpi.starter}' starts ranks in a scheduler's allocation, and target '${app.target}' gives no attempt one of its own`,
        value: mpi.starter,
        allowed: `${others}, or a target with such a launcher`,
      });
    }
  } else {
    if (mpi.program !== undefined) {
      const message = "'program' belongs to a built-in starter; this one names its program itself";
      report.add({ path: [...path, "mpi", "program"], message, value: mpi.program, allowed: "no program" });
    }
    for (const [index, text] of mpi.starter.entries()) {
      const flaw = starterTemplateFlaw(text);
      if (flaw) report.add({ ...flaw, path: [...at, index] });
    }
  }
}

function startersThat(willDo: (starter: (typeof mpiStarters)[MpiStarter]) => boolean): string {
  return Object.keys(mpiStarters)
    .filter((name) => willDo(mpiStarters[name as MpiStarter]))
    .join(", ");
}

/** A program that neither starter nor engine takes for an option of its own. */
export function checkProgram({ loaded: { report } }: Compiling, path: readonly PropertyKey[], app: AppSettings): void {
  const [program = ""] = app.command;
  if (!program.startsWith("-") || (!app.mpi && !containerOf(app.runtime))) return;
  const message = `the program '${program}' would be an option of what starts it`;
  report.add({
    path: [...path, "command", 0],
    message,
    value: program,
    allowed: "a name or path without '-' before it",
  });
}

/** Which GPUs an attempt sees is ours to say where attempts share them. */
export function checkGpuVariables(
  { loaded: { report } }: Compiling,
  path: readonly PropertyKey[],
  app: AppSettings,
  targets: Readonly<Record<string, SiteTarget>>,
): void {
  const target = Object.hasOwn(targets, app.target) ? targets[app.target] : undefined;
  if (!target || target.gpus === undefined || target.allocation) return;
  for (const name of Object.keys(app.environment).filter((variable) => gpuVariables.includes(variable))) {
    report.add({
      path: [...path, "environment", name],
      atKey: true,
      message: `'${name}' is set by siteagent from the GPUs of target '${target.name}'`,
      value: name,
      allowed: "resources.gpus, which says how many an attempt gets",
    });
  }
}

/** A warning has a time limit that it comes before, and a first process that hands nothing on where it is for that one alone. */
export function checkWarning({ loaded: { report } }: Compiling, path: readonly PropertyKey[], app: AppSettings): void {
  const { warning, runtime } = app;
  if (!warning) return;
  const { walltime } = app.resources;
  const at = [...path, "warning"];
  if (walltime === undefined || warning.before >= walltime) {
    const limit = walltime === undefined ? "there is no time limit" : `the time limit is ${formatDuration(walltime)}`;
    const message = `${formatDuration(warning.before)} before the time limit cannot be: ${limit}`;
    report.add({ path: [...at, "before"], message, allowed: "less than resources.walltime" });
  }
  const engine = containerOf(runtime)?.engine;
  if (engine === "podman" || engine === "docker") {
    const message = `a warning does not reach a container of '${engine}'`;
    report.add({ path: at, atKey: true, message, value: engine, allowed: "another runtime, or no warning" });
  } else if (warning.to === "command" && runtime === "pty") {
    const message = "the first process of an attempt with a terminal is the one that holds it";
    report.add({ path: [...at, "to"], message, value: warning.to, allowed: "all" });
  }
}

/** The runtime with the path of its archive made absolute. */
export function compileRuntime(compiling: Compiling, path: readonly PropertyKey[], app: AppSettings): Runtime {
  const zip = zipOf(app.runtime);
  if (!zip) return app.runtime;
  const at = [...path, "runtime", "zip"];
  if (zip.archive !== undefined) {
    const archive = compiling.absolute(zip.archive);
    checkReadable(compiling, [...at, "archive"], archive);
    return { zip: { ...zip, archive } };
  }
  checkZipInput(compiling, [...at, "input"], app, zip.input ?? "");
  return { zip };
}

/** What is unpacked is run: no job may choose it. */
function checkZipInput(
  { loaded: { report } }: Compiling,
  path: readonly PropertyKey[],
  app: AppSettings,
  name: string,
): void {
  const input = Object.hasOwn(app.inputs, name) ? app.inputs[name] : undefined;
  if (!input) {
    report.add({ path, message: `'${name}' is not an input of this app`, value: name, known: Object.keys(app.inputs) });
    return;
  }
  const chosen = hasPlace(input.from) && (input.sha256 === undefined || hasPlace(input.sha256));
  if (!chosen && input.kind === "file" && input.required) return;
  const message = chosen
    ? `a job would choose the program: 'from' and 'sha256' of input '${name}' have places`
    : `input '${name}' may be no file, or not there`;
  report.add({
    path,
    message,
    value: name,
    allowed: "an input of kind file whose from, or whose sha256, is written here",
  });
}
