import { failpoint } from "../../common/failpoint.ts";
import { jobDirectories } from "../directories.ts";
import type { JobWork } from "../driver.ts";
import { shortened } from "../held-job.ts";
import { inputItems } from "../plan.ts";
import { record } from "../records.ts";
import { transition } from "../transition.ts";
import { TransferWatch } from "./transfer-watch.ts";

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
    const outcome = await core.parts.transfers.run(
      {
        token: job.token,
        direction: "in",
        root: jobDirectories(job).in,
        items,
        known: [...job.manifest_in],
        onFile: async (entry) => {
          await core.ledger.commit([record("job.file", { direction: "in", entry }, id)], "group");
        },
        ...watch.callbacks,
      },
      work.context,
    );
    await watch.finish();
    work.context.log.info(
      { files: outcome.manifest.length, movedBytes: outcome.movedBytes, missing: outcome.missing },
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
