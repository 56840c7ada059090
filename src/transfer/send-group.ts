import { Fault, isFault } from "../common/fault.ts";
import { failpoint } from "../common/failpoint.ts";
import { Ahead } from "./ahead.ts";
import { Batches } from "./batches.ts";
import { advanced, missingSource, sourceChanged, throwIfStopped, transferFault } from "./errors.ts";
import { named } from "./fetch.ts";
import type { Content } from "./many.ts";
import { unsafe } from "./paths.ts";
import type { Move, MoveListener, PlanInput, PlannedFile } from "./plan.ts";
import { withRetries } from "./retry.ts";
import type { Destination, SentFile } from "./send.ts";
import { examine, measure } from "./thread.ts";
import type { BulkOutput, BulkTransfer, FoundFile, TransferContext } from "./types.ts";
import { urlBelow } from "./urls.ts";

/** Files that are looked at, or recorded, in one go. */
const atOnce = 256;
const longestMs = 5_000;

interface Arrived {
  readonly file: SentFile;
  readonly output: BulkOutput;
  readonly found: FoundFile;
}

/** Files of an output that go in one go. */
export class SentGroup implements Move {
  readonly #destination: Destination;
  readonly #files: readonly SentFile[];
  readonly #bulk: BulkTransfer;
  readonly #input: PlanInput;

  constructor(destination: Destination, files: readonly SentFile[], bulk: BulkTransfer, input: PlanInput) {
    this.#destination = destination;
    this.#files = files;
    this.#bulk = bulk;
    this.#input = input;
  }

  get host(): string {
    return this.#destination.host;
  }

  get files(): number {
    return this.#files.length;
  }

  async run(context: TransferContext, hear: MoveListener): Promise<readonly PlannedFile[]> {
    const { what, adapter, host } = this.#destination;
    const { retry, bulk } = this.#input.deps;
    const left = new Map(this.#files.map((file) => [file.local.below, file]));
    const ahead = new Ahead(hear, left);
    try {
      await withRetries(`${what} (${left.size} files)`, context, retry, () => this.#attempt(left, context, ahead));
    } catch (error) {
      if (!isFault(error, "UNSUPPORTED") || this.#bulk.leastFiles === 1) throw named(error, what);
      bulk.refused(adapter, host, context);
      context.log.info({ host, err: error }, "files go to this remote one by one");
    }
    return [...left.values()];
  }

  /** @throws Fault that says whether it has brought further */
  async #attempt(left: Map<string, SentFile>, context: TransferContext, ahead: Ahead): Promise<void> {
    const { what } = this.#destination;
    const before = left.size;
    try {
      await this.#send(left, context, ahead);
      const [first] = left.values();
      if (first) throw new Fault("TRANSFER", `${what} (${first.path}) is not at its destination after it was sent`);
    } catch (error) {
      throwIfStopped(context.signal);
      const fault = transferFault(error, what);
      throw left.size < before ? advanced(fault) : fault;
    } finally {
      ahead.undo();
    }
  }

  async #send(left: Map<string, SentFile>, context: TransferContext, ahead: Ahead): Promise<void> {
    const outputs = await this.#outputs([...left.values()], context);
    let refused: Fault | undefined;
    const deal = async (items: readonly Arrived[]): Promise<void> => {
      const fault = await this.#record(items, left, ahead.listener);
      if (refused?.row.retry !== "never") refused ??= fault;
    };
    const arrivals = new Batches<Arrived>({ most: atOnce, longestMs }, context.clock, deal);
    const arrived = async (output: BulkOutput, found: FoundFile): Promise<void> => {
      await context.remote?.flow(0);
      const file = left.get(output.path);
      if (file) await arrivals.add({ file, output, found });
    };
    await failpoint("transfer.before-put");
    const { token } = this.#input.request;
    await this.#note(outputs);
    let failed: { readonly error: unknown } | undefined;
    try {
      await this.#bulk.send(this.#destination.url, outputs, { token }, arrived, ahead.context(context));
      await failpoint("transfer.after-put");
    } catch (error) {
      failed = { error };
    }
    // What lies there before a fault needs not be sent again.
    await arrivals.finish();
    if (failed) throw failed.error;
    if (refused) throw refused;
  }

  /** Partial files lie in the directory of the URL, or in the uppermost one of the files. */
  async #note(outputs: readonly BulkOutput[]): Promise<void> {
    const { adapter, url } = this.#destination;
    const [highest] = outputs.map(({ path }) => path).toSorted((a, b) => depthOf(a) - depthOf(b));
    if (!adapter.sweep || highest === undefined) return;
    const { request, deps } = this.#input;
    for (const path of new Set([highest, depthOf(highest) === 0 ? highest : "-"]))
      await deps.leftovers.note(request.token, { url: urlBelow(url, path) });
  }

  /** With the digests of now. */
  async #outputs(files: readonly SentFile[], context: TransferContext): Promise<readonly BulkOutput[]> {
    const { what } = this.#destination;
    const outputs: BulkOutput[] = [];
    for (let at = 0; at < files.length; at += atOnce) {
      throwIfStopped(context.signal);
      const some = files.slice(at, at + atOnce);
      const seen = await examine(rootOf(some), realPaths(some));
      for (const [index, file] of some.entries()) {
        const found = seen[index];
        const name = `${what} (${file.path})`;
        if (!found || ("problem" in found && found.missing)) throw missingSource(name);
        if ("problem" in found) throw unsafe(`${what}: file`, file.path, found.problem);
        outputs.push(outputOf(file, found, name));
      }
    }
    return outputs;
  }

  /** Never rejects. Returns the first reason why a file is not done. */
  async #record(
    items: readonly Arrived[],
    left: Map<string, SentFile>,
    hear: MoveListener,
  ): Promise<Fault | undefined> {
    const { what } = this.#destination;
    let fault: Fault | undefined;
    const files = items.map(({ file }) => file);
    const now = await measure(rootOf(files), realPaths(files)).catch(() => []);
    await Promise.all(
      items.map(async ({ file, output, found }, index) => {
        try {
          const { bytes, sha256, mtimeMs } = output;
          const measured = now[index];
          const same = measured?.bytes === bytes && Math.trunc(measured.mtimeMs) === mtimeMs;
          if (!same) throw sourceChanged(`${what} (${file.path})`);
          const entry = file.entry(bytes, sha256, mtimeMs, file.compared(output, found));
          await failpoint("transfer.after-verify");
          left.delete(output.path);
          hear.moved(file, bytes);
          await hear.done(file, { entry, movedBytes: bytes });
        } catch (error) {
          const failure = transferFault(error, what);
          if (!fault || failure.row.retry === "never") fault = failure;
        }
      }),
    );
    return fault;
  }
}

function depthOf(path: string): number {
  return path.split("/").length - 1;
}

function rootOf(files: readonly SentFile[]): string {
  return files[0]?.local.root ?? "/";
}

function realPaths(files: readonly SentFile[]): readonly string[] {
  return files.map(({ local }) => local.real);
}

function outputOf(file: SentFile, { bytes, sha256, mtimeMs }: Content, name: string): BulkOutput {
  const { root, real, below } = file.local;
  const output = { path: below, localPath: `${root}/${real}`, root, bytes, sha256, mtimeMs: Math.trunc(mtimeMs) };
  const open = async (): ReturnType<BulkOutput["open"]> => {
    const handle = await file.open();
    const stats = await handle.stat();
    if (stats.size === bytes && Math.trunc(stats.mtimeMs) === output.mtimeMs) return handle;
    await handle.close();
    throw sourceChanged(name);
  };
  return { ...output, open };
}
