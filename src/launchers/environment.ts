/** The variables that every attempt gets besides its app's own; nothing is inherited that the site does not name. */
import { gpuEnvironment, gpuVariables } from "../jobs/gpus.ts";
import { isNeverInherited } from "../jobs/environment.ts";
import { coresPerNode, walltimeSeconds } from "../jobs/resources.ts";
import type { PlanInput } from "./command.ts";

/** What every attempt begins with. */
export function basicEnvironment({
  app,
  settings,
  account,
  directories,
  inherited,
}: PlanInput): Record<string, string> {
  return {
    PATH: settings.path,
    HOME: account.home,
    USER: account.name,
    LOGNAME: account.name,
    LANG: "C.UTF-8",
    TMPDIR: directories.tmp,
    TZ: inherited["TZ"] || "UTC",
    OMP_NUM_THREADS: String(app.resources.threads_per_rank),
  };
}

/** Allow-listed variables of the agent; never those that would hand on its identity, and no proxy with a password. */
export function inheritedOf({ settings, inherited, gpus }: PlanInput): Record<string, string> {
  const taken: Record<string, string> = {};
  for (const name of settings.environment) {
    const value = Object.hasOwn(inherited, name) ? inherited[name] : undefined;
    if (value === undefined || isNeverInherited(name)) continue;
    if (gpus && gpuVariables.includes(name)) continue;
    if (/proxy/i.test(name) && value.includes("@")) continue;
    taken[name] = value;
  }
  return taken;
}

/** What no app overrides. */
export function attemptEnvironment({
  app,
  directories,
  jobToken,
  token,
  attempt,
  gpus,
}: PlanInput): Record<string, string> {
  const { resources } = app;
  const seconds = walltimeSeconds(resources);
  return {
    SITEAGENT_APP: app.name,
    SITEAGENT_WORKFLOW: app.workflow,
    SITEAGENT_ATTEMPT: String(attempt),
    SITEAGENT_ATTEMPT_TOKEN: token,
    SITEAGENT_JOB_TOKEN: jobToken,
    SITEAGENT_JOB_DIR: directories.job,
    SITEAGENT_IN_DIR: directories.in,
    SITEAGENT_WORK_DIR: directories.work,
    SITEAGENT_ATTEMPT_DIR: directories.attempt,
    SITEAGENT_NODES: String(resources.nodes),
    SITEAGENT_RANKS_PER_NODE: String(resources.ranks_per_node),
    SITEAGENT_THREADS_PER_RANK: String(resources.threads_per_rank),
    SITEAGENT_CORES: String(coresPerNode(resources)),
    SITEAGENT_GPUS: String(resources.gpus),
    ...(gpus ? { ...gpuEnvironment(gpus), SITEAGENT_GPU_IDS: gpus.ids.join(",") } : {}),
    ...(resources.memory === undefined ? {} : { SITEAGENT_MEMORY_BYTES: String(resources.memory) }),
    ...(seconds === undefined ? {} : { SITEAGENT_WALLTIME_S: String(seconds) }),
  };
}
