/**
 * Between the agent and a site's own scheduler or launcher: an answer that is none of the contract's becomes the one that claims nothing
 * (`unclear`, `unknown`), so that a slip there starts nothing twice and ends nothing that is not over.
 */
import { z } from "zod";
import { asFault, Fault } from "../common/fault.ts";
import type { AttemptStatus, Launcher, LaunchResult, StopResult } from "../launchers/types.ts";
import type { FindResult, OrderResult, ScheduledStatus, Scheduler, SubmitResult } from "../schedulers/types.ts";

const text = z.string();
const state = <State extends string, Shape extends z.ZodRawShape>(name: State, shape?: Shape) =>
  z.looseObject({ state: z.literal(name), ...shape });
const oneOf = (...options: readonly z.ZodType[]): z.ZodType => z.union(options);

const job = z.looseObject({ id: text, token: text, submittedAt: z.iso.datetime({ offset: true }) });
const verdictKinds = [
  "completed",
  "failed",
  "cancelled",
  "timeout",
  "oom",
  "node",
  "preempted",
  "launch",
  "limit",
] as const;
const verdict = z.looseObject({
  kind: z.enum(verdictKinds),
  exitCode: z.int().optional(),
  raw: text,
  source: z.enum(["queue", "accounting"]),
});

const submitResult = oneOf(
  state("submitted", { job }),
  state("rejected", { reason: text }),
  state("limited", { reason: text }),
  state("unclear", { why: text }),
);
const findResult = oneOf(
  state("found", { jobs: z.array(job).min(1) }),
  state("absent"),
  state("unknown", { why: text }),
);
const scheduledStatus = oneOf(
  state("queued"),
  state("running"),
  state("finishing"),
  state("ended", { verdict }),
  state("absent"),
  state("unknown", { why: text }),
);
const orderResult = oneOf(
  state("requested"),
  state("over"),
  state("refused", { reason: text }),
  state("unknown", { why: text }),
);

const handle = z.looseObject({ adapter: text, version: z.int(), data: z.record(text, z.json()) });
const attemptEnd = z.looseObject({ cause: text, ended_at: text });
const launchResult = oneOf(
  state("accepted", { handle }),
  state("refused", { end: attemptEnd }),
  state("busy", { reason: text }),
  state("unknown", { why: text }),
);
const tier = z.enum(["cgroup", "unit", "subreaper", "group", "scheduler", "never-started"]);
const attemptStatus = oneOf(
  state("queued"),
  state("running", { since: text }),
  state("ended", { end: attemptEnd, remaining: z.array(z.int()), tier }),
  state("absent"),
  state("unknown", { why: text }),
);
const stopResult = oneOf(
  state("stopping"),
  state("gone", { tier }),
  state("remaining", { pids: z.array(z.int()) }),
  state("unknown", { why: text }),
);

/** A site's own scheduler, called `name` in messages. */
export function guardedScheduler(name: string, own: Scheduler): Scheduler {
  const says = guard(`scheduler '${name}'`);
  const unknown = (why: string) => ({ state: "unknown", why }) as const;
  return {
    kind: own.kind,
    get capabilities() {
      return own.capabilities;
    },
    probe: (context) => probed(own, context),
    render: (request) => own.render(request),
    submit: (requests, context) =>
      says<SubmitResult>(
        requests,
        submitResult,
        () => own.submit(requests, context),
        (why) => ({ state: "unclear", why }),
      ),
    find: (wanted, context) => says<FindResult>(wanted, findResult, () => own.find(wanted, context), unknown),
    statuses: (jobs, context) =>
      says<ScheduledStatus>(jobs, scheduledStatus, () => own.statuses(jobs, context), unknown),
    cancel: (jobs, context) => says<OrderResult>(jobs, orderResult, () => own.cancel(jobs, context), unknown),
    hold: (jobs, context) => says<OrderResult>(jobs, orderResult, () => own.hold(jobs, context), unknown),
    release: (jobs, context) => says<OrderResult>(jobs, orderResult, () => own.release(jobs, context), unknown),
    [Symbol.asyncDispose]: async () => own[Symbol.asyncDispose](),
  };
}

/** A site's own launcher. */
export function guardedLauncher(name: string, own: Launcher): Launcher {
  const says = guard(`launcher '${name}'`);
  const unknown = (why: string) => ({ state: "unknown", why }) as const;
  return {
    kind: own.kind,
    get capabilities() {
      return own.capabilities;
    },
    get trouble() {
      return own.trouble;
    },
    probe: (context) => probed(own, context),
    launch: (plans, context) => says<LaunchResult>(plans, launchResult, () => own.launch(plans, context), unknown),
    find: (refs, context) => own.find(refs, context),
    statuses: (refs, context) =>
      says<AttemptStatus>(
        refs,
        attemptStatus,
        () => own.statuses(refs, context),
        (why) => ({
          state: "unknown",
          why: "unrecognised",
          raw: why,
        }),
      ),
    stop: (refs, how, context) => says<StopResult>(refs, stopResult, () => own.stop(refs, how, context), unknown),
    watch: (onChange) => own.watch(onChange),
    [Symbol.asyncDispose]: async () => own[Symbol.asyncDispose](),
  };
}

/** One answer for each item, of those that the schema knows; what is none becomes `otherwise`. */
function guard(who: string) {
  return async function says<Result>(
    items: readonly unknown[],
    schema: z.ZodType,
    ask: () => Promise<readonly unknown[]>,
    otherwise: (why: string) => Result,
  ): Promise<readonly Result[]> {
    const given = await asked(ask);
    const results: readonly unknown[] = Array.isArray(given) && given.length === items.length ? given : [];
    return items.map((_, index) => {
      const result = results[index];
      if (schema.safeParse(result).success) return result as Result;
      return otherwise(`${who} gave no answer of its contract: ${JSON.stringify(result ?? given)?.slice(0, 300)}`);
    });
  };
}

/** What it answers. Faults are its way to say that nothing could be asked; any other error is a slip, and what it did by then is not known. */
async function asked(ask: () => Promise<readonly unknown[]>): Promise<unknown> {
  try {
    return await ask();
  } catch (error) {
    if (error instanceof Fault) throw error;
    return String(error);
  }
}

async function probed(
  own: Pick<Scheduler, "probe">,
  context: Parameters<Scheduler["probe"]>[0],
): ReturnType<Scheduler["probe"]> {
  try {
    return await own.probe(context);
  } catch (error) {
    return { ok: false, reason: asFault(error).message };
  }
}
