import { failpoint } from "../../common/failpoint.ts";
import { isFault } from "../../common/fault.ts";
import type { TransferItem, TransferOutcome } from "../../transfer/types.ts";
import { jobDirectories } from "../directories.ts";
import type { JobWork } from "../driver.ts";
import { shortened } from "../held-job.ts";
import { resolveObjects } from "../objects.ts";
import { inputItems } from "../plan.ts";
import { record } from "../records.ts";
import { transition } from "../transition.ts";
import { TransferWatch } from "./transfer-watch.ts";

/** URLs that are made for an occasion are good for some minutes: what fails after this time may have failed for that. */
const mayHaveEndedMs = 60_000;

/** Makes the job's directories and brings its inputs there, verified; each file is journaled, so nothing is moved twice after a crash. */
export async function stageIn(work: JobWork): Promise<void> {
  const { core, id } = work;
  const job = work.job();
  await failpoint("stage.before-directories");
  await core.machine.makeDirectories(job);
  core.prepared.add(id);
  await failpoint("stage.after-directories");
  const items = inputItems(job);
  if (items.length > 0) {
    await failpoint("stage.before-phase");
    if (job.phase !== "staging") await transition(core, id, { type: "staging" }, { durability: "effect" });
    await failpoint("stage.after-phase");
    await using watch = new TransferWatch(work, "inputs");
    const outcome = await bring(work, items, watch);
    await watch.finish();
    work.context.log.info(
      { files: outcome.files, movedBytes: outcome.movedBytes, missing: outcome.missing },
      "inputs are staged",
    );
  }
  await failpoint("stage.before-record");
  const hookless = job.app.hooks.preprocess === undefined;
  const staged = { type: "inputs_staged" } as const;
  const skipped = { type: "hook_done", hook: "preprocess", outcome: { kind: "continue" } } as const;
  await transition(core, id, hookless ? [staged, skipped] : staged, { patch: shortened(work.job(), "in") });
  await failpoint("stage.after-record");
}

/** Moves the inputs. Objects are looked up first, and again when a URL that was made for us may have ended meanwhile. */
async function bring(work: JobWork, items: readonly TransferItem[], watch: TransferWatch): Promise<TransferOutcome> {
  const { core, id, context } = work;
  for (;;) {
    const { items: resolved, temporary } = await resolveObjects(core, items, context);
    const began = context.clock.monotonic();
    const { token, manifest_in: known } = work.job();
    try {
      return await core.parts.transfers.run(
        {
          token,
          direction: "in",
          root: jobDirectories(work.job()).in,
          items: resolved,
          known: [...known],
          onFile: async (entry) => {
            await core.ledger.commit([record("job.file", { direction: "in", entry }, id)], "group");
          },
          ...watch.callbacks,
        },
        context,
      );
    } catch (error) {
      const mayHaveEnded = temporary && context.clock.monotonic() - began > mayHaveEndedMs;
      if (!mayHaveEnded || !isFault(error, "TRANSFER_REFUSED") || work.signal.aborted) throw error;
      context.log.info({ err: error }, "access to an object is asked for again");
    }
  }
}
