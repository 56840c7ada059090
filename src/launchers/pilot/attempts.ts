/** What is known of attempts, and an attempt's directory as the pilot launcher reads and writes it. */
import { join } from "node:path";
import type { CallContext } from "../../common/context.ts";
import { failpoint } from "../../common/failpoint.ts";
import type { Token } from "../../common/token.ts";
import type { Host } from "../../hosts/types.ts";
import { type Share, shareOf } from "../../jobs/resources.ts";
import { maxEvidenceBytes } from "../../runner/evidence.ts";
import { earlierAttempts } from "../command.ts";
import type { AttemptPlan, AttemptStatus } from "../types.ts";
import type { Allocation } from "./allocations.ts";
import type { PilotNode } from "./node.ts";
import type { HeardRecord } from "./orders.ts";

/** What is known of an attempt that is not forgotten. */
export interface Entry {
  readonly token: Token;
  readonly directory: string;
  /** undefined: an earlier agent handed it over. */
  readonly plan: AttemptPlan | undefined;
  readonly share: Share;
  /** How long it may take; undefined = nobody knows. */
  readonly needMs: number | undefined;
  /** Its limit is not its own but what an allocation has for one attempt. */
  lent: boolean;
  /** By our monotonic clock. */
  readonly since: number;
  /** Where it was handed to, the first of its nodes; undefined = it waits. */
  place: { readonly one: Allocation; readonly node: PilotNode } | undefined;
  /** Nodes that gave it back. */
  readonly avoid: Set<PilotNode>;
  /** It has waited too long: it goes nowhere any more. */
  overdue: boolean;
  word: Word | undefined;
  /** By the node's clock, as it told us. */
  startedAtMs: number | undefined;
  final: AttemptStatus | undefined;
  /** The last look, which holds until something is heard of it. */
  seen: AttemptStatus | undefined;
  seenAt: number;
}

/** What the node agent said of an attempt that is over. */
export interface Word {
  readonly kind: "ended" | "gone" | "failed";
  readonly why?: string;
  readonly record?: HeardRecord;
}

export function needMs(plan: AttemptPlan): number | undefined {
  return plan.limitMs === undefined ? undefined : plan.limitMs + plan.graceMs;
}

export function entryOf(plan: AttemptPlan, now: number, wholeMs?: number): Entry {
  const share = shareOf(plan.resources);
  return { ...bare(plan.token, plan.directory, now), plan, share, needMs: needMs(plan) ?? wholeMs };
}

export function bare(token: Token, directory: string, now: number): Entry {
  return {
    token,
    directory,
    plan: undefined,
    share: { cores: 0, memoryBytes: 0, gpus: 0 },
    needMs: undefined,
    lent: false,
    since: now,
    place: undefined,
    avoid: new Set(),
    overdue: false,
    word: undefined,
    startedAtMs: undefined,
    final: undefined,
    seen: undefined,
    seenAt: Number.NEGATIVE_INFINITY,
  };
}

/** Of the attempts before this one, so many are looked at. */
const mostEarlier = 20;

/** It has no walltime, and an attempt before it ran until the time of its allocation was over: the node agent wrote so. */
export async function outlived(host: Host, plan: AttemptPlan, context: CallContext): Promise<boolean> {
  if (plan.limitMs !== undefined) return false;
  for (const directory of earlierAttempts(plan.directory, plan.attempt).slice(0, mostEarlier)) {
    const lost = await host.files.read(join(directory, "lost"), { maxBytes: maxEvidenceBytes }, context);
    if (lost && /^\d+ time\n/.test(lost.toString("latin1"))) return true;
  }
  return false;
}

/** The guard is there because an order to stop took it: nothing began, and nothing can. Before a recorder comes the node names itself. */
export function isWithdrawn(names: ReadonlySet<string>): boolean {
  if (!names.has("started") || names.has("recorder") || names.has("rc")) return false;
  return names.has("withdrawn") || !names.has("allocation");
}

/**
 * Takes the start guard, so that an attempt that waits never begins. `starting`: its recorder was quicker and says so in a moment. `why` is for
 * those whom nobody ordered to stop.
 */
export async function withdraw(
  host: Host,
  directory: string,
  context: CallContext,
  why = "",
): Promise<"withdrawn" | "starting" | "begun"> {
  if (await host.files.mkdir(join(directory, "started"), {}, context)) {
    await failpoint("pilot.after-guard");
    const text = `${context.clock.now()}\n${why}\n`;
    await host.files.write(join(directory, "withdrawn"), text, { mode: 0o600 }, context);
    return "withdrawn";
  }
  const names = new Set((await host.files.list(directory, context)) ?? []);
  if (isWithdrawn(names)) return "withdrawn";
  return names.has("recorder") || names.has("rc") ? "begun" : "starting";
}

/** Why it was kept from starting although nobody ordered that; undefined = it was ordered. */
export async function whyWithdrawn(host: Host, directory: string, context: CallContext): Promise<string | undefined> {
  const bytes = await host.files.read(join(directory, "withdrawn"), { maxBytes: maxEvidenceBytes }, context);
  return bytes?.toString("utf8").split("\n")[1] || undefined;
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
