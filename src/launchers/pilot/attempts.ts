/** An attempt's directory as the pilot launcher reads and writes it. */
import { join } from "node:path";
import type { CallContext } from "../../common/context.ts";
import { failpoint } from "../../common/failpoint.ts";
import type { Token } from "../../common/token.ts";
import type { Host } from "../../hosts/types.ts";
import { gpuEnvironment, type GpuVendor } from "../../jobs/gpus.ts";
import { type Share, shareOf } from "../../jobs/resources.ts";
import { perlPlan } from "../../runner/plan-files.ts";
import type { AttemptPlan, AttemptStatus } from "../types.ts";
import type { RunOrder } from "./orders.ts";
import type { Allocation } from "./allocations.ts";
import type { PilotNode } from "./node.ts";

/** What is known of an attempt that is not forgotten. */
export interface Entry {
  readonly token: Token;
  readonly directory: string;
  /** undefined: an earlier agent handed it over. */
  readonly plan: AttemptPlan | undefined;
  readonly share: Share;
  readonly needMs: number | undefined;
  /** By our monotonic clock. */
  readonly since: number;
  /** Where it was handed to; undefined = it waits. */
  place: { readonly one: Allocation; readonly node: PilotNode } | undefined;
  /** Nodes that gave it back. */
  readonly avoid: Set<PilotNode>;
  word: { readonly kind: "ended" | "gone" | "failed"; readonly why?: string } | undefined;
  /** By the node's clock, as it told us. */
  startedAtMs: number | undefined;
  final: AttemptStatus | undefined;
  /** The last look, which holds until something is heard of it. */
  seen: AttemptStatus | undefined;
  seenAt: number;
}

export function needMs(plan: AttemptPlan): number | undefined {
  return plan.limitMs === undefined ? undefined : plan.limitMs + plan.graceMs;
}

export function entryOf(plan: AttemptPlan, now: number): Entry {
  return { ...bare(plan.token, plan.directory, now), plan, share: shareOf(plan.resources), needMs: needMs(plan) };
}

export function bare(token: Token, directory: string, now: number): Entry {
  return {
    token,
    directory,
    plan: undefined,
    share: { cores: 0, memoryBytes: 0, gpus: 0 },
    needMs: undefined,
    since: now,
    place: undefined,
    avoid: new Set(),
    word: undefined,
    startedAtMs: undefined,
    final: undefined,
    seen: undefined,
    seenAt: Number.NEGATIVE_INFINITY,
  };
}

/** What its node is told. The environment is laid over the allocation's; `PATH` only where it is not the one that the preamble found. */
export function orderOf(
  plan: AttemptPlan,
  gpus: readonly string[],
  site: { readonly path: string; readonly vendor: GpuVendor; readonly hasGpus: boolean },
): RunOrder {
  const { PATH: path, ...others } = plan.environment;
  const given = site.hasGpus
    ? { ...gpuEnvironment({ vendor: site.vendor, ids: gpus }), SITEAGENT_GPU_IDS: gpus.join(",") }
    : {};
  const environment = { ...others, ...(path === undefined || path === site.path ? {} : { PATH: path }), ...given };
  return {
    token: plan.token,
    directory: plan.directory,
    plan: perlPlan({ ...plan, environment, cgroup: undefined, openFiles: undefined }),
    share: shareOf(plan.resources),
    gpus,
    needMs: needMs(plan),
    graceMs: plan.graceMs,
  };
}

/** The guard is there because an order to stop took it: nothing began, and nothing can. Before a recorder comes the node names itself. */
export function isWithdrawn(names: ReadonlySet<string>): boolean {
  if (!names.has("started") || names.has("recorder") || names.has("rc")) return false;
  return names.has("withdrawn") || !names.has("allocation");
}

/** Takes the start guard, so that an attempt that waits never begins. `starting`: its recorder was quicker and says so in a moment. */
export async function withdraw(
  host: Host,
  directory: string,
  context: CallContext,
): Promise<"withdrawn" | "starting" | "begun"> {
  if (await host.files.mkdir(join(directory, "started"), {}, context)) {
    await failpoint("pilot.after-guard");
    await host.files.write(join(directory, "withdrawn"), `${context.clock.now()}\n`, { mode: 0o600 }, context);
    return "withdrawn";
  }
  const names = new Set((await host.files.list(directory, context)) ?? []);
  if (isWithdrawn(names)) return "withdrawn";
  return names.has("recorder") || names.has("rc") ? "begun" : "starting";
}

/** The recorder reads the grace period in it, and its end is one by order. */
export async function markStop(
  host: Host,
  directory: string,
  how: { readonly graceMs: number; readonly reason: string },
  context: CallContext,
): Promise<void> {
  const path = join(directory, "stop");
  const text = `${Math.round(how.graceMs)}\n${how.reason}\n`;
  await host.files.write(path, text, { mode: 0o600 }, context);
}
