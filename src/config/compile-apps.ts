import type { App, HookSpec } from "../jobs/app.ts";
import { isReservedVariable } from "../jobs/environment.ts";
import { checkParameters } from "../jobs/parameters.ts";
import { runtimeName } from "../jobs/runtime.ts";
import { checkLimits, checkResources, type ResourceProblem } from "../jobs/resources.ts";
import type { TemplateUse } from "../jobs/template.ts";
import { checkCommand, checkTemplate } from "../jobs/template-check.ts";
import { checkContainer, type Places } from "./compile-container.ts";
import { checkGpuVariables, checkMpi, checkProgram, checkWarning, compileRuntime } from "./compile-runtime.ts";
import { checkReadable, checkSecret, type Compiling } from "./compiling.ts";
import type { SiteRemote, SiteTarget } from "./types.ts";
import type { AppSettings } from "./compiling.ts";
import { expandRemote } from "./urls.ts";

/** Cross checks of all apps; site-wide ceilings and defaults are worked in. */
export async function compileApps(compiling: Compiling, places: Places): Promise<Record<string, App>> {
  const { targets } = places;
  const apps: Record<string, App> = {};
  const owners = new Map<string, string>();
  for (const [name, settings] of Object.entries(compiling.settings.apps)) {
    const path = ["apps", name];
    const owner = owners.get(settings.workflow);
    if (owner !== undefined) {
      compiling.loaded.report.add({
        path: [...path, "workflow"],
        message: `workflow '${settings.workflow}' is served by app '${owner}' already`,
        value: settings.workflow,
        allowed: "one app for each workflow",
      });
    }
    owners.set(settings.workflow, owner ?? name);
    checkTarget(compiling, path, settings, targets);
    checkTemplates(compiling, path, settings);
    checkPaths(compiling, path, settings);
    checkProgram(compiling, path, settings);
    checkMpi(compiling, path, settings, targets);
    checkContainer(compiling, path, settings, places);
    checkGpuVariables(compiling, path, settings, targets);
    checkWarning(compiling, path, settings);
    for (const problem of checkParameters(settings.parameters)) {
      const { at, ...rest } = problem;
      compiling.loaded.report.add({ ...rest, path: [...path, "parameters", ...at], atKey: at.length === 1 });
    }
    apps[name] = {
      ...settings,
      ...(await compileFiles(compiling, path, settings, places.remotes)),
      ...ceilings(compiling, path, settings),
      name,
    };
  }
  return apps;
}

function checkTarget(
  { loaded, registries }: Compiling,
  path: readonly PropertyKey[],
  app: AppSettings,
  targets: Readonly<Record<string, SiteTarget>>,
): void {
  const target = Object.hasOwn(targets, app.target) ? targets[app.target] : undefined;
  const resources = [...checkResources(app.resources)];
  if (target) {
    const { lacks = [] } = registries.launchers[target.launcher] ?? {};
    const runtime = runtimeName(app.runtime);
    if (lacks.includes(runtime)) {
      loaded.report.add({
        path: [...path, "runtime"],
        message: `'${runtime}' cannot run on target '${target.name}' (launcher ${target.launcher})`,
        value: runtime,
        allowed: "another runtime, or a target on this machine",
      });
    }
    resources.push(...checkFits(registries, app, target));
  } else {
    const known = Object.keys(targets);
    loaded.report.add({
      path: [...path, "target"],
      message: `'${app.target}' is not a target of this file`,
      value: app.target,
      known,
    });
  }
  for (const { key, ...rest } of resources) loaded.report.add({ ...rest, path: [...path, "resources", key] });
}

/** What the target has in all, and what the launcher's own settings allow; those not when they are wrong themselves, which is said elsewhere. */
function checkFits(
  registries: Compiling["registries"],
  { resources, grace }: AppSettings,
  target: SiteTarget,
): readonly ResourceProblem[] {
  const kind = registries.launchers[target.launcher];
  const { cores, memoryBytes, gpus } = target;
  const who = `target '${target.name}'`;
  const common = checkLimits(resources, grace, { nodes: kind?.maxNodes, cores, memoryBytes, gpus }, who);
  if (!kind?.limits || !kind.settings.safeParse(target.settings).success) return common;
  return [...common, ...checkLimits(resources, grace, kind.limits(target.settings), who)];
}

function checkTemplates({ loaded, settings }: Compiling, path: readonly PropertyKey[], app: AppSettings): void {
  const remotes = Object.keys(settings.remotes);
  const check = (text: string | undefined, use: TemplateUse, at: readonly PropertyKey[]): void => {
    if (text === undefined) return;
    for (const problem of checkTemplate(text, use, app, remotes))
      loaded.report.add({ ...problem, path: [...path, ...at] });
  };
  const checkShape = (command: readonly string[], at: readonly PropertyKey[]): void => {
    for (const { index, ...problem } of checkCommand(command))
      loaded.report.add({ ...problem, path: [...path, ...at, index] });
  };
  for (const [index, text] of app.command.entries()) check(text, "argument", ["command", index]);
  checkShape(app.command, ["command"]);
  for (const [name, text] of Object.entries(app.environment)) {
    check(text, "argument", ["environment", name]);
    if (!isReservedVariable(name)) continue;
    const message = `'${name}' is set by siteagent`;
    loaded.report.add({
      path: [...path, "environment", name],
      atKey: true,
      message,
      value: name,
      allowed: "names without SITEAGENT_",
    });
  }
  for (const [name, input] of Object.entries(app.inputs)) {
    check(input.from, "source", ["inputs", name, "from"]);
    check(input.size, "expectation", ["inputs", name, "size"]);
    check(input.sha256, "expectation", ["inputs", name, "sha256"]);
  }
  for (const [name, output] of Object.entries(app.outputs)) check(output.to, "destination", ["outputs", name, "to"]);
  for (const [name, hook] of hooksOf(app)) {
    if (!("command" in hook)) continue;
    checkShape(hook.command, ["hooks", name, "command"]);
    for (const [index, text] of hook.command.entries()) check(text, "argument", ["hooks", name, "command", index]);
  }
}

function hooksOf(app: AppSettings): readonly (readonly [string, HookSpec])[] {
  return Object.entries(app.hooks).flatMap(([name, hook]) => (hook ? [[name, hook] as const] : []));
}

/** `to` of inputs and `from` of outputs: relative, inside, plain; no two inputs at one place. */
function checkPaths({ loaded }: Compiling, path: readonly PropertyKey[], app: AppSettings): void {
  const taken = new Map<string, string>();
  for (const [name, input] of Object.entries(app.inputs)) {
    const at = [...path, "inputs", name, "to"];
    const flaw = pathFlaw(input.to, false);
    if (flaw !== undefined)
      loaded.report.add({
        path: at,
        message: `'${input.to}' ${flaw}`,
        value: input.to,
        allowed: "a path below in/, as reads.fastq.gz",
      });
    const place = input.to.replace(/\/+$/, "");
    const other = taken.get(place);
    if (other !== undefined)
      loaded.report.add({
        path: at,
        message: `'${input.to}' is the place of input '${other}'`,
        value: input.to,
        allowed: "a place of its own",
      });
    taken.set(place, name);
  }
  for (const [name, output] of Object.entries(app.outputs)) {
    const flaw = pathFlaw(output.from, output.kind === "glob");
    if (flaw === undefined) continue;
    const allowed = "a path below work/, as report.json; patterns need kind: glob";
    loaded.report.add({
      path: [...path, "outputs", name, "from"],
      message: `'${output.from}' ${flaw}`,
      value: output.from,
      allowed,
    });
  }
}

function pathFlaw(text: string, glob: boolean): string | undefined {
  const steps = text.replace(/\/$/, "").split("/");
  if (text === "" || text.startsWith("/") || text.startsWith("~")) return "is not a relative path";
  if (steps.includes("..") || steps.includes("")) return "leaves its directory or has an empty part";
  if (text.includes("{{")) return "is a template; paths are fixed by the app";
  if (/[\p{Cc}\\]/u.test(text)) return "holds a control character or backslash";
  return !glob && /[*?[\]]/.test(text) ? "holds signs of a pattern" : undefined;
}

/** Files of the site that an app names: hook modules, secrets and archives; made absolute. */
async function compileFiles(
  compiling: Compiling,
  path: readonly PropertyKey[],
  app: AppSettings,
  remotes: Readonly<Record<string, SiteRemote>>,
): Promise<Pick<App, "parameters" | "hooks" | "inputs" | "outputs" | "runtime">> {
  const parameters = { ...app.parameters };
  for (const [name, spec] of Object.entries(app.parameters)) {
    if (spec.type !== "secret") continue;
    const ref = await checkSecret(compiling, [...path, "parameters", name, "file"], { file: spec.file });
    parameters[name] = { ...spec, file: ref.path };
  }
  const hooks: Record<string, HookSpec> = {};
  const ceiling = compiling.settings.hooks.max_timeout;
  for (const [name, hook] of hooksOf(app)) {
    if (!("module" in hook)) {
      hooks[name] = { ...hook, timeout: Math.min(hook.timeout, ceiling) };
      continue;
    }
    const module = compiling.absolute(hook.module);
    checkReadable(compiling, [...path, "hooks", name, "module"], module);
    hooks[name] = { ...hook, module, timeout: Math.min(hook.timeout, ceiling) };
  }
  return { parameters, hooks, runtime: compileRuntime(compiling, path, app), ...withRemotes(remotes, app) };
}

function withRemotes(remotes: Readonly<Record<string, SiteRemote>>, app: AppSettings): Pick<App, "inputs" | "outputs"> {
  const inputs = Object.entries(app.inputs).map(([name, input]) => [
    name,
    { ...input, from: expandRemote(input.from, remotes) },
  ]);
  const outputs = Object.entries(app.outputs).map(([name, output]) => {
    return [name, output.to === undefined ? output : { ...output, to: expandRemote(output.to, remotes) }];
  });
  return {
    inputs: Object.fromEntries(inputs) as App["inputs"],
    outputs: Object.fromEntries(outputs) as App["outputs"],
  };
}

/** What the site as a whole sets: defaults where the text has nothing, refusal where an app asks for more than the ceiling. */
function ceilings(
  { loaded, settings }: Compiling,
  path: readonly PropertyKey[],
  app: AppSettings,
): Pick<App, "max_output" | "retry"> {
  const { report, yaml } = loaded;
  if (app.max_output > settings.max_output && yaml.has([...path, "max_output"])) {
    const message = `'${app.max_output}' bytes are more than the site's max_output`;
    report.add({ path: [...path, "max_output"], message, allowed: `at most ${settings.max_output}` });
  }
  for (const [name, hook] of hooksOf(app)) {
    const at = [...path, "hooks", name, "timeout"];
    if (hook.timeout <= settings.hooks.max_timeout || !yaml.has(at)) continue;
    const message = `'${hook.timeout}' ms are more than the site's hooks.max_timeout`;
    report.add({ path: at, message, allowed: `at most ${settings.hooks.max_timeout} ms` });
  }
  const retry = settings.retry !== undefined && !yaml.has([...path, "retry"]) ? settings.retry : app.retry;
  return { max_output: Math.min(app.max_output, settings.max_output), retry };
}
