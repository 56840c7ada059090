import { isoTime } from "../common/clock.ts";
import { failpoint } from "../common/failpoint.ts";
import { isFinal } from "../jobs/transitions.ts";
import type { Order } from "../wire/agent-api.ts";
import type { AgentCore } from "./core.ts";
import type { HeldJob } from "./held-job.ts";
import { record, type RecordKinds } from "./records.ts";
import { endStranger } from "./strangers.ts";
import { transition } from "./transition.ts";

/**
 * An order of central: journaled first, carried out once however often it is repeated, answered with the next call. True when a
 * driver has to look at the job again.
 */
export async function carryOut(core: AgentCore, order: Order): Promise<boolean> {
  const known = core.ledger.book.orders.get(order.id);
  if (known?.result !== undefined) return false;
  const before = core.ledger.book.pastOrders.get(order.id);
  if (before !== undefined) {
    const again = [record("order.received", { order }), record("order.answered", { id: order.id, result: before })];
    await core.ledger.commit(again, "group");
    return false;
  }
  // Received, but the process ended before it was carried out: now.
  await failpoint("order.before-receive");
  if (!known) await core.ledger.commit([record("order.received", { order })], "effect");
  await failpoint("order.after-receive");
  const result = await apply(core, order);
  // Not known yet: central says it again.
  if (result === undefined) return false;
  core.log.info(
    { jobId: order.job, order: order.id, kind: order.kind, actor: order.actor, reason: order.reason, result },
    "order taken",
  );
  await failpoint("order.before-answer");
  await core.ledger.commit([record("order.answered", { id: order.id, result })], "report");
  await failpoint("order.after-answer");
  core.syncWork.notify();
  return result === "accepted";
}

async function apply(core: AgentCore, order: Order): Promise<RecordKinds["order.answered"]["result"] | undefined> {
  const job = core.ledger.book.jobs.get(order.job);
  if (!job && order.kind === "cancel") return await endStranger(core, order.job, order.reason);
  if (!job || isFinal(job.state) || job.fenced !== undefined) return "not-held";
  const { reason, actor } = order;
  switch (order.kind) {
    case "cancel":
      await requestCancel(core, order.job, reason, actor);
      return "accepted";
    case "pause":
      await transition(
        core,
        order.job,
        { type: "hold", hold: { kind: "paused", reason, by: actor, since: isoTime(core.clock.now()) } },
        { when: (now) => !isFinal(now.state) },
      );
      return "accepted";
    case "resume":
      await resumeJob(core, order.job);
      return "accepted";
    default:
      // From a newer central: not carried out, and said so.
      return "unsupported";
  }
}

/** Marks the job as being cancelled; its driver does the rest. Cancelling twice keeps the first reason. */
export async function requestCancel(core: AgentCore, id: string, reason: string, by: string): Promise<void> {
  const job = core.ledger.book.jobs.get(id);
  if (!job || isFinal(job.state) || job.hold?.kind === "cancelling" || job.verdict !== undefined) return;
  await failpoint("cancel.before-intent");
  const hold = {
    kind: "cancelling",
    reason: reason === "" ? "cancelled" : reason,
    by,
    since: isoTime(core.clock.now()),
  } as const;
  await transition(
    core,
    id,
    { type: "cancel_requested", hold },
    {
      durability: "effect",
      message: `cancel ordered by ${by}: ${hold.reason}`,
      // It may have ended, or been decided, while this waited for its turn.
      when: (now) => !isFinal(now.state) && now.verdict === undefined && now.hold?.kind !== "cancelling",
    },
  );
  await failpoint("cancel.after-intent");
}

/** Lets a paused job go on; a quarantined one too: somebody has looked at it and takes the risk. */
export async function resumeJob(core: AgentCore, id: string): Promise<void> {
  const isHeldBack = (job: HeldJob): boolean => job.hold?.kind === "paused" || job.quarantined !== undefined;
  core.problems.clear(`quarantine:${id}`);
  await transition(
    core,
    id,
    { type: "unhold" },
    { when: isHeldBack, patch: { quarantined: undefined, entered: undefined }, durability: "effect" },
  );
}
