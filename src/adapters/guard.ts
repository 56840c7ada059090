/**
 * Between the agent and a site's own scheduler or launcher: an answer that is none of the contract's becomes the one that claims nothing
 * (`unclear`, `unknown`), so that a slip there starts nothing twice and ends nothing that is not over.
 */
import { z } from "zod";
import { asFault, Fault } from "../common/fault.ts";
import type { Host, HostFiles } from "../hosts/types.ts";
import type { AttemptStatus, Launcher, LaunchResult, StopResult } from "../launchers/types.ts";
import {
  type FindResult,
  type OrderResult,
  type ScheduledStatus,
  type Scheduler,
  type SubmitResult,
  verdictKinds,
} from "../schedulers/types.ts";
import type { Current } from "./current.ts";

const text = z.string();
const state = <State extends string, Shape extends z.ZodRawShape>(name: State, shape?: Shape) =>
  z.looseObject({ state: z.literal(name), ...shape });
const oneOf = (...options: readonly z.ZodType[]): z.ZodType => z.union(options);

const job = z.looseObject({ id: text, token: text, submittedAt: z.iso.datetime({ offset: true }) });
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
export function guardedScheduler(name: string, current: Current<Scheduler>): Scheduler {
  const says = guard(`scheduler '${name}'`);
  const unknown = (why: string) => ({ state: "unknown", why }) as const;
  return {
    kind: name,
    get capabilities() {
      return current.adapter.capabilities;
    },
    probe: (context) => probed(current.adapter, context),
    render: (request) => current.adapter.render(request),
    submit: (requests, context) =>
      says<SubmitResult>(
        requests,
        submitResult,
        () => current.adapter.submit(requests, context),
        (why) => ({ state: "unclear", why }),
      ),
    find: (wanted, context) =>
      says<FindResult>(wanted, findResult, () => current.adapter.find(wanted, context), unknown),
    statuses: (jobs, context) =>
      says<ScheduledStatus>(jobs, scheduledStatus, () => current.adapter.statuses(jobs, context), unknown),
    cancel: (jobs, context) =>
      says<OrderResult>(jobs, orderResult, () => current.adapter.cancel(jobs, context), unknown),
    hold: (jobs, context) => says<OrderResult>(jobs, orderResult, () => current.adapter.hold(jobs, context), unknown),
    release: (jobs, context) =>
      says<OrderResult>(jobs, orderResult, () => current.adapter.release(jobs, context), unknown),
    [Symbol.asyncDispose]: () => current[Symbol.asyncDispose](),
  };
}

/** A site's own launcher. */
export function guardedLauncher(name: string, current: Current<Launcher>): Launcher {
  const says = guard(`launcher '${name}'`);
  const unknown = (why: string) => ({ state: "unknown", why }) as const;
  return {
    kind: name,
    get capabilities() {
      return current.adapter.capabilities;
    },
    get trouble() {
      return current.adapter.trouble;
    },
    probe: (context) => probed(current.adapter, context),
    launch: (plans, context) =>
      says<LaunchResult>(plans, launchResult, () => current.adapter.launch(plans, context), unknown),
    find: (refs, context) => current.adapter.find(refs, context),
    statuses: (refs, context) =>
      says<AttemptStatus>(
        refs,
        attemptStatus,
        () => current.adapter.statuses(refs, context),
        (why) => ({
          state: "unknown",
          why: "unrecognised",
          raw: why,
        }),
      ),
    stop: (refs, how, context) =>
      says<StopResult>(refs, stopResult, () => current.adapter.stop(refs, how, context), unknown),
    watch: (onChange) => watched(current, onChange),
    [Symbol.asyncDispose]: () => current[Symbol.asyncDispose](),
  };
}

/** A site's own host. Hints about changed files are left out: they are of one that may be replaced. */
export function guardedHost(place: Pick<Host, "name" | "workdir">, current: Current<Host>): Host {
  const files = <Result>(use: (files: HostFiles) => Promise<Result>): Promise<Result> => use(current.adapter.files);
  return {
    ...place,
    kind: "own",
    probe: (context) => probed(current.adapter, context),
    run: async (request, context) => current.adapter.run(request, context),
    files: {
      read: (...given) => files((own) => own.read(...given)),
      write: (...given) => files((own) => own.write(...given)),
      stat: (...given) => files((own) => own.stat(...given)),
      mkdir: (...given) => files((own) => own.mkdir(...given)),
      list: (...given) => files((own) => own.list(...given)),
      remove: (...given) => files((own) => own.remove(...given)),
      freeRoom: (...given) => files((own) => own.freeRoom(...given)),
    },
    [Symbol.asyncDispose]: () => current[Symbol.asyncDispose](),
  };
}

/** Hints of the one that is current, whichever that is. */
function watched(current: Current<Launcher>, onChange: Parameters<Launcher["watch"]>[0]): Disposable {
  let watch = current.adapter.watch(onChange);
  const renewal = current.onRenewal(() => {
    watch[Symbol.dispose]();
    watch = current.adapter.watch(onChange);
  });
  return {
    [Symbol.dispose]: () => {
      renewal[Symbol.dispose]();
      watch[Symbol.dispose]();
    },
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
