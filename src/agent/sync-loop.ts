import { isJournalDead } from "./ledger.ts";
import { isoTime, sleepUnless } from "../common/clock.ts";
import type { CallContext } from "../common/context.ts";
import { asFault, type Fault, isFault } from "../common/fault.ts";
import { failpoint } from "../common/failpoint.ts";
import { syncBackoff, waitAfterMs } from "../common/retry.ts";
import type { Candidate, SyncResult } from "../central/types.ts";
import type { JobSpec } from "../wire/agent-api.ts";
import { appViews } from "../wire/apps.ts";
import type { AgentMode } from "../wire/control-api.ts";
import type { AgentCore } from "./core.ts";
import { takeUnknown, showMissing } from "./strangers.ts";
import { fence } from "./fence.ts";
import { takeAssigned, takeJob } from "./intake.ts";
import { LongPoll, nextWaitMs } from "./long-poll.ts";
import { carryOut } from "./orders.ts";
import { record } from "./records.ts";
import { offerOf } from "./slots.ts";

const shortestMs = 1_000;
/**
 * Where central assigns, rounds begin no sooner after each other: of many short jobs several end meanwhile, and one round asks for what
 * takes all their places.
 */
const gatherMs = 25;
/** What is told of our own health; it has to stay small. */
const mostProblems = 20;

export interface SyncState {
  readonly agentId: string;
  readonly instanceId: string;
  readonly version: string;
  /** May new jobs be taken now, and what the agent is. */
  readonly mode: () => AgentMode;
  /** Why nothing is claimed although the mode would allow it (disk, journal, `claim: false`); undefined = may claim. */
  readonly refusal: () => string | undefined;
  /** Milliseconds until the mode changes by itself (the end of a pause); Infinity = it does not. */
  readonly modeLastsMs: () => number;
  /** Starts a driver for a job that was just taken. */
  readonly onTaken: (job: string) => void;
  /** Lets a driver look again (cancelled, fenced). */
  readonly onChanged: (job: string) => void;
  /** Central answered (`undefined`), or did not. */
  readonly onContact: (fault: Fault | undefined) => void;
  readonly onRound: (times: { readonly at: string; readonly nextAt: string | undefined }) => void;
}

/**
 * Speaks with central: says what is held and could start, takes what is given, carries out what is ordered. The only loop that
 * claims. Plain poll with jitter, or long poll where central offers it; a wake-up cuts the wait. No answer harms a running job.
 */
export async function runSyncLoop(core: AgentCore, state: SyncState): Promise<void> {
  let failures = 0;
  let epoch: number | undefined;
  // Digest of the settings that central was told of in this session.
  let told: string | undefined;
  // A call that was cut short is followed by one that is answered at once: wake-ups one after the other starve no claim.
  let mayHold = true;
  const longPoll = new LongPoll();
  while (!core.stopping.aborted) {
    using work = core.syncWork.listen();
    const woken = work.heard;
    const startedAt = core.clock.monotonic();
    const holdMs = mayHold && epoch !== undefined ? holdFor(core, state, longPoll.allowedMs(startedAt)) : 0;
    let waitMs: number;
    try {
      const { digest } = core.parts.site;
      const answer = await round(core, state, { epoch, holdMs, woken, told });
      mayHold = answer !== "interrupted";
      if (answer === "interrupted") {
        await core.clock.sleep(startedAt + gatherMs - core.clock.monotonic(), core.stopping);
        continue;
      }
      if (failures > 0) core.centralBack.notify();
      failures = 0;
      const now = core.clock.monotonic();
      longPoll.answered(now);
      told = digest;
      // From the first answer on it is known what central can do.
      if (epoch === undefined) core.logWork.notify();
      epoch = answer.session_epoch;
      core.problems.clear("session");
      if (!answer.session_current)
        core.problems.set(
          "session",
          "another agent with this identity has the session; nothing is claimed here",
          "stop one of the two",
        );
      waitMs = nextWaitMs(answer, {
        heldMs: holdMs > 0 ? now - startedAt : undefined,
        nextHoldMs: core.central.capabilities.longPoll ? longPoll.allowedMs(now) : 0,
        pollMs: core.parts.site.api.pollMs,
      });
    } catch (error) {
      if (core.stopping.aborted) return;
      const fault = asFault(error);
      if (isJournalDead(fault)) throw fault;
      if (holdMs > 0 && isFault(fault, "UNREACHABLE")) {
        core.log.info({ err: fault, holdMs }, "a long poll brought no answer; asking for one at once");
        longPoll.heldInVain();
        await core.clock.sleep(waitAfterMs(fault, syncBackoff, 1), core.stopping);
        continue;
      }
      longPoll.away();
      failures++;
      state.onContact(fault);
      core.log.warn({ err: fault, failures }, "central could not be asked");
      waitMs = waitAfterMs(fault, syncBackoff, failures);
    }
    state.onRound({ at: isoTime(core.clock.now()), nextAt: isoTime(core.clock.now() + waitMs) });
    const gather = Math.max(0, startedAt + gatherMs - core.clock.monotonic());
    await pause(core, waitMs, { woken: failures > 0 ? undefined : woken, gatherMs: gather });
  }
}

/** Waits, but a wake-up (job done, slot free, order to sync) ends it: not before the shortest interval. After a failure only time counts. */
async function pause(
  core: AgentCore,
  waitMs: number,
  { woken, gatherMs: gather }: { readonly woken: Promise<void> | undefined; readonly gatherMs: number },
): Promise<void> {
  if (woken === undefined) return await core.clock.sleep(waitMs, core.stopping);
  const shortest = Math.min(waitMs, core.central.capabilities.longPoll ? gather : shortestMs);
  const from = core.clock.monotonic();
  await sleepUnless(core.clock, waitMs, woken, core.stopping);
  await core.clock.sleep(from + shortest - core.clock.monotonic(), core.stopping);
}

/** How long central may hold the next call: not while it has something to hear from us, nor beyond the end of a pause. */
function holdFor(core: AgentCore, state: SyncState, allowedMs: number): number {
  if (!core.central.capabilities.longPoll || answeredOrders(core).length > 0) return 0;
  return Math.max(0, Math.floor(Math.min(allowedMs, state.modeLastsMs())));
}

function answeredOrders(core: AgentCore) {
  return [...core.ledger.book.orders.values()].flatMap(({ order: { id }, result }) =>
    result === undefined ? [] : [{ id, result }],
  );
}

async function round(
  core: AgentCore,
  state: SyncState,
  call: {
    readonly epoch: number | undefined;
    readonly holdMs: number;
    readonly woken: Promise<void>;
    readonly told: string | undefined;
  },
): Promise<SyncResult | "interrupted"> {
  await resolveClaims(core, state);
  const { epoch, holdMs, woken, told } = call;
  const mode = state.mode();
  const refusal = mode === "running" ? state.refusal() : mode;
  const { book } = core.ledger;
  const offer =
    refusal === undefined
      ? offerOf(core.parts.site, [...core.open], book.claiming.size, core.clock.now())
      : { free: [], maxAssign: 0 };
  const answered = answeredOrders(core);
  const request = {
    agent_id: state.agentId,
    instance_id: state.instanceId,
    ...(epoch === undefined ? {} : { session_epoch: epoch }),
    ...(epoch !== undefined && told === core.parts.site.digest ? {} : { apps: appViews(core.parts.site) }),
    version: state.version,
    state: wireMode(mode),
    hold_ms: holdMs,
    free: offer.free,
    max_assign: Math.min(offer.maxAssign, 1000),
    held: [...core.open]
      .filter((job) => job.fenced === undefined)
      .map((job) => ({ job: job.id, epoch: job.epoch, seq: job.seq, state: job.state })),
    orders: answered,
    health: {
      problems: core.problems
        .list()
        .slice(0, mostProblems)
        .map((problem) => problem.what.slice(0, 150)),
      ...(refusal === undefined ? {} : { not_accepting: refusal }),
    },
  };
  await failpoint("claim.before-sync");
  // Only an answer that may be held is worth cutting; another one is on its way.
  const answer =
    holdMs > 0
      ? await interruptible(core, woken, (context) => core.central.synchronize(request, context))
      : await core.central.synchronize(request, core.context());
  if (answer === undefined) return "interrupted";
  await failpoint("claim.after-sync");
  state.onContact(undefined);
  if (answered.length > 0) {
    await failpoint("order.before-close");
    await core.ledger.commit(
      answered.map(({ id }) => record("order.closed", { id })),
      "group",
    );
    await failpoint("order.after-close");
  }
  await accept(core, state, answer);
  return answer;
}

/** A wake-up ends a long poll early: the answer that may have been on its way is given again by the next call. */
async function interruptible<T>(
  core: AgentCore,
  woken: Promise<void>,
  call: (context: CallContext) => Promise<T>,
): Promise<T | undefined> {
  const cut = new AbortController();
  const stop = (): void => cut.abort();
  void woken.then(stop);
  core.stopping.addEventListener("abort", stop, { once: true });
  if (core.stopping.aborted) stop();
  try {
    return await call(core.context(core.log, cut.signal));
  } catch (error) {
    if (cut.signal.aborted && !core.stopping.aborted) return undefined;
    throw error;
  } finally {
    core.stopping.removeEventListener("abort", stop);
  }
}

async function accept(core: AgentCore, state: SyncState, answer: SyncResult): Promise<void> {
  if (core.ledger.book.sessionEpoch !== answer.session_epoch) {
    await core.ledger.commit([record("agent.session", { epoch: answer.session_epoch })], "lazy");
  }
  if (answer.log_interval_ms < core.logIntervalMs) core.logWork.notify();
  core.logIntervalMs = answer.log_interval_ms;
  for (const order of answer.orders) {
    const changed = await carryOut(core, order);
    if (changed) state.onChanged(order.job);
  }
  for (const { job, reason } of answer.fenced) {
    if (await fence(core, job, reason)) state.onChanged(job);
  }
  await takeUnknown(core, state, answer.unknown);
  await showMissing(core, answer.missing);
  if (!answer.session_current) return;
  await takeAssigned(core, answer.assign, state);
  await claimCandidates(core, state, answer.candidates);
}

/** Plain dialect: intent, claim, read back, decide; one after the other, workflows in turn, until the room is used up. */
async function claimCandidates(core: AgentCore, state: SyncState, candidates: readonly Candidate[]): Promise<void> {
  for (const { job, spec } of fairly(candidates)) {
    if (core.stopping.aborted) return;
    const { book } = core.ledger;
    if (book.jobs.has(job) || book.claiming.has(job)) continue;
    const offer = offerOf(core.parts.site, [...core.open], book.claiming.size, core.clock.now());
    if (offer.maxAssign === 0 || !offer.free.some((free) => free.workflow === spec.workflow)) continue;
    await failpoint("claim.before-intent");
    await core.ledger.commit([record("claim.intent", { spec }, job)], "effect");
    await failpoint("claim.after-intent");
    await claimOne(core, state, job, spec);
  }
}

/**
 * Claims that were about to be sent when the last process ended, or got no clear answer: find out what became of them before
 * anything new is claimed. @throws Fault UNREACHABLE…: central does not answer; later.
 */
export async function resolveClaims(core: AgentCore, state: Pick<SyncState, "onTaken">): Promise<void> {
  for (const [job, spec] of [...core.ledger.book.claiming]) {
    if (core.stopping.aborted) return;
    try {
      await claimOne(core, state, job, spec);
    } catch (error) {
      const fault = asFault(error);
      if (!isFault(fault, "INVALID", "NOT_FOUND", "CONFLICT", "DEFECT")) throw fault;
      core.log.error({ err: fault, jobId: job }, "an intended claim is given up");
      await core.ledger.commit([record("claim.void", { reason: fault.message.slice(0, 500) }, job)], "group");
    }
  }
}

/** Sends one intended claim, or finds out what became of it. @throws Fault UNREACHABLE…: the intent stays and is resolved later. */
async function claimOne(core: AgentCore, state: Pick<SyncState, "onTaken">, job: string, spec: JobSpec): Promise<void> {
  await failpoint("claim.before-send");
  const answer = await core.central.claim(job, core.context());
  await failpoint("claim.after-send");
  if (answer.state === "won") {
    if (await takeJob(core, { job, opId: answer.opId, epoch: answer.epoch, spec })) state.onTaken(job);
    else await core.ledger.commit([record("claim.void", { reason: "not taken" }, job)], "group");
    return;
  }
  core.log.info({ jobId: job, reason: answer.reason }, "job was not claimed");
  await failpoint("claim.before-void");
  await core.ledger.commit([record("claim.void", { reason: answer.reason }, job)], "group");
  await failpoint("claim.after-void");
}

function fairly(candidates: readonly Candidate[]): Candidate[] {
  const queues = new Map<string, Candidate[]>();
  for (const candidate of candidates)
    queues.set(candidate.spec.workflow, [...(queues.get(candidate.spec.workflow) ?? []), candidate]);
  const ordered: Candidate[] = [];
  while (ordered.length < candidates.length) {
    for (const queue of queues.values()) {
      const next = queue.shift();
      if (next) ordered.push(next);
    }
  }
  return ordered;
}

function wireMode(mode: AgentMode): "starting" | "running" | "paused" | "draining" | "drained" | "stopping" {
  return mode === "reconciling" ? "starting" : mode;
}
