import { pathToFileURL } from "node:url";
import { join } from "node:path";
import { failpoint } from "../../common/failpoint.ts";
import type { ManifestEntry } from "../../transfer/types.ts";
import { jobDirectories } from "../directories.ts";
import type { JobWork } from "../driver.ts";
import { rulesOf, shortened } from "../held-job.ts";
import { outputItems } from "../plan.ts";
import { record } from "../records.ts";
import { transition, type TransitionExtras } from "../transition.ts";
import { outputsOf } from "./outputs.ts";
import { TransferWatch } from "./transfer-watch.ts";

/** Brings the outputs to their destinations, verified, and ends the job well. */
export async function stageOut(work: JobWork): Promise<void> {
  const job = work.job();
  const policy = rulesOf(job.app).archive;
  if (policy === "always" || policy === "on_success") await moveOutputs(work, true);
  await failpoint("archive.before-record");
  await transition(work.core, work.id, [{ type: "outputs_staged" }, { type: "finished" }], toldOutputs(work));
  await failpoint("archive.after-record");
  work.core.hubOutputs.forget(job.token);
}

/** Keeps what a failed or cancelled job left, by the app's policy, then enters the end that was decided. */
export async function archive(work: JobWork): Promise<void> {
  const job = work.job();
  const policy = rulesOf(job.app).archive;
  if (job.attempt > 0 && (policy === "always" || policy === "on_failure")) await moveOutputs(work, false);
  await failpoint("archive.before-record");
  await transition(work.core, work.id, { type: "archived" }, toldOutputs(work));
  await failpoint("archive.after-record");
  work.core.hubOutputs.forget(job.token);
}

/** The outputs, which a hub keeps from then on; where it does not, the whole list stays here. */
function toldOutputs(work: JobWork): Pick<TransitionExtras, "outputs" | "patch"> {
  const { core } = work;
  const held = work.job();
  const outputs = outputsOf(held, core.parts.site.agent.report);
  return { outputs, patch: core.central.capabilities.outputs ? shortened(held, "out") : {} };
}

async function moveOutputs(work: JobWork, required: boolean): Promise<void> {
  const { core, id } = work;
  const job = work.job();
  const items = outputItems(job, { required });
  if (items.length === 0) return;
  await failpoint("archive.before-phase");
  if (job.phase !== "archiving") await transition(core, id, { type: "archiving" }, { durability: "effect" });
  await failpoint("archive.after-phase");
  const root = jobDirectories(job).work;
  await using watch = new TransferWatch(work, "outputs");
  const outcome = await core.parts.transfers.run(
    {
      token: job.token,
      direction: "out",
      root,
      items,
      known: [...job.manifest_out],
      onFile: async (entry) => {
        await core.ledger.commit(
          [record("job.file", { direction: "out", entry: placed(work, root, entry) }, id)],
          "group",
        );
      },
      ...watch.callbacks,
    },
    work.context,
  );
  await watch.finish();
  work.context.log.info(
    { files: outcome.files, movedBytes: outcome.movedBytes, missing: outcome.missing },
    "outputs are staged",
  );
}

/** An output that the hub did not take lies where the job made it. */
function placed(work: JobWork, root: string, entry: ManifestEntry): ManifestEntry {
  return work.core.hubOutputs.wasKept(entry.url)
    ? { ...entry, url: pathToFileURL(join(root, entry.path)).href, verified: "local" }
    : entry;
}
