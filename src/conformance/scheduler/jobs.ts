/** Jobs as the cases of the suite submit, follow and end them. */
import { join } from "node:path";
import { newToken, type Token } from "../../common/token.ts";
import type { Resources } from "../../jobs/app.ts";
import type {
  FindResult,
  OrderResult,
  Placement,
  ScheduledJob,
  ScheduledStatus,
  Scheduler,
  SubmitRequest,
  SubmitResult,
  Verdict,
} from "../../schedulers/types.ts";
import { equal, holds, NotKept } from "../check.ts";
import { callContext } from "../suite.ts";
import { waitFor } from "../wait.ts";

/** One scheduler in which jobs that ask for little start at once; the cases share it. */
export interface SchedulerHarness extends AsyncDisposable {
  readonly scheduler: Scheduler;
  /** Directory in which jobs may write; seen by nodes and by the cases under the same path. */
  readonly workdir: string;
  /** What a small job asks for here. */
  readonly small: {
    readonly resources: Resources;
    readonly walltimeS: number | undefined;
    readonly placement: Placement;
  };
  /** Native options with which a job waits for an hour or more and is not held. */
  readonly waiting: readonly string[];
  /** A queue that does not exist. */
  readonly wrongQueue: string;
  /** An id in the scheduler's form that no job ever had. */
  readonly neverUsedId: string;
  /** False where it has no holds: `hold` and `release` then refuse. */
  readonly holds?: boolean;
  /** Makes the scheduler unreachable until disposed. Left out where that cannot be done. */
  readonly outage?: () => Promise<AsyncDisposable>;
}

export const context = callContext();

/** A loaded machine takes its time to start and end jobs. */
export const patienceMs = 90_000;

/** Ended jobs are told for at least a minute, with their exit codes. */
export function canTell({ scheduler }: SchedulerHarness): boolean {
  return scheduler.capabilities.history !== "none";
}

export function request(harness: SchedulerHarness, body: string, more: Partial<SubmitRequest> = {}): SubmitRequest {
  const token = more.token ?? newToken();
  const log = logOf(harness, token);
  return { token, tasks: 1, ...harness.small, directory: harness.workdir, log, body, ...more };
}

export function logOf(harness: SchedulerHarness, token: Token): string {
  return join(harness.workdir, `${token}.log`);
}

export async function submitted(
  harness: SchedulerHarness,
  body: string,
  more: Partial<SubmitRequest> = {},
): Promise<ScheduledJob> {
  const before = Date.now();
  const job = jobOf((await harness.scheduler.submit([request(harness, body, more)], context))[0]);
  equal(job.task, undefined);
  holds(Date.parse(job.submittedAt) >= before - 1_000, `submittedAt is ${job.submittedAt}, before the submission`);
  return job;
}

export function jobOf(result: SubmitResult | undefined): ScheduledJob {
  if (result?.state !== "submitted") throw new NotKept(`not submitted: ${JSON.stringify(result)}`);
  return result.job;
}

export async function statusOne(scheduler: Scheduler, job: ScheduledJob): Promise<ScheduledStatus> {
  const statuses = await scheduler.statuses([job], context);
  equal(statuses.length, 1);
  const [status] = statuses;
  if (!status) throw new NotKept("no status");
  return status;
}

export async function until<State extends ScheduledStatus["state"]>(
  harness: SchedulerHarness,
  job: ScheduledJob,
  state: State,
): Promise<Extract<ScheduledStatus, { state: State }>> {
  let last: ScheduledStatus | undefined;
  return await waitFor(
    async () => {
      last = await statusOne(harness.scheduler, job);
      return last.state === state ? (last as Extract<ScheduledStatus, { state: State }>) : undefined;
    },
    { what: () => `${state}; last: ${JSON.stringify(last)}`, timeoutMs: patienceMs, intervalMs: 150 },
  );
}

/** Waits for its end; its verdict, or undefined where it is gone without one (only without history, or when it never began). */
export async function over(harness: SchedulerHarness, job: ScheduledJob): Promise<Verdict | undefined> {
  let last: ScheduledStatus | undefined;
  const status = await waitFor(
    async () => {
      last = await statusOne(harness.scheduler, job);
      return last.state === "ended" || last.state === "absent" ? last : undefined;
    },
    { what: () => `the end; last: ${JSON.stringify(last)}`, timeoutMs: patienceMs, intervalMs: 150 },
  );
  return status.state === "ended" ? status.verdict : undefined;
}

/** Cancels it and waits for its end. */
export async function cancelled(harness: SchedulerHarness, job: ScheduledJob): Promise<void> {
  equal(await orderOne(harness.scheduler.cancel([job], context)), { state: "requested" });
  const verdict = await over(harness, job);
  if (verdict) equal(verdict.kind, "cancelled");
}

export async function orderOne(results: Promise<readonly OrderResult[]>): Promise<OrderResult> {
  const [result, ...more] = await results;
  equal(more, []);
  if (!result) throw new NotKept("no result");
  return result;
}

export async function findOne(scheduler: Scheduler, token: Token): Promise<FindResult> {
  const [result] = await scheduler.find([{ token, since: minutesAgo(10) }], context);
  if (!result) throw new NotKept("no result");
  return result;
}

export function idsOf(result: FindResult | undefined): readonly string[] {
  if (result?.state !== "found") throw new NotKept(`not found: ${JSON.stringify(result)}`);
  for (const job of result.jobs) equal(job.task, undefined);
  return result.jobs.map(({ id }) => id);
}

export function endsWith(text: string, end: string): string | undefined {
  return text.endsWith(end) ? text : undefined;
}

export function minutesAgo(minutes: number): string {
  return new Date(Date.now() - minutes * 60_000).toISOString();
}
