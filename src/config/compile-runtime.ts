/** Cross checks of how an app's command is started. */
import { gpuVariables } from "../jobs/gpus.ts";
import { containerOf } from "../jobs/runtime.ts";
import { type MpiStarter, mpiStarters, starterTemplateFlaw } from "../jobs/mpi.ts";
import type { AppSettings, Compiling } from "./compiling.ts";
import type { SiteTarget } from "./types.ts";

/** A starter that fits the target, and places that are known. */
export function checkMpi(
  { loaded: { report } }: Compiling,
  path: readonly PropertyKey[],
  app: AppSettings,
  targets: Readonly<Record<string, SiteTarget>>,
): void {
  const { mpi } = app;
  if (!mpi) return;
  const at = [...path, "mpi", "starter"];
  if (typeof mpi.starter === "string") {
    const target = Object.hasOwn(targets, app.target) ? targets[app.target] : undefined;
    if (target && !target.allocation && mpiStarters[mpi.starter].allocation) {
      const others = Object.keys(mpiStarters).filter((name) => !mpiStarters[name as MpiStarter].allocation);
      report.add({
        path: at,
        message: `'${mpi.starter}' starts ranks in a scheduler's allocation, which target '${app.target}' does not give`,
        value: mpi.starter,
        allowed: `${others.join(", ")}, or a target with such a launcher`,
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
