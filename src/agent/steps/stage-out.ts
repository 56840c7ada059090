import { pathToFileURL } from "node:url";
import { join } from "node:path";
import { failpoint } from "../../common/failpoint.ts";
import type { ManifestEntry } from "../../transfer/types.ts";
import { jobDirectories } from "../directories.ts";
import type { JobWork } from "../driver.ts";
import { rulesOf, shortened } from "../held-job.ts";
import { outputItems } from "../plan.ts";
import { transition, type TransitionExtras } from "../transition.ts";
import { pagesOf } from "../manifest-file.ts";
import { FileRecords, manifestPath } from "./file-records.ts";
import { outputsOf } from "./outputs.ts";
import { TransferWatch } from "./transfer-watch.ts";

/** Brings the outputs to their destinations, verified, and ends the job well. */
export async function stageOut(work: JobWork): Promise<void> {
  const job = work.job();
  const policy = rulesOf(job.app).archive;
  const files = policy === "always" || policy === "on_success" ? await moveOutputs(work, true) : 0;
  await failpoint("archive.before-record");
  const told = await toldOutputs(work, files);
  await transition(work.core, work.id, [{ type: "outputs_staged" }, { type: "finished" }], told);
  await failpoint("archive.after-record");
  work.core.hubOutputs.forget(job.token);
}

/** Keeps what a failed or cancelled job left, by the app's policy, then enters the end that was decided. */
export async function archive(work: JobWork): Promise<void> {
  const job = work.job();
  const policy = rulesOf(job.app).archive;
  const isKept = job.attempt > 0 && (policy === "always" || policy === "on_failure");
  const files = isKept ? await moveOutputs(work, false) : 0;
  await failpoint("archive.before-record");
  await transition(work.core, work.id, { type: "archived" }, await toldOutputs(work, files));
  await failpoint("archive.after-record");
  work.core.hubOutputs.forget(job.token);
}

/**
 * The outputs, `files` of them, which a hub keeps from then on; where it does not, the whole list stays here. Those that are not in the
 * journal are told in pages of their file, which lies there until all is reported.
 */
async function toldOutputs(
  work: JobWork,
  files: number,
): Promise<Pick<TransitionExtras, "outputs" | "outputsCount" | "outputPages" | "patch">> {
  const { core } = work;
  const held = work.job();
  const outputs = outputsOf(held, core.parts.site.agent.report);
  const isMore = files > held.manifest_out.length;
  if (!core.central.capabilities.outputs)
    return isMore ? { outputs, outputsCount: files, patch: { files: { ...held.files, out: files } } } : { outputs };
  const outputPages = isMore ? await pagesOf(manifestPath(held, "out"), core.outputsAtOnce()) : [];
  return { outputs, outputPages, patch: shortened(held, "out", files) };
}

/** Says how many files there are. */
async function moveOutputs(work: JobWork, required: boolean): Promise<number> {
  const { core, id } = work;
  const job = work.job();
  const items = outputItems(job, { required });
  if (items.length === 0) return 0;
  await failpoint("archive.before-phase");
  if (job.phase !== "archiving") await transition(core, id, { type: "archiving" }, { durability: "effect" });
  await failpoint("archive.after-phase");
  const root = jobDirectories(job).work;
  await using watch = new TransferWatch(work, "outputs");
  await using records = new FileRecords(work, "out");
  const outcome = await core.parts.transfers.run(
    {
      token: job.token,
      direction: "out",
      root,
      items,
      known: records.known(),
      onFile: (entry) => records.add(placed(work, root, entry)),
      ...watch.callbacks,
    },
    work.context,
  );
  await watch.finish();
  await records.finish();
  work.context.log.info(
    { files: outcome.files, movedBytes: outcome.movedBytes, missing: outcome.missing },
    "outputs are staged",
  );
  return outcome.files;
}

/** An output that the hub did not take lies where the job made it. */
function placed(work: JobWork, root: string, entry: ManifestEntry): ManifestEntry {
  return work.core.hubOutputs.wasKept(entry.url)
    ? { ...entry, url: pathToFileURL(join(root, entry.path)).href, verified: "local" }
    : entry;
}
