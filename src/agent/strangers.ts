import { dirname } from "node:path";
import type { SyncResult } from "../central/types.ts";
import { asFault } from "../common/fault.ts";
import type { AttemptRef, Launcher } from "../launchers/types.ts";
import type { AgentCore } from "./core.ts";
import { fence, showUnknown } from "./fence.ts";

/** Held jobs that central does not know: one of which nothing was begun is dropped, the others go on and are shown until it knows them. */
export async function takeUnknown(
  core: AgentCore,
  state: { readonly onChanged: (job: string) => void },
  unknown: SyncResult["unknown"],
): Promise<void> {
  const { book } = core.ledger;
  const shown = new Set([...book.outbox].flatMap(([job, [first]]) => (first?.parked === "unknown" ? [job] : [])));
  for (const { job } of unknown) {
    const held = book.open.get(job);
    if (!held || held.fenced !== undefined) continue;
    if (held.bound) {
      shown.add(job);
      showUnknown(core, job);
      continue;
    }
    await fence(core, job, "central does not know this job");
    state.onChanged(job);
  }
  core.problems.keepOnly("unknown:", shown);
}

/** Jobs that central says are ours and the journal does not know: what lies here of them is shown; nothing is started. */
export async function showMissing(core: AgentCore, missing: SyncResult["missing"]): Promise<void> {
  const strangers = new Set(missing.map(({ job }) => job).filter((job) => !core.ledger.book.jobs.has(job)));
  core.problems.keepOnly("missing:", strangers);
  const fresh = [...strangers].filter((job) => core.problems.find(`missing:${job}`) === undefined);
  if (fresh.length === 0) return;
  const workdirs = core.workdirsHere;
  const traces = await core.machine.tracesOf(workdirs, new Set(fresh));
  for (const job of fresh) {
    const found = traces.get(job);
    core.log.warn({ jobId: job, directory: found }, "central says a job is ours that the journal does not know");
    core.problems.set(
      `missing:${job}`,
      `central says this site holds job '${job}', the journal does not know it; ${
        found === undefined ? "nothing of it lies here" : `what is left of it lies in '${found}'`
      }`,
      "look at the job on the hub; cancel or retry it there",
    );
  }
}

/** So long one round of calls to central waits for the end of such a job; then central is asked, and asks, again. */
const endStrangerMs = 3_000;
const lookMs = 200;
const graceMs = 10_000;

/**
 * Cancels a job that the journal does not know, by what lies here of it: `done` = nothing of it is left, with proof; `not-held` = nothing is
 * found, or it cannot be told; undefined = it is being ended.
 */
export async function endStranger(
  core: AgentCore,
  job: string,
  reason: string,
): Promise<"done" | "not-held" | undefined> {
  const directory = (await core.machine.tracesOf(core.workdirsHere, new Set([job]))).get(job);
  if (directory === undefined) return "not-held";
  const { app, attempts, whole } = await core.machine.readTraces(directory);
  const target = app === undefined ? undefined : core.parts.site.apps[app]?.target;
  const launcher = target === undefined ? undefined : core.launcher(target);
  const isHere = target !== undefined && core.host(target)?.workdir === dirname(directory);
  if (!launcher || !isHere || !whole) {
    core.log.warn({ jobId: job, directory, app }, "a job that the journal does not know cannot be ended from here");
    return "not-held";
  }
  const deadline = core.clock.monotonic() + endStrangerMs;
  for (const ref of attempts) {
    while (!(await isGone(core, launcher, ref, reason))) {
      if (core.clock.monotonic() > deadline || core.stopping.aborted) return undefined;
      await core.clock.sleep(lookMs, core.stopping);
    }
  }
  core.log.info({ jobId: job, directory, attempts: attempts.length }, "a job that the journal does not know was ended");
  return "done";
}

async function isGone(core: AgentCore, launcher: Launcher, ref: AttemptRef, reason: string): Promise<boolean> {
  try {
    const [result] = await launcher.stop([ref], { graceMs, reason }, core.context());
    return result?.state === "gone";
  } catch (error) {
    core.log.warn(
      { err: asFault(error), attempt: ref.token },
      "an attempt that the journal does not know was not stopped",
    );
    return false;
  }
}
