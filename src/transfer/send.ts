import type { FileHandle } from "node:fs/promises";
import type { CallContext } from "../common/context.ts";
import { failpoint } from "../common/failpoint.ts";
import { Fault } from "../common/fault.ts";
import { heard } from "./ahead.ts";
import { digestMismatch, sourceChanged } from "./errors.ts";
import { named } from "./fetch.ts";
import { digestOf } from "./landing.ts";
import { openFileBelow } from "./paths.ts";
import type { ByteReport, MovedFile, PlanInput, PlannedFile } from "./plan.ts";
import { withRetries } from "./retry.ts";
import type {
  FileContent,
  FoundFile,
  ManifestEntry,
  TransferAdapter,
  TransferContext,
  TransferItem,
  WriteInfo,
} from "./types.ts";

/** One output with its verdicts taken. */
export interface Destination {
  readonly item: TransferItem;
  /** `output 'report'`. */
  readonly what: string;
  /** Canonical URL as the policy gave it. */
  readonly url: string;
  readonly adapter: TransferAdapter;
  readonly host: string;
}

export interface LocalFile {
  /** Real path of the job's directory. */
  readonly root: string;
  /** As in the manifest. */
  readonly path: string;
  /** Below `root`, without links. */
  readonly real: string;
  readonly bytes: number;
  readonly mtimeMs: number;
  readonly url: string;
  /** Relative to the destination's URL; empty for the URL itself. */
  readonly below: string;
}

/** One file of an output: digested, sent, and compared with what then lies at its destination. */
export class SentFile implements PlannedFile {
  readonly path: string;
  readonly bytes: number;
  readonly local: LocalFile;
  readonly #destination: Destination;
  readonly #input: PlanInput;

  constructor(destination: Destination, file: LocalFile, input: PlanInput) {
    this.path = file.path;
    this.bytes = file.bytes;
    this.#destination = destination;
    this.local = file;
    this.#input = input;
  }

  get item(): TransferItem {
    return this.#destination.item;
  }

  get host(): string {
    return this.#destination.host;
  }

  /** True when `entry` went to the same place and the file here is still what was sent. */
  async isUnchanged(entry: ManifestEntry, context: CallContext): Promise<boolean> {
    if (entry.url !== withoutQuery(this.local.url) || entry.bytes !== this.local.bytes) return false;
    if (entry.mtimeMs === Math.trunc(this.local.mtimeMs)) return true;
    await using handle = await this.open();
    return (await digestOf(handle, context.signal)).sha256 === entry.sha256;
  }

  async move(context: TransferContext, report: ByteReport): Promise<MovedFile> {
    const what = `${this.#destination.what} (${this.path})`;
    try {
      return await withRetries(what, context, this.#input.deps.retry, () => this.#attempt(context, report));
    } catch (error) {
      throw named(error, this.#destination.what);
    }
  }

  /** Opens it for reading, following no link. */
  open(): Promise<FileHandle> {
    return openFileBelow(this.local.root, this.local.real.split("/"), `${this.#destination.what}: file`);
  }

  async #attempt(context: TransferContext, report: ByteReport): Promise<MovedFile> {
    const { adapter, what } = this.#destination;
    const { url } = this.local;
    await using handle = await this.open();
    const before = await handle.stat();
    const { bytes, sha256 } = await digestOf(handle, context.signal);
    const present = adapter.capabilities.digest ? await adapter.verify(url, context) : undefined;
    if (present?.sha256 === sha256 && present.bytes === bytes) {
      report(bytes);
      return { entry: this.entry(bytes, sha256, before.mtimeMs, readBack(adapter)), movedBytes: 0 };
    }
    await failpoint("transfer.before-put");
    // The open file and no other: its name could lead elsewhere by now.
    const localPath = `/proc/${process.pid}/fd/${handle.fd}`;
    const sending = new Sending(report);
    try {
      await adapter.write(url, localPath, await this.#noted({ bytes, sha256 }), sending.watched(context));
      await failpoint("transfer.after-put");
      const after = await handle.stat();
      if (after.mtimeMs !== before.mtimeMs || after.size !== bytes) throw sourceChanged(`${what} (${this.path})`);
    } catch (error) {
      sending.settle(0);
      throw error;
    }
    sending.settle(bytes);
    const verified = await this.#compare(bytes, sha256, context);
    await failpoint("transfer.after-verify");
    return { entry: this.entry(bytes, sha256, before.mtimeMs, verified), movedBytes: bytes };
  }

  /** Whatever is written from now on is known to the one who ends the job. */
  async #noted(content: FileContent): Promise<WriteInfo> {
    const { token } = this.#input.request;
    const { leftovers } = this.#input.deps;
    const url = withoutQuery(this.local.url);
    const { adapter } = this.#destination;
    if (!adapter.sweep) return { ...content, token };
    await leftovers.note(token, { url });
    return { ...content, token, begun: (id) => leftovers.note(token, { url, id }) };
  }

  /** Looks at what now lies at the destination. */
  async #compare(bytes: number, sha256: string, context: TransferContext): Promise<ManifestEntry["verified"]> {
    const { adapter, what } = this.#destination;
    const there = await adapter.verify(this.local.url, context);
    if (!there) throw new Fault("TRANSFER", `${what} (${this.path}) is not at its destination after it was sent`);
    return this.compared({ bytes, sha256 }, there);
  }

  /** How far what lies there is known to be what was sent. @throws Fault when it is not */
  compared({ bytes, sha256 }: FileContent, there: FoundFile): ManifestEntry["verified"] {
    const { adapter, what } = this.#destination;
    const name = `${what} (${this.path})`;
    if (there.bytes !== undefined && there.bytes !== bytes) {
      throw new Fault("TRANSFER", `${name} has ${there.bytes} bytes at its destination, ${bytes} were sent`);
    }
    if (there.sha256 !== undefined && there.sha256 !== sha256) throw digestMismatch(name, sha256, there.sha256);
    if (there.sha256 !== undefined) return readBack(adapter);
    if (there.bytes === undefined) return "accepted";
    return there.sampled === true ? "sample" : "size";
  }

  entry(bytes: number, sha256: string, mtimeMs: number, verified: ManifestEntry["verified"]): ManifestEntry {
    return {
      item: this.item.name,
      path: this.path,
      url: withoutQuery(this.local.url),
      bytes,
      sha256,
      verified,
      mtimeMs: Math.trunc(mtimeMs),
    };
  }
}

/** Reports what an adapter sends as it goes, and in the end what counts. */
class Sending {
  readonly #report: ByteReport;
  #reported = 0;

  constructor(report: ByteReport) {
    this.#report = report;
  }

  watched(context: TransferContext): TransferContext {
    return heard(context, (bytes) => {
      this.#reported += bytes;
      this.#report(bytes);
    });
  }

  settle(bytes: number): void {
    this.#report(bytes - this.#reported);
    this.#reported = bytes;
  }
}

function readBack(adapter: TransferAdapter): ManifestEntry["verified"] {
  return adapter.localPath ? "local" : "digest";
}

/** Queries of upload URLs are signatures: secrets that a manifest does not keep. */
function withoutQuery(url: string): string {
  return url.replace(/\?.*$/s, "");
}
