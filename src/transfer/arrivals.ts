import { Fault } from "../common/fault.ts";
import { quoted } from "../common/nearest.ts";
import type { CallContext } from "../common/context.ts";
import { Batches } from "./batches.ts";
import { arrivalPath } from "./bulk.ts";
import { transferFault } from "./errors.ts";
import type { FetchedFile } from "./fetch.ts";
import { unsafe } from "./paths.ts";
import type { MoveListener } from "./plan.ts";
import { discard, examine, settle } from "./thread.ts";
import type { RemoteFile, WrittenFile } from "./types.ts";

/** Files that are looked at in one go. */
const examinedAtOnce = 256;
/** Files that get their names in one go: as many as share the time of a sync. */
const settledAtOnce = 2_000;
/** What is whole is made durable and recorded after this time, however few there are. */
const longestMs = 5_000;

/** Where the files of a group arrive, and where they go. */
export interface ArrivalPlace {
  /** Of the item, for messages. */
  readonly what: string;
  readonly root: string;
  /** Absolute; files lie there by their path in the source. */
  readonly directory: string;
}

interface Come {
  readonly file: FetchedFile;
  readonly written: WrittenFile | undefined;
}

interface Whole {
  readonly file: FetchedFile;
  readonly content: WrittenFile;
}

/**
 * Files that have come in a directory of the job: each is looked at, compared with what was promised, made durable with the others,
 * renamed and recorded. `left` loses those that are done.
 */
export class Arrivals {
  readonly #place: ArrivalPlace;
  readonly #left: Map<string, FetchedFile>;
  readonly #context: CallContext;
  readonly #hear: MoveListener;
  readonly #batches: Batches<Come>;
  #whole: Whole[] = [];
  #settledMs: number;
  #fault: Fault | undefined;

  constructor(place: ArrivalPlace, left: Map<string, FetchedFile>, context: CallContext, hear: MoveListener) {
    this.#place = place;
    this.#left = left;
    this.#context = context;
    this.#hear = hear;
    const limits = { most: examinedAtOnce, longestMs };
    this.#batches = new Batches<Come>(limits, context.clock, (come) => this.#deal(come));
    this.#settledMs = context.clock.monotonic();
  }

  /** Files that lie at their final names with the promised digest: an earlier run could not record them any more. */
  async takePresent(): Promise<void> {
    const promised = [...this.#left.values()].filter(({ remote }) => remote.sha256 !== undefined);
    for (let at = 0; at < promised.length; at += examinedAtOnce) {
      const some = promised.slice(at, at + examinedAtOnce);
      const seen = await examine(
        this.#place.root,
        some.map(({ path }) => path),
      );
      for (const [index, file] of some.entries()) {
        const found = seen[index];
        if (!found || "problem" in found || found.sha256 !== file.remote.sha256) continue;
        await this.#record({ file, content: found }, 0);
      }
    }
  }

  /** One more is complete. Resolves when the next may come. @throws Fault that no other try would mend */
  async add(remote: RemoteFile, written?: WrittenFile): Promise<void> {
    if (this.#fault?.row.retry === "never") throw this.#fault;
    const file = this.#left.get(remote.path);
    if (file) await this.#batches.add({ file, written });
  }

  /** All that have come are done, or were refused. @throws Fault the first reason for that */
  async finish(): Promise<void> {
    await this.#batches.finish();
    await this.#settle();
    if (this.#fault) throw this.#fault;
  }

  async #deal(come: readonly Come[]): Promise<void> {
    try {
      await this.#look(come);
      const isLate = this.#context.clock.monotonic() - this.#settledMs > longestMs;
      if (isLate || this.#whole.length >= settledAtOnce) await this.#settle();
    } catch (error) {
      this.#refuse(error);
    }
  }

  async #look(come: readonly Come[]): Promise<void> {
    const { what, directory } = this.#place;
    const unseen = come.filter(({ written }) => !written).map(({ file }) => arrivalPath(file.remote));
    const seen = unseen.length === 0 ? [] : await examine(directory, unseen);
    const refused: string[] = [];
    let next = 0;
    for (const { file, written } of come) {
      const looked = written ? undefined : seen[next++];
      const found = written ?? looked;
      try {
        if (!found || ("problem" in found && found.missing)) continue; // it is among those that are left
        if ("problem" in found) throw unsafe(`${what}: file`, file.remote.path, found.problem);
        if (looked && "links" in looked && looked.links > 1)
          throw unsafe(`${what}: file`, file.remote.path, "it has a second name");
        file.check(found);
        this.#whole.push({ file, content: found });
      } catch (error) {
        this.#refuse(error);
        refused.push(arrivalPath(file.remote));
      }
    }
    if (refused.length > 0) await discard(directory, refused);
  }

  async #settle(): Promise<void> {
    const { what, root, directory } = this.#place;
    const whole = this.#whole.splice(0);
    if (whole.length === 0) return;
    const renamings = whole.map(({ file }) => ({ from: arrivalPath(file.remote), to: file.path }));
    const failed = new Map((await settle(root, directory, renamings)).map((one) => [one.index, one]));
    this.#settledMs = this.#context.clock.monotonic();
    const done = whole.filter((_, index) => !failed.has(index));
    await Promise.all(done.map((one) => this.#record(one, one.content.bytes)));
    for (const { index, problem, errno } of failed.values()) {
      const path = whole[index]?.file.path ?? "";
      const blocked = ["EISDIR", "ENOTDIR", "ELOOP"].includes(errno ?? "");
      if (blocked) this.#refuse(unsafe(`${what}: target`, path, "a directory or a link has a name on its way"));
      else this.#refuse(Object.assign(new Error(problem), { code: errno }), path);
    }
  }

  async #record({ file, content }: Whole, movedBytes: number): Promise<void> {
    this.#left.delete(file.remote.path);
    this.#hear.moved(file, content.bytes);
    const entry = file.entry(content.bytes, content.sha256, content.mtimeMs);
    await this.#hear.done(file, { entry, movedBytes });
  }

  /** What no other try would mend goes before what one may. */
  #refuse(error: unknown, path = ""): void {
    const fault = transferFault(error, `${this.#place.what}${path === "" ? "" : ` (${path})`}`);
    if (!this.#fault || (this.#fault.row.retry !== "never" && fault.row.retry === "never")) this.#fault = fault;
  }
}

/** The fault for files that were to come and did not. */
export function leftOut(what: string, left: ReadonlyMap<string, FetchedFile>): Fault {
  const [first] = left.values();
  const more = left.size > 1 ? ` and ${left.size - 1} more` : "";
  return new Fault("TRANSFER", `${what}: ${quoted(first?.path ?? "", 200)}${more} did not come with the others`, {
    details: { source_changed: true },
  });
}
