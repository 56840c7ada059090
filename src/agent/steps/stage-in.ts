import { failpoint } from "../../common/failpoint.ts";
import { isFault } from "../../common/fault.ts";
import type { TransferItem, TransferOutcome } from "../../transfer/types.ts";
import { jobDirectories } from "../directories.ts";
import type { JobWork } from "../driver.ts";
import { shortened } from "../held-job.ts";
import { resolveObjects } from "../objects.ts";
import { inputItems } from "../plan.ts";
import { transition } from "../transition.ts";
import { FileRecords } from "./file-records.ts";
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
  let files = 0;
  if (items.length > 0) {
    await failpoint("stage.before-phase");
    if (job.phase !== "staging") await transition(core, id, { type: "staging" }, { durability: "effect" });
    await failpoint("stage.after-phase");
    await using watch = new TransferWatch(work, "inputs");
    await using records = new FileRecords(work, "in");
    const outcome = await bring(work, items, { watch, records });
    await watch.finish();
    await records.finish();
    files = outcome.files;
    work.context.log.info(
      { files: outcome.files, movedBytes: outcome.movedBytes, missing: outcome.missing },
      "inputs are staged",
    );
  }
  await failpoint("stage.before-record");
  const hookless = job.app.hooks.preprocess === undefined;
  const staged = { type: "inputs_staged" } as const;
  const skipped = { type: "hook_done", hook: "preprocess", outcome: { kind: "continue" } } as const;
  await transition(core, id, hookless ? [staged, skipped] : staged, { patch: shortened(work.job(), "in", files) });
  await failpoint("stage.after-record");
}

/** Moves the inputs. Objects are looked up first, and again when a URL that was made for us may have ended meanwhile. */
async function bring(
  work: JobWork,
  items: readonly TransferItem[],
  { watch, records }: { readonly watch: TransferWatch; readonly records: FileRecords },
): Promise<TransferOutcome> {
  const { core, context } = work;
  for (;;) {
    const { items: resolved, temporary } = await resolveObjects(core, items, context);
    const began = context.clock.monotonic();
    try {
      return await core.parts.transfers.run(
        {
          token: work.job().token,
          direction: "in",
          root: jobDirectories(work.job()).in,
          items: resolved,
          known: records.known(),
          onFile: (entry) => records.add(entry),
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
