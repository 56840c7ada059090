import { failpoint } from "../../common/failpoint.ts";
import { Fault } from "../../common/fault.ts";
import { isoTime } from "../../common/clock.ts";
import type { JsonValue } from "../../common/json.ts";
import { resolveParameters } from "../../jobs/parameters.ts";
import { type HookName, retryDelayMs } from "../../jobs/rules.ts";
import type { JobWork } from "../driver.ts";
import type { HookOutcome } from "../../jobs/decide.ts";
import { type HeldJob, rulesOf } from "../held-job.ts";
import { outcomeOf, runHook } from "../hooks.ts";
import { objectValues } from "../plan.ts";
import { transition } from "../transition.ts";

/** Attempts in all after which a hook's wish for one more is refused (or the app's own `retry.attempts`, where that is more). */
export const mostAttempts = 100;

/** Runs the hook if the app has one, takes over what it set, and goes where its answer leads. */
export async function runHookStep(work: JobWork, hook: HookName): Promise<void> {
  const { core, id } = work;
  const job = work.job();
  if (job.app.hooks[hook] === undefined) {
    await transition(core, id, { type: "hook_done", hook, outcome: { kind: "continue" } });
    return;
  }
  await failpoint(`hook.before-${hook}`);
  const result = await runHook(work, hook);
  await failpoint(`hook.after-${hook}`);
  if (work.signal.aborted) return;
  const outcome = bounded(job, outcomeOf(hook, result));
  const changed = Object.keys(result.parameters).length > 0;
  const resolved = changed
    ? resolveParameters(
        job.app,
        { ...job.spec, object: objectValues(job.spec) },
        { ...job.parameters, ...(result.parameters as Record<string, JsonValue>) },
      )
    : undefined;
  if (resolved && !resolved.ok) {
    throw new Fault(
      "PARAMETERS",
      `hook '${hook}' set parameters that do not fit: ${resolved.problems.map((problem) => problem.message).join("; ")}`,
    );
  }
  await failpoint("hook.before-record");
  const delayMs = outcome.kind === "restart" ? retryDelayMs(Math.max(1, job.tries), rulesOf(job.app).retry) : 0;
  await transition(
    core,
    id,
    { type: "hook_done", hook, outcome },
    {
      patch: {
        data: { ...job.data, ...result.data },
        ...(resolved ? { parameters: resolved.values } : {}),
        ...(delayMs > 0 ? { not_before: isoTime(core.clock.now() + delayMs) } : {}),
      },
      ...(outcome.kind === "continue"
        ? {}
        : { message: `${hook}: ${outcome.kind === "fail" ? outcome.failure.message : outcome.reason}` }),
    },
  );
  await failpoint("hook.after-record");
}

/** A hook that always asks for another attempt does not get it for ever. */
function bounded(job: HeldJob, outcome: HookOutcome): HookOutcome {
  const most = Math.max(mostAttempts, job.app.retry.attempts);
  if (outcome.kind !== "restart" || job.attempt < most) return outcome;
  return {
    kind: "fail",
    failure: {
      code: "ATTEMPTS",
      category: "user",
      message: `a hook asked for another attempt after ${job.attempt}; allowed are ${most} in all`,
      hint: "let the hook answer fail or continue when nothing changes any more",
    },
  };
}
