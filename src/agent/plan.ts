import { ownAccount } from "../common/account.ts";
import { join } from "node:path";
import { Fault } from "../common/fault.ts";
import type { Token } from "../common/token.ts";
import type { JsonValue } from "../common/json.ts";
import type { JobSpec } from "../wire/agent-api.ts";
import type { GpuShare } from "../jobs/gpus.ts";
import { fillInputs, fillOutputs, type Staging } from "../jobs/staging.ts";
import type { TemplateScope } from "../jobs/template.ts";
import type { PlanInput } from "../launchers/command.ts";
import type { TransferItem } from "../transfer/types.ts";
import type { AgentCore } from "./core.ts";
import { jobDirectories } from "./directories.ts";
import type { HeldJob } from "./held-job.ts";
import { hubScheme } from "./hub-outputs.ts";
import { secretFiles } from "./secrets.ts";

/** What command building needs of the site and the job. */
export async function planInput(
  core: AgentCore,
  job: HeldJob,
  attempt: { token: Token; attempt: number; gpus?: GpuShare | undefined },
): Promise<PlanInput> {
  const { agent } = core.parts.site;
  await secretFiles(job);
  return {
    app: { ...job.app, max_output: Math.min(job.app.max_output, core.parts.site.maxOutputBytes) },
    settings: { path: agent.path, environment: agent.environment },
    values: job.parameters,
    jobToken: job.token,
    token: attempt.token,
    attempt: attempt.attempt,
    directories: jobDirectories(job, attempt.attempt),
    inherited: process.env,
    account: ownAccount(),
    images: core.parts.site.policy.images,
    gpuVendor: core.parts.site.targets[job.target]?.gpuVendor ?? "nvidia",
    gpus: attempt.gpus,
    allocation: core.parts.site.targets[job.target]?.allocation ?? false,
    shared: core.parts.site.targets[job.target]?.shared ?? true,
  };
}

/** The object that triggered the job, as templates and `from` of parameters name its parts. */
export function objectValues(spec: JobSpec): JsonValue | undefined {
  const { object } = spec;
  if (!object) return undefined;
  const sha256 = object.checksums.find((one) => one.type === "sha256")?.checksum;
  return {
    id: object.id,
    name: object.name,
    size: object.size,
    mime_type: object.mime_type,
    url: object.urls[0],
    urls: object.urls,
    sha256,
  };
}

/** What templates of URLs and expectations may name. */
function scopeOf(job: HeldJob): TemplateScope {
  return {
    values: job.parameters,
    config: job.spec.config,
    object: objectValues(job.spec),
    token: job.token,
    attempt: job.attempt,
  };
}

/** The inputs as transfer items; an optional one whose URL the job does not give is left out. @throws Fault PARAMETERS with all problems. */
export function inputItems(job: HeldJob): TransferItem[] {
  return itemsOf(job, fillInputs(job.app, scopeOf(job)));
}

/**
 * The outputs as transfer items; one without destination goes to the hub. `required: false` for the archive of a failed attempt:
 * what is there is kept.
 * @throws Fault PARAMETERS with all problems
 */
export function outputItems(job: HeldJob, options: { readonly required: boolean }): TransferItem[] {
  const filled = itemsOf(job, fillOutputs(job.app, scopeOf(job)));
  const toHub = Object.entries(job.app.outputs).flatMap(([name, output]): TransferItem[] => {
    if (output.to !== undefined) return [];
    const { from: source, kind, required, max_size: maxBytes, include, exclude } = output;
    return [
      { name, source, target: hubUrl(job.token, name, kind), kind, required, mode: "copy", maxBytes, include, exclude },
    ];
  });
  return [...filled, ...toHub].map((item) => ({ ...item, required: item.required && options.required }));
}

function itemsOf(job: HeldJob, staging: Staging): TransferItem[] {
  if (staging.ok) return [...staging.items];
  const problems = staging.problems.map((problem) => problem.message);
  throw new Fault("PARAMETERS", `inputs and outputs of app '${job.app.name}': ${problems.join("; ")}`, {
    details: { problems },
  });
}

function hubUrl(token: Token, name: string, kind: string): string {
  return `${hubScheme}://hub/${token}/${name}${kind === "file" ? "" : "/"}`;
}

/** Absolute paths of inputs, by name, for hooks and plans. */
export function inputPaths(job: HeldJob): Record<string, string> {
  const directory = jobDirectories(job).in;
  return Object.fromEntries(Object.entries(job.app.inputs).map(([name, input]) => [name, join(directory, input.to)]));
}
