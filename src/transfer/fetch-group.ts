import { isFault } from "../common/fault.ts";
import { Ahead } from "./ahead.ts";
import { Arrivals, leftOut } from "./arrivals.ts";
import { advanced, isSourceChanged, missingSource, throwIfStopped, transferFault } from "./errors.ts";
import { type FetchedFile, named, type Source } from "./fetch.ts";
import { openDirectoryBelow, partialName, partSuffix, relativeSegments } from "./paths.ts";
import type { Move, MoveListener, PlanInput, PlannedFile } from "./plan.ts";
import { withRetries } from "./retry.ts";
import type { BulkTransfer, RemoteFile, TransferContext, WrittenFile } from "./types.ts";
import { shownUrl } from "./urls.ts";

/** Files of an input that come in one go. */
export class FetchedGroup implements Move {
  readonly #source: Source;
  readonly #files: readonly FetchedFile[];
  readonly #bulk: BulkTransfer;
  readonly #input: PlanInput;

  constructor(source: Source, files: readonly FetchedFile[], bulk: BulkTransfer, input: PlanInput) {
    this.#source = source;
    this.#files = files;
    this.#bulk = bulk;
    this.#input = input;
  }

  get host(): string {
    return this.#source.host;
  }

  get files(): number {
    return this.#files.length;
  }

  async run(context: TransferContext, hear: MoveListener): Promise<readonly PlannedFile[]> {
    const { what, adapter, host } = this.#source;
    const { retry, bulk } = this.#input.deps;
    const left = new Map(this.#files.map((file) => [file.remote.path, file]));
    const ahead = new Ahead(hear, left);
    try {
      await withRetries(`${what} (${left.size} files)`, context, retry, async (last) => {
        if (isSourceChanged(last)) await this.#relist(left, context);
        await this.#attempt(left, context, ahead);
      });
    } catch (error) {
      if (!isFault(error, "UNSUPPORTED") || this.#bulk.leastFiles === 1) throw named(error, what);
      bulk.refused(adapter, host, context);
      context.log.info({ host, err: error }, "files of this remote go one by one");
    }
    return [...left.values()];
  }

  /** @throws Fault that says whether it has brought further */
  async #attempt(left: Map<string, FetchedFile>, context: TransferContext, ahead: Ahead): Promise<void> {
    const { what } = this.#source;
    const { root } = this.#input.request;
    const before = left.size;
    for (const file of left.values()) relativeSegments(file.path, `${what}: target`);
    const arrivals = new Arrivals({ what, root, directory: `${root}/${this.#part()}` }, left, context, ahead.listener);
    try {
      await arrivals.takePresent();
      if (left.size > 0) await this.#fetch(left, arrivals, ahead.context(context));
      if (left.size > 0) throw leftOut(what, left);
    } catch (error) {
      throwIfStopped(context.signal);
      const fault = transferFault(error, what);
      throw left.size < before ? advanced(fault) : fault;
    } finally {
      ahead.undo();
    }
  }

  async #fetch(left: ReadonlyMap<string, FetchedFile>, arrivals: Arrivals, context: TransferContext): Promise<void> {
    const { what, url } = this.#source;
    const { root, token } = this.#input.request;
    const files = [...left.values()].map(({ remote }) => remote);
    const directory = await openDirectoryBelow(root, [this.#part()], { create: true, field: `${what}: target` });
    await directory[Symbol.asyncDispose]();
    let failed: { readonly error: unknown } | undefined;
    const arrived = async (file: RemoteFile, written?: WrittenFile): Promise<void> => {
      await context.remote?.flow(0);
      await arrivals.add(file, written);
    };
    try {
      await this.#bulk.fetch(url, files, `${root}/${this.#part()}`, arrived, context, { token });
    } catch (error) {
      failed = { error };
    }
    // What has come before a fault needs not come again.
    await arrivals.finish();
    if (failed) throw failed.error;
  }

  /** The source is another one now: sizes and versions must be asked for again. */
  async #relist(left: ReadonlyMap<string, FetchedFile>, context: TransferContext): Promise<void> {
    const { adapter, url, item, what } = this.#source;
    const listed = new Map<string, RemoteFile>();
    const found = async (files: readonly RemoteFile[]): Promise<void> => {
      for (const file of files) if (left.has(file.path)) listed.set(file.path, file);
    };
    await found(await adapter.list(url, item.kind, context, found));
    for (const [path, file] of left) {
      const now = listed.get(path);
      if (!now) throw missingSource(`${what} (${file.path})`);
      file.relisted(now);
    }
  }

  /** The same for all groups of a source, also after a restart: they bring different files. */
  #part(): string {
    const { item, url } = this.#source;
    return partialName(this.#input.request.token, partSuffix("group", item.name, shownUrl(url)));
  }
}
