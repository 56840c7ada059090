/** What a job would become on this site, without claiming or starting anything: `siteagent plan`. */
import { ownAccount } from "./common/account.ts";
import { isJsonObject, type JsonObject, type JsonValue } from "./common/json.ts";
import { asFault, Fault } from "./common/fault.ts";
import { newToken } from "./common/token.ts";
import { jobScript } from "./compose-launchers.ts";
import { loadSite } from "./config/compile.ts";
import { builtInRegistries } from "./config/registries.ts";
import type { Site, SiteTarget } from "./config/types.ts";
import type { App } from "./jobs/app.ts";
import { objectReference } from "./jobs/object-reference.ts";
import { resolveParameters } from "./jobs/parameters.ts";
import { fillInputs, fillOutputs } from "./jobs/staging.ts";
import { directoriesOf, planAttempt } from "./launchers/command.ts";
import { compilePolicy, type Verdict } from "./transfer/policy.ts";
import type { AttemptPlan } from "./launchers/types.ts";

export interface PlannedJob {
  readonly app: string;
  readonly workflow: string;
  readonly target: string;
  readonly launcher: string;
  readonly host: string;
  readonly argv: readonly string[];
  /** Names only: values of the site's environment are nobody's business. */
  readonly environment: readonly string[];
  readonly directory: string;
  readonly parameters: JsonObject;
  readonly inputs: readonly PlannedFile[];
  readonly outputs: readonly PlannedFile[];
  readonly resources: JsonObject;
  /** What would be handed to the batch scheduler; null where there is none. */
  readonly script: string | null;
  /** Everything for which the job would be refused; empty = it would run. */
  readonly refused: readonly string[];
}

export interface PlannedFile {
  readonly name: string;
  readonly url: string;
  readonly path: string;
  readonly allowed: boolean;
  readonly reason: string;
}

/**
 * @param job as `POST /jobs` (`{workflow: {id}, config}`) or as the hub's own (`{workflow, config, parameters}`).
 * @throws Fault CONFIG for the site file, NOT_FOUND when no app serves the workflow.
 */
export async function planJob(siteFile: string, job: JsonValue): Promise<PlannedJob> {
  const site = await loadSite(siteFile, builtInRegistries);
  const request = readJob(job);
  const app = Object.values(site.apps).find((one) => one.workflow === request.workflow);
  if (!app) {
    const known = Object.values(site.apps).map((one) => one.workflow);
    throw new Fault(
      "NOT_FOUND",
      `no app of '${site.file}' serves workflow '${request.workflow}'; served: ${known.join(", ")}`,
    );
  }
  return plan(site, app, request);
}

interface Request {
  readonly workflow: string;
  readonly config: JsonObject;
  readonly parameters: JsonObject;
  readonly object: JsonObject | undefined;
}

function readJob(job: JsonValue): Request {
  if (!isJsonObject(job))
    throw new Fault("INVALID", "the job is not a mapping; allowed: {workflow, config, parameters}");
  const workflow = isJsonObject(job["workflow"]) ? job["workflow"]["id"] : job["workflow"];
  if (typeof workflow !== "string") throw new Fault("INVALID", "workflow is missing; allowed: an id, or {id}");
  const part = (name: string): JsonObject | undefined => (isJsonObject(job[name]) ? job[name] : undefined);
  return { workflow, config: part("config") ?? {}, parameters: part("parameters") ?? {}, object: part("object") };
}

async function plan(site: Site, app: App, request: Request): Promise<PlannedJob> {
  const refused: string[] = [];
  const target = site.targets[app.target];
  const workdir = site.hosts[target?.host ?? ""]?.workdir ?? site.agent.stateDir;
  const token = newToken();
  const directories = directoriesOf(workdir, token, 1);
  const resolved = resolveParameters(app, request);
  if (!resolved.ok) refused.push(...resolved.problems.map((problem) => problem.message));
  const values = resolved.ok ? resolved.values : {};
  const policy = compilePolicy(site.policy);
  const scope = { values, config: request.config, object: request.object, token, attempt: 1 };
  const staged = (set: "sources" | "destinations", filled: ReturnType<typeof fillInputs>): PlannedFile[] => {
    if (!filled.ok) {
      // A parameter that was refused above has no value here: that is no second problem.
      const own = filled.problems.filter(({ missing }) => resolved.ok || !Object.hasOwn(app.parameters, missing ?? ""));
      refused.push(...own.map((problem) => problem.message));
      return [];
    }
    return filled.items.map((item) => {
      const [url, path] = set === "sources" ? [item.source, item.target] : [item.target, item.source];
      const verdict = set === "sources" && objectReference(url) ? asked(url) : policy.explain(url, set);
      if (!verdict.allowed) refused.push(`${item.name}: ${verdict.reason}`);
      return { name: item.name, url: verdict.url, path, allowed: verdict.allowed, reason: verdict.reason };
    });
  };
  let attempt: AttemptPlan | undefined;
  try {
    attempt = planAttempt({
      app,
      settings: { path: site.agent.path, environment: site.agent.environment },
      values,
      jobToken: token,
      token: newToken(),
      attempt: 1,
      directories,
      inherited: process.env,
      account: ownAccount(),
      images: site.policy.images,
      gpuVendor: target?.gpuVendor ?? "nvidia",
      allocation: target?.allocation ?? false,
      shared: target?.shared ?? true,
    });
  } catch (error) {
    if (resolved.ok) refused.push(asFault(error).message);
  }
  const script = await scriptOf(site, target, attempt, refused);
  return {
    app: app.name,
    workflow: app.workflow,
    target: app.target,
    launcher: target?.launcher ?? "",
    host: target?.host ?? "",
    argv: attempt?.argv ?? app.command,
    environment: Object.keys(attempt?.environment ?? {}).toSorted(),
    directory: directories.job,
    parameters: values,
    inputs: staged("sources", fillInputs(app, scope)),
    outputs: staged("destinations", fillOutputs(app, scope)),
    resources: JSON.parse(JSON.stringify(app.resources)) as JsonObject,
    script,
    refused,
  };
}

/** Only the central API knows where the bytes of an object are, and the policy is asked then. */
function asked(url: string): Verdict {
  return { allowed: true, url, reason: "an object: its access methods are asked for when the job is staged" };
}

/** A request that no scheduler could be asked for is refused like any other fault of the job. */
async function scriptOf(
  site: Site,
  target: SiteTarget | undefined,
  attempt: AttemptPlan | undefined,
  refused: string[],
): Promise<string | null> {
  if (!target || !attempt) return null;
  try {
    return (await jobScript(site, target, attempt)) ?? null;
  } catch (error) {
    refused.push(asFault(error).message);
    return null;
  }
}
