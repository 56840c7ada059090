import { isoTime } from "../../common/clock.ts";
import { asFault } from "../../common/fault.ts";
import { progressText } from "../../jobs/progress.ts";
import type { Progress, RemoteWait, TransferRequest } from "../../transfer/types.ts";
import type { JobWork } from "../driver.ts";
import { transition } from "../transition.ts";
import { progressView } from "../views.ts";

/** A transfer that takes longer is told to central, again after twice the time, and so on up to the longest pause. Milliseconds. */
const firstReportMs = 30_000;
const longestPauseMs = 600_000;

/** Of a job's files on their way. */
export type Stage = "inputs" | "outputs";

/**
 * How one transfer goes: figures for who asks the agent, a line for central now and then, and a hold with the reason while a remote
 * does not answer.
 */
export class TransferWatch implements AsyncDisposable {
  readonly #work: JobWork;
  readonly #stage: Stage;
  #pauseMs = firstReportMs;
  #reportAt: number;
  #reporting = false;
  /** Changes of the job follow each other. */
  #changes: Promise<void> = Promise.resolve();

  constructor(work: JobWork, stage: Stage) {
    this.#work = work;
    this.#stage = stage;
    this.#reportAt = work.core.clock.monotonic() + firstReportMs;
  }

  get callbacks(): Pick<Required<TransferRequest>, "onProgress" | "onWait"> {
    return {
      onProgress: (progress) => this.#moved(progress),
      onWait: (wait) => this.#waits(wait),
    };
  }

  /** Everything has arrived. */
  async finish(): Promise<void> {
    this.#waits(undefined);
    await this.#changes;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#work.core.progress.delete(this.#work.id);
    await this.#changes;
  }

  #moved(progress: Progress): void {
    const { core, id } = this.#work;
    core.progress.set(id, { stage: this.#stage, ...progress });
    core.progressWork.notify();
    const now = core.clock.monotonic();
    if (now < this.#reportAt || this.#reporting) return;
    this.#reporting = true;
    this.#change(async () => {
      const message = `moving ${this.#stage}: ${progressText(progressView({ stage: this.#stage, ...progress }))}`;
      const type = this.#stage === "inputs" ? "staging" : "archiving";
      await transition(core, id, { type }, { message, repeat: true, when: (job) => job.hold === undefined });
      this.#pauseMs = Math.min(2 * this.#pauseMs, longestPauseMs);
      this.#reportAt = core.clock.monotonic() + this.#pauseMs;
      this.#reporting = false;
    });
  }

  #waits(wait: RemoteWait | undefined): void {
    const { core, id } = this.#work;
    this.#change(async () => {
      // Orders, as to cancel, go before what we have to say.
      if (wait) {
        const reason = `remote '${wait.host}' does not answer: ${wait.reason}`.slice(0, 900);
        const hold = { kind: "blocked", reason, since: isoTime(core.clock.now()) } as const;
        await transition(core, id, { type: "hold", hold }, { when: (job) => job.hold === undefined });
      } else {
        await transition(core, id, { type: "unhold" }, { when: (job) => job.hold?.kind === "blocked" });
      }
    });
  }

  /** A job that is gone has nothing to be told of; a journal that cannot be written is noticed by the next step. */
  #change(change: () => Promise<void>): void {
    const { log } = this.#work.context;
    this.#changes = this.#changes
      .then(change)
      .catch((error: unknown) => log.warn({ err: asFault(error) }, "how a transfer goes could not be recorded"));
  }
}
