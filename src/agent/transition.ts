import { isoTime } from "../common/clock.ts";
import type { Clock } from "../common/clock.ts";
import type { Logger } from "../common/logger.ts";
import type { Durability } from "../journal/types.ts";
import { decide, type JobCore, type JobEvent, nextStep } from "../jobs/decide.ts";
import type { Hold, JobState, Phase } from "../jobs/states.ts";
import { isFinal } from "../jobs/transitions.ts";
import type { OutputFile } from "../wire/common.ts";
import { type HeldJob, rulesOf } from "./held-job.ts";
import type { Ledger } from "./ledger.ts";
import type { KeyedMutex } from "./mutex.ts";
import type { Notifier } from "./notifier.ts";
import { discreet, reportOf } from "./report.ts";
import { isRisky } from "./risky.ts";
import type { ManifestPage } from "./manifest-file.ts";
import { type AgentRecord, record, type RecordKinds } from "./records.ts";

export interface TransitionDeps {
  readonly ledger: Ledger;
  readonly clock: Clock;
  readonly log: Logger;
  /** There is something to send. */
  readonly outboxWork: Notifier;
  /** A job changed: capacity, status and watchers look again. */
  readonly changed: Notifier;
  /** What central may be told (`agent.report` of the site file). */
  reportDetail(): "minimal" | "full";
  /** Outputs that one report may tell; those of a job that has more come in several. */
  outputsAtOnce(): number;
  /** Driver, orders and fencing change the same job: one at a time, or two reports would get one number. */
  readonly jobLock: KeyedMutex;
}

export interface TransitionExtras {
  /** Other fields that change with it, durable in the same record. `undefined` removes an optional field. */
  readonly patch?: Partial<Omit<HeldJob, keyof JobCore | "id" | "seq" | "history">>;
  /** One line for people, in the history and in the report. */
  readonly message?: string;
  readonly outputs?: readonly OutputFile[];
  /** How many outputs there are, where central gets no list of all. */
  readonly outputsCount?: number;
  /** Outputs that are told before those, a page in a report. */
  readonly outputPages?: readonly ManifestPage[];
  /** Recorded and reported although nothing but the message is new. */
  readonly repeat?: boolean;
  readonly durability?: Durability;
  /** Looked at when it is this change's turn: false = nothing happens. For changes that another one may have overtaken. */
  readonly when?: (job: HeldJob) => boolean;
}

/**
 * The only place where a held job's state changes: decide, journal (state and reports in one group, so that a report exists if
 * and only if the change does), memory, wake the outbox, log once.
 * @throws Fault ILLEGAL_TRANSITION, JOURNAL.
 */
export async function transition(
  deps: TransitionDeps,
  id: string,
  events: JobEvent | readonly JobEvent[] | ((job: HeldJob) => readonly JobEvent[]),
  extras: TransitionExtras = {},
): Promise<HeldJob> {
  return await deps.jobLock.run(id, () => change(deps, id, events, extras));
}

/**
 * Takes a job that was won, together with its first change and report in one group: a job in the journal without the report that
 * binds it would wait for ever.
 */
export async function begin(
  deps: TransitionDeps,
  held: HeldJob,
  event: JobEvent,
  extras: TransitionExtras = {},
): Promise<HeldJob> {
  return await deps.jobLock.run(held.id, () =>
    commitChange(deps, held, event, { durability: "effect", ...extras }, [record("job.held", { job: held }, held.id)]),
  );
}

async function change(
  deps: TransitionDeps,
  id: string,
  events: Parameters<typeof transition>[2],
  extras: TransitionExtras,
): Promise<HeldJob> {
  const before = heldJob(deps.ledger, id);
  if (extras.when?.(before) === false) return before;
  return await commitChange(deps, before, typeof events === "function" ? events(before) : events, extras, []);
}

async function commitChange(
  deps: TransitionDeps,
  before: HeldJob,
  events: JobEvent | readonly JobEvent[],
  extras: TransitionExtras,
  leading: readonly AgentRecord[],
): Promise<HeldJob> {
  const { id } = before;
  const at = isoTime(deps.clock.now());
  let core: JobCore = before;
  const passed: { state: JobState; phase: Phase; hold: Hold | undefined; attempt: number }[] = [];
  for (const event of Array.isArray(events) ? (events as readonly JobEvent[]) : [events as JobEvent]) {
    const decision = decide(core, event, rulesOf(before.app));
    for (const state of decision.path.slice(0, -1))
      passed.push({ state, phase: "none", hold: undefined, attempt: decision.job.attempt });
    core = decision.job;
    passed.push({ state: core.state, phase: core.phase, hold: core.hold, attempt: core.attempt });
  }
  const steps = extras.repeat === true ? passed : withoutRepeats(before, passed);
  const reports = before.fenced === undefined ? reportsOf(deps, before, core, steps, at, extras) : [];
  const history = steps.map((step) => ({
    at,
    state: step.state,
    phase: step.phase,
    attempt: step.attempt,
    ...(extras.message === undefined ? {} : { message: extras.message }),
  }));
  const patch: Record<string, unknown> = {
    ...changesOf(before, core),
    ...nulled(extras.patch ?? {}),
    updated_at: at,
    seq: before.seq + reports.length,
    ...(core.state === before.state ? {} : { step_tries: 0 }),
    ...(nextStep(core) === nextStep(before) ? {} : enteredPatch(before, core)),
    ...(isFinal(core.state) ? { ended_at: at } : {}),
  };
  const entries: AgentRecord[] = [
    ...leading,
    record("job.change", { patch, history }, id),
    ...reports.map((put) => record("out.put", put, id)),
  ];
  await deps.ledger.commit(entries, extras.durability ?? "report");
  if (reports.length > 0) deps.outboxWork.notify();
  deps.changed.notify(id);
  const last = steps.at(-1);
  if (last) {
    const via = steps.slice(0, -1).map((step) => step.state);
    deps.log.info(
      {
        jobId: id,
        from: before.state,
        ...(via.length === 0 ? {} : { via }),
        to: last.state,
        phase: last.phase,
        attempt: last.attempt,
        hold: last.hold?.reason,
        message: extras.message,
      },
      "job changed",
    );
  }
  return heldJob(deps.ledger, id);
}

/** A report for each step; before them those that tell outputs which are too many for the last one. */
function reportsOf(
  deps: TransitionDeps,
  before: HeldJob,
  core: JobCore,
  steps: readonly Passed[],
  at: string,
  extras: TransitionExtras,
): readonly RecordKinds["out.put"][] {
  const { outputs = [], outputPages = [] } = extras;
  const atOnce = deps.outputsAtOnce();
  const rest = isFinal(core.state) ? Math.max(0, outputs.length - atOnce) : 0;
  const early: OutputFile[][] = [];
  for (let from = 0; from < rest; from += atOnce) early.push(outputs.slice(from, Math.min(from + atOnce, rest)));
  const now: Passed = { state: before.state, phase: before.phase, hold: before.hold, attempt: before.attempt };
  const last = early.length === 0 ? extras : { ...extras, outputs: outputs.slice(rest) };
  const pages = isFinal(core.state) ? outputPages : [];
  let { seq } = before;
  const puts: RecordKinds["out.put"][] = [
    ...pages.map((page) => ({ report: reportOf(before, before, now, ++seq, at, {}), page })),
    ...early.map((some) => ({ report: { ...reportOf(before, before, now, ++seq, at, {}), outputs: some } })),
    ...steps.map((step) => ({ report: reportOf(before, core, step, ++seq, at, last) })),
  ];
  return puts.map((put) => ({ ...put, report: discreet(put.report, deps.reportDetail()) }));
}

/**
 * What the record says of the step that comes next: a risky one is marked with the change that leads to it, which saves a record and a
 * sync of its own. Not for a job that waits (for its binding or a hold): its step does not begin now.
 */
function enteredPatch(before: HeldJob, after: JobCore): Record<string, unknown> {
  const step = nextStep(after);
  if (before.bound && before.fenced === undefined && after.hold === undefined && isRisky(before, step))
    return { entered: { step, deaths: 0 } };
  return before.entered === undefined ? {} : { entered: null };
}

/** Changes fields without a state change and without a report; nothing when `when` says no at its turn. */
export async function amend(
  deps: Pick<TransitionDeps, "ledger" | "changed" | "jobLock">,
  id: string,
  patch: TransitionExtras["patch"] & object,
  durability: Durability,
  when?: (job: HeldJob) => boolean,
): Promise<HeldJob> {
  return await deps.jobLock.run(id, async () => {
    if (when?.(heldJob(deps.ledger, id)) === false) return heldJob(deps.ledger, id);
    await deps.ledger.commit([record("job.change", { patch: nulled(patch) }, id)], durability);
    deps.changed.notify(id);
    return heldJob(deps.ledger, id);
  });
}

/** @throws Error when the job is not in the book: a defect of the caller. */
export function heldJob(ledger: Ledger, id: string): HeldJob {
  const job = ledger.book.jobs.get(id);
  if (!job) throw new Error(`job '${id}' is not held`);
  return job;
}

export type Passed = {
  readonly state: JobState;
  readonly phase: Phase;
  readonly hold: Hold | undefined;
  readonly attempt: number;
};

function withoutRepeats(before: HeldJob, passed: readonly Passed[]): Passed[] {
  let last: Passed = { state: before.state, phase: before.phase, hold: before.hold, attempt: before.attempt };
  const kept: Passed[] = [];
  for (const step of passed) {
    if (step.state === last.state && step.phase === last.phase && sameHold(step.hold, last.hold)) continue;
    kept.push(step);
    last = step;
  }
  return kept;
}

function sameHold(a: Hold | undefined, b: Hold | undefined): boolean {
  return a?.kind === b?.kind && a?.reason === b?.reason && a?.tries === b?.tries;
}

/** The fields of the core that differ, removed ones as null. */
function changesOf(before: JobCore, after: JobCore): Record<string, unknown> {
  const keys = ["state", "phase", "hold", "attempt", "tries", "end", "verdict", "hooks_done"] as const;
  return Object.fromEntries(keys.filter((key) => before[key] !== after[key]).map((key) => [key, after[key] ?? null]));
}

function nulled(patch: object): Record<string, unknown> {
  return Object.fromEntries(Object.entries(patch).map(([key, value]) => [key, value ?? null]));
}
