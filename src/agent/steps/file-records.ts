import { join } from "node:path";
import type { ManifestEntry } from "../../transfer/types.ts";
import type { JobWork } from "../driver.ts";
import type { HeldJob } from "../held-job.ts";
import { ManifestFile, readManifest } from "../manifest-file.ts";
import { record } from "../records.ts";
import { amend } from "../transition.ts";

/** Where the manifest of those files lies that are too many for the journal. */
export function manifestPath(job: Pick<HeldJob, "directory">, direction: "in" | "out"): string {
  return join(job.directory, `manifest-${direction}.jsonl`);
}

/** What has come, or gone, of a job's files: known before a transfer and recorded while it goes on. */
export class FileRecords implements AsyncDisposable {
  readonly #work: JobWork;
  readonly #direction: "in" | "out";
  readonly #path: string;
  /** Files in the journal: their records are replaced there. */
  readonly #journaled: Set<string>;
  #file: Promise<ManifestFile> | undefined;

  constructor(work: JobWork, direction: "in" | "out") {
    const job = work.job();
    this.#work = work;
    this.#direction = direction;
    this.#path = manifestPath(job, direction);
    this.#journaled = new Set(inJournal(job, direction).map(keyOf));
  }

  /** Of those for one file the last is right. */
  async *known(): AsyncGenerator<ManifestEntry> {
    const job = this.#work.job();
    const journaled = inJournal(job, this.#direction);
    yield* journaled;
    const isMore = (job.files?.[this.#direction] ?? 0) > journaled.length;
    if (isMore || this.#journaled.size >= this.#work.core.journaledFiles) yield* readManifest(this.#path);
  }

  /** Resolves when the file will not be moved again, whatever becomes of this process. */
  async add(entry: ManifestEntry): Promise<void> {
    const { core, id } = this.#work;
    const key = keyOf(entry);
    if (this.#journaled.has(key) || this.#journaled.size < core.journaledFiles) {
      this.#journaled.add(key);
      await core.ledger.commit([record("job.file", { direction: this.#direction, entry }, id)], "group");
      return;
    }
    this.#file ??= ManifestFile.open(this.#path);
    await (await this.#file).add(entry);
    const { entered } = this.#work.job();
    // As a record of a file would say: deaths count as long as there is no progress.
    if (entered && entered.deaths > 0) await amend(core, id, { entered: { ...entered, deaths: 0 } }, "group");
  }

  /** Everything is durable. */
  async finish(): Promise<void> {
    await (await this.#file)?.sync();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const file = await this.#file?.catch(() => undefined);
    await file?.[Symbol.asyncDispose]();
  }
}

function inJournal(job: HeldJob, direction: "in" | "out"): readonly ManifestEntry[] {
  return direction === "in" ? job.manifest_in : job.manifest_out;
}

function keyOf({ item, path }: ManifestEntry): string {
  return `${item}\n${path}`;
}
