import { isoTime } from "../../common/clock.ts";
import { failpoint } from "../../common/failpoint.ts";
import { retryDelayMs } from "../../jobs/rules.ts";
import type { JobWork } from "../driver.ts";
import { rulesOf } from "../held-job.ts";
import { transition } from "../transition.ts";

/** A lost allocation comes back at its own pace; not sooner than this. */
const infrastructureDelayMs = 10_000;

/** After the handler (or without one) the retry policy decides: next attempt, done by the success rule, or failed. */
export async function settle(work: JobWork): Promise<void> {
  const job = work.job();
  const rules = rulesOf(job.app);
  const delayMs = job.end?.cause === "infrastructure" ? infrastructureDelayMs : retryDelayMs(job.tries, rules.retry);
  const not_before = delayMs > 0 ? isoTime(work.core.clock.now() + delayMs) : undefined;
  await failpoint("retry.before-record");
  await transition(work.core, work.id, { type: "settled" }, { patch: { not_before } });
  await failpoint("retry.after-record");
  // A job that waits long keeps no slot: another may come now.
  if (not_before !== undefined) work.core.syncWork.notify();
}
