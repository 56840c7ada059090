import type { Handle } from "../../common/adapter.ts";
import { cutShort } from "../../common/clock.ts";
import { failpoint } from "../../common/failpoint.ts";
import { Fault } from "../../common/fault.ts";
import { decide, type JobCore, type JobEvent, nextStep, type Step } from "../../jobs/decide.ts";
import type { AttemptEnd } from "../../jobs/states.ts";
import type { AttemptRef, AttemptStatus, Launcher, LaunchResult, StopResult } from "../../launchers/types.ts";
import type { JobWork } from "../driver.ts";
import { isSuspended, stuckReason } from "../follower.ts";
import { currentAttempt, type HeldAttempt, type HeldJob, rulesOf } from "../held-job.ts";
import { isRisky } from "../risky.ts";
import { amend, transition } from "../transition.ts";

const busyWaitMs = 2_000;
/** How often processes that outlived their attempt are ended again. */
const remainingWaitMs = 5_000;
/** An attempt that ends sooner needs no record of its handle. */
const soonMs = 100;

/** Hands the planned attempt to the launcher where that has not happened, then follows it until something changes. */
export async function follow(work: JobWork): Promise<void> {
  const { core, id, signal } = work;
  const job = work.job();
  const { attempt, launcher } = attemptOf(work, job);
  const isThere = job.state === "RUNNING" || attempt.handle !== undefined;
  const handle = isThere ? attempt.handle : await handOver(work, launcher, attempt);
  if (!isThere && handle === undefined) return;
  const now = work.job();
  if (currentAttempt(now)?.end !== undefined) return;
  const ref = { ...refOf(attempt), handle };
  const isWanted = (seen: AttemptStatus): seen is News => isNews(seen, now);
  let status = isThere ? undefined : await soon(work, (cut) => core.follower(launcher).wait(ref, isWanted, cut));
  // Nobody is told of it; the change that is reported next is synced, and this record before it with it.
  if (!isThere && status === undefined) await amend(core, id, { attempts: withHandle(work.job(), ref) }, "group");
  status ??= await core.follower(launcher).wait(ref, isWanted, signal);
  if (status !== undefined) await take(work, launcher, ref, status);
}

/** What comes at once, or undefined: then the handle is recorded with it, and not before. */
async function soon<Value>(work: JobWork, wait: (cut: AbortSignal) => Promise<Value>): Promise<Value | undefined> {
  const cut = new AbortController();
  const stop = (): void => cut.abort(cutShort);
  work.signal.addEventListener("abort", stop, { once: true });
  if (work.signal.aborted) stop();
  void work.core.clock.sleep(soonMs, cut.signal).then(stop);
  const value = await wait(cut.signal);
  stop();
  work.signal.removeEventListener("abort", stop);
  return value;
}

function withHandle(job: HeldJob, { token, handle }: AttemptRef): readonly HeldAttempt[] {
  return job.attempts.map((other) => (other.token === token ? { ...other, handle } : other));
}

/** The attempt that is under way and its launcher. @throws Fault RUNNER when the target is gone from the site file. */
export function attemptOf(work: JobWork, job: HeldJob): { attempt: HeldAttempt; launcher: Launcher } {
  const attempt = currentAttempt(job);
  if (!attempt) throw new Fault("DEFECT", `job '${job.id}' in state '${job.state}' has no attempt`);
  const launcher = work.core.launcher(job.target);
  if (!launcher) {
    throw new Fault(
      "RUNNER",
      `target '${job.target}' is not in the site file any more; its attempt cannot be followed`,
      { hint: "put the target back and reload" },
    );
  }
  return { attempt, launcher };
}

export function refOf(attempt: HeldAttempt): AttemptRef {
  const { token, directory, handle, plan } = attempt;
  const { container, environment } = plan;
  return { token, directory, handle, ...(container ? { container, environment } : {}) };
}

/** The job's attempts with the current one's end filled in. It is launched no more: its environment need not be kept. */
export function withEnd(job: HeldJob, end: AttemptEnd): readonly HeldAttempt[] {
  return job.attempts.map((attempt) =>
    attempt.attempt === job.attempt ? { ...attempt, plan: { ...attempt.plan, environment: {} }, end } : attempt,
  );
}

/** The handle when the launcher has it. After an unclear answer or a restart the launcher is asked whether it exists before it is launched again. */
async function handOver(work: JobWork, launcher: Launcher, attempt: HeldAttempt): Promise<Handle | undefined> {
  const { core, id } = work;
  // Not the step's signal: a launch under way is finished and known, also when the job is being cancelled.
  const context = core.context(work.context.log);
  const isFresh = core.fresh.delete(attempt.token);
  const [found] = isFresh ? [undefined] : await launcher.find([refOf(attempt)], context);
  await failpoint("start.before-launch");
  const result: LaunchResult = found
    ? { state: "accepted", handle: found }
    : await core.launch(launcher, attempt.plan, context);
  await failpoint("start.after-launch");
  switch (result.state) {
    case "accepted":
      return result.handle;
    case "refused":
      await transition(
        core,
        id,
        { type: "ended", end: result.end },
        {
          patch: { attempts: withEnd(work.job(), result.end) },
          message: result.end.message ?? "the launcher refused the attempt",
        },
      );
      return undefined;
    case "busy":
      work.context.log.info({ reason: result.reason }, "the launcher is busy");
      core.fresh.add(attempt.token);
      // Once may be a place that was taken meanwhile. A quota that lasts is shown, and tried less and less often.
      if (work.job().step_tries > 0) throw new Fault("RATE_LIMITED", `no room now: ${result.reason}`);
      await amend(core, id, { step_tries: 1 }, "lazy");
      await core.clock.sleep(busyWaitMs, work.signal);
      return undefined;
    case "unknown":
      work.context.log.warn(
        { why: result.why },
        "no clear answer to a launch; the launcher will be asked for the attempt",
      );
      // Once may be a runner that was just killed. Again and again is for a person: shown as blocked, with the reason.
      if (work.job().step_tries > 0) {
        throw new Fault("RUNNER", `the launcher gives no clear answer: ${result.why}`, {
          hint: "look into runner.log in the state directory, or into the journal of siteagent-runner",
        });
      }
      await amend(core, id, { step_tries: 1 }, "group");
      await core.clock.sleep(busyWaitMs, work.signal);
      return undefined;
  }
}

/** What tells something that the job does not say yet. */
type News = Exclude<AttemptStatus, { readonly state: "unknown" }>;

function isNews(status: AttemptStatus, job: HeldJob): status is News {
  switch (status.state) {
    case "ended":
    case "absent":
      return true;
    case "running":
      return job.state !== "RUNNING" || isSuspended(status) !== (job.phase === "suspended");
    case "queued":
      return job.state !== "RUNNING" && (job.phase !== "queued" || isStuckAnew(status, job));
    case "unknown":
      return false;
  }
}

/** It came to be held, or the like, after it was queued: people are told once. */
function isStuckAnew(status: AttemptStatus, job: HeldJob): boolean {
  const reason = stuckReason(status);
  return reason !== undefined && job.history.at(-1)?.message !== reason;
}

async function take(work: JobWork, launcher: Launcher, ref: AttemptRef, status: News): Promise<void> {
  const { core, id } = work;
  const isRecorded = currentAttempt(work.job())?.handle !== undefined;
  const patch = isRecorded ? {} : { patch: { attempts: withHandle(work.job(), ref) } };
  switch (status.state) {
    case "queued":
      await transition(
        core,
        id,
        { type: "queued" },
        // The second time only what it says is new.
        { ...patch, repeat: true, ...(status.reason === undefined ? {} : { message: status.reason }) },
      );
      return;
    case "running":
      if (work.job().state === "RUNNING") {
        const type = isSuspended(status) ? "suspended" : "continued";
        await transition(core, id, { type }, { message: `the attempt is ${type}` });
        return;
      }
      await failpoint("start.before-running");
      await transition(core, id, { type: "started" }, patch);
      await failpoint("start.after-running");
      return;
    case "absent":
      if (work.job().state === "RUNNING")
        throw new Fault("RUNNER", "the launcher knows nothing of an attempt that ran", {
          hint: `look at ${ref.directory}`,
        });
      await amend(
        core,
        id,
        {
          attempts: work
            .job()
            .attempts.map((other) => (other.token === ref.token ? { ...other, handle: undefined } : other)),
        },
        "group",
      );
      return;
    case "ended":
      if (!(await provenDead(work, launcher, ref, status.remaining))) return;
      await failpoint("end.before-record");
      await transition(core, id, (job) => eventsOfEnd(job, status.end), {
        patch: { attempts: withEnd(work.job(), status.end) },
        outputs: [],
        ...(status.end.message === undefined ? {} : { message: status.end.message }),
      });
      core.logWork.notify();
      await failpoint("end.after-record");
      return;
  }
}

/** Shows what lives although it was killed (a process that waits for a dead file system), until it is gone. Its slot stays taken. */
export function noteUnkillable(work: JobWork, result: StopResult | undefined): void {
  const { core, id } = work;
  if (result?.state !== "remaining") {
    core.unkillable.delete(id);
    core.problems.clear(`unkillable:${id}`);
    return;
  }
  const who = result.why ?? result.pids.join(", ");
  core.unkillable.set(id, who);
  core.problems.set(
    `unkillable:${id}`,
    `processes of job '${id}' cannot be killed: ${who}`,
    "look at the file systems and devices that they wait for; the job's slot is free when they are gone",
  );
}

/**
 * The end, and with it the steps in which nothing would be done: that of a handler that the app does not have, after a success also that of
 * the outputs. One record and one sync for what would be three.
 */
function eventsOfEnd(job: HeldJob, end: AttemptEnd): readonly JobEvent[] {
  const events: JobEvent[] = [{ type: "ended", end }];
  const next = (): Step =>
    nextStep(events.reduce((after, event) => decide(after, event, rulesOf(job.app)).job, job as JobCore));
  const step = next();
  if (step !== "postprocess" && step !== "handle_error" && step !== "handle_timeout") return events;
  if (job.app.hooks[step] !== undefined) return events;
  events.push({ type: "hook_done", hook: step, outcome: { kind: "continue" } });
  // Whoever pauses the job, or what is to be said of its end, comes before its last step.
  const goesOn = job.hold === undefined && job.quarantined === undefined && end.message === undefined;
  if (goesOn && next() === "stage_out" && !isRisky(job, "stage_out"))
    events.push({ type: "outputs_staged" }, { type: "finished" });
  return events;
}

/** Ends what outlived the attempt; false when the step was interrupted before nothing was left. */
export async function provenDead(
  work: JobWork,
  launcher: Launcher,
  ref: AttemptRef,
  remaining: readonly number[],
): Promise<boolean> {
  let left = remaining;
  while (left.length > 0) {
    work.context.log.warn({ pids: left }, "processes outlived their attempt; ending them");
    const context = work.core.context(work.context.log);
    const [result] = await launcher.stop([ref], { graceMs: 1_000, reason: "left over by an ended attempt" }, context);
    noteUnkillable(work, result);
    if (result?.state === "gone") return true;
    await work.core.clock.sleep(remainingWaitMs, work.signal);
    if (work.signal.aborted) return false;
    const [status] = await launcher.statuses([ref], context);
    if (status?.state === "ended") left = status.remaining;
  }
  noteUnkillable(work, undefined);
  return true;
}
