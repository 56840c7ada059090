import { failpoint } from "../../common/failpoint.ts";
import type { AttemptEnd } from "../../jobs/states.ts";
import type { AttemptRef, AttemptStatus, Launcher } from "../../launchers/types.ts";
import type { JobWork } from "../driver.ts";
import { currentAttempt, hasLiveAttempt } from "../held-job.ts";
import { transition } from "../transition.ts";
import { attemptOf, noteUnkillable, provenDead, refOf, withEnd } from "./follow.ts";

const askAgainMs = 5_000;
/** How often it is asked whether what is being stopped can be stopped at all. */
const stillThereMs = 15_000;

/** Carries out a cancel: TERM, grace, KILL, verify; CANCELLED only when nothing is left, proven. */
export async function stop(work: JobWork): Promise<void> {
  const { core, id } = work;
  const job = work.job();
  const reason = job.hold?.reason ?? "cancelled";
  if (!hasLiveAttempt(job)) {
    await failpoint("cancel.before-record");
    await transition(core, id, { type: "proven_gone", reason }, { message: reason });
    await failpoint("cancel.after-record");
    return;
  }
  const { attempt, launcher } = attemptOf(work, job);
  const ref = refOf(attempt);
  const context = core.context(work.context.log);
  await failpoint("cancel.before-stop");
  const [result] = await launcher.stop([ref], { graceMs: job.app.grace, reason }, context);
  await failpoint("cancel.after-stop");
  noteUnkillable(work, result);
  if (result?.state !== "stopping" && result?.state !== "gone") {
    work.context.log.warn({ result }, "the attempt could not be stopped yet");
    await core.clock.sleep(askAgainMs, work.signal);
    return;
  }
  const status = await endOf(work, launcher, ref, { graceMs: job.app.grace, reason });
  if (status === undefined) return;
  const end: AttemptEnd =
    status.state === "ended"
      ? status.end
      : {
          cause: "cancelled",
          evidence: "never-started",
          ended_at: new Date(core.clock.now()).toISOString(),
          message: "cancelled before it started",
        };
  if (status.state === "ended" && !(await provenDead(work, launcher, ref, status.remaining))) return;
  if (currentAttempt(work.job())?.token !== attempt.token) return;
  await failpoint("cancel.before-record");
  await transition(
    core,
    id,
    { type: "proven_gone", reason },
    { patch: { attempts: withEnd(work.job(), end) }, message: reason },
  );
  await failpoint("cancel.after-record");
}

/** Waits for the end of what is being stopped, and asks now and then how that goes; undefined when the step was interrupted. */
async function endOf(
  work: JobWork,
  launcher: Launcher,
  ref: AttemptRef,
  how: { readonly graceMs: number; readonly reason: string },
): Promise<AttemptStatus | undefined> {
  const { core } = work;
  const follower = core.follower(launcher);
  while (!work.signal.aborted) {
    const pause = new AbortController();
    void core.clock.sleep(stillThereMs, pause.signal).then(() => pause.abort());
    const signal = AbortSignal.any([work.signal, pause.signal]);
    const status = await follower.wait(ref, (seen) => seen.state === "ended" || seen.state === "absent", signal);
    pause.abort();
    if (status !== undefined || work.signal.aborted) return status;
    const [result] = await launcher.stop([ref], how, core.context(work.context.log));
    noteUnkillable(work, result);
  }
  return undefined;
}
