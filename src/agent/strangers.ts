import type { SyncResult } from "../central/types.ts";
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
