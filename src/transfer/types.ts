import type { FileHandle } from "node:fs/promises";
import type { Adapter } from "../common/adapter.ts";
import type { CallContext } from "../common/context.ts";
import type { Fault } from "../common/fault.ts";
import type { Token } from "../common/token.ts";
import type { Verdict } from "./policy.ts";

export type Direction = "in" | "out";

/** One declared input or output of a job, with its templates filled and its policy verdict taken. */
export interface TransferItem {
  /** Name of the input or output in the app. */
  readonly name: string;
  /** Stage in: URL. Stage out: path or glob relative to `root`. */
  readonly source: string;
  /** Stage in: path relative to `root`. Stage out: URL (a trailing `/` means: into this directory). */
  readonly target: string;
  readonly kind: "file" | "directory" | "glob";
  readonly required: boolean;
  readonly mode: "copy" | "link";
  readonly expectedSize?: number | undefined;
  /** Lower-case hexadecimal. */
  readonly expectedSha256?: string | undefined;
  readonly maxBytes?: number | undefined;
  readonly include: readonly string[];
  readonly exclude: readonly string[];
}

/** One file that lies complete and verified at its final name. */
export interface ManifestEntry {
  /** Item it belongs to. */
  readonly item: string;
  /** Relative to the job's root (in: target, out: source), with `/`. */
  readonly path: string;
  /** Where it was put or taken from. */
  readonly url: string;
  readonly bytes: number;
  readonly sha256: string;
  /**
   * How it was verified: `digest` (against a promised digest, or read back or computed there), `sample` (size, and some ranges
   * that were read back), `size` (only size could be compared), `local` (both ends are on this machine), `accepted` (the far side acknowledged the whole and tells no more).
   */
  readonly verified: "digest" | "sample" | "size" | "local" | "accepted";
  /** Modification time of the local file (whole milliseconds) when it was verified; a hint that it is still the same. */
  readonly mtimeMs?: number | undefined;
}

export interface Progress {
  readonly item: string;
  readonly path: string;
  readonly bytes: number;
  readonly totalBytes: number | undefined;
  readonly files: number;
  readonly totalFiles: number | undefined;
  /** Of the last 20 s or less; undefined while too little is known. */
  readonly bytesPerSecond: number | undefined;
  /** Until all has moved if it goes on like this. */
  readonly etaMs: number | undefined;
}

export interface TransferRequest {
  /** The job's token; names partial files. */
  readonly token: Token;
  readonly direction: Direction;
  /** Absolute local directory that no path may leave (`in/` for stage-in, `work/` for stage-out). */
  readonly root: string;
  readonly items: readonly TransferItem[];
  /**
   * Entries already verified by an earlier run, in any order, of those for one file the last; the engine checks that they still are
   * (size, mtime hint) and does not move them again. Read once.
   */
  readonly known: Iterable<ManifestEntry> | AsyncIterable<ManifestEntry>;
  /** Called, and awaited, for each file that is done: the caller journals it. */
  readonly onFile: (entry: ManifestEntry) => Promise<void>;
  readonly onProgress?: (progress: Progress) => void;
  /**
   * Called when all that the run has under way waits for a remote that does not answer, and with undefined when it goes on. Where it
   * is given the run waits as long as that takes, at the cost of no try; else it fails when its tries are used up.
   */
  readonly onWait?: (wait: RemoteWait | undefined) => void;
}

/** A remote that does not answer, and what it does instead. */
export interface RemoteWait {
  /** As URLs have it. */
  readonly host: string;
  readonly reason: string;
}

/** What one remote may be burdened with, over all jobs. */
export interface RemoteLimits {
  /** Files at the same time, at least 1; default 4. */
  readonly files?: number | undefined;
  /** Both directions together; default: no limit. */
  readonly bytesPerSecond?: number | undefined;
}

/** A job's turn at a remote. */
export interface RemoteUse {
  /** Awaited before each try: waits while the remote does not answer. @throws Fault CANCELLED */
  begin(): Promise<void>;
  /**
   * Awaited by adapters before they send so many bytes (in pieces of at most 1 MiB), and after they received them where the engine does
   * not read itself: keeps to the remote's bandwidth, and lets other jobs have their turn. 0 says that the remote answers.
   * @throws Fault CANCELLED
   */
  flow(bytes: number): Promise<void>;
  /** Its line is lost again and again: what is under way when that happens should be little. */
  readonly fragile?: boolean;
  /** The try succeeded. */
  done(): void;
  /** The try failed; true: for want of an answer, and the next one waits with all others. */
  failed(fault: Fault): boolean;
}

/** The context of what an engine does at a remote. */
export interface TransferContext extends CallContext {
  readonly remote?: RemoteUse;
  /** To be told of bytes that somebody else has moved for us; for figures alone. */
  readonly elsewhere?: (bytes: number) => void;
}

export interface TransferOutcome {
  /** The files, known ones included, sorted by path; of more than 1,000 only some 1,000: `onFile` and `known` had all. */
  readonly manifest: readonly ManifestEntry[];
  /** How many files lie there now. */
  readonly files: number;
  /** Optional items of which nothing was there. */
  readonly missing: readonly string[];
  readonly movedBytes: number;
}

/**
 * Moves items. Idempotent: what is complete stays. Data at a final name is complete and verified; partial data lives under
 * `.part-<token>-…` beside it. Retries inside with backoff; throws TRANSFER (worth another try later), TRANSFER_REFUSED, POLICY,
 * UNSAFE_PATH or DIGEST_MISMATCH naming item and file.
 */
export interface TransferEngine extends AsyncDisposable {
  run(request: TransferRequest, context: CallContext): Promise<TransferOutcome>;
  /** Removes partial files of a job below `root`. */
  clean(token: Token, root: string, context: CallContext): Promise<void>;
  /** What the site's policy says of a source, asked before a run; one that no adapter serves is not allowed. */
  judgeSource(url: string): Verdict;
  /** Ends what services still do for a job that needs it no more, and removes what it left unfinished at destinations. Repeatable. */
  abandon(token: Token, context: CallContext): Promise<void>;
  /** Tries again what could not be removed when jobs were abandoned, where remotes answer. */
  sweep(context: CallContext): Promise<void>;
}

/** What a job may have left unfinished at a destination. */
export interface Leftover {
  /** Of a file that was to be written, canonical and without its query. */
  readonly url: string;
  /** What the store calls that which was begun; without it: partial files of the job in the file's directory. */
  readonly id?: string | undefined;
}

export interface RemoteFile {
  /** Relative to the listed URL with `/`; empty for the URL itself. */
  readonly path: string;
  readonly bytes: number | undefined;
  readonly mtimeMs: number | undefined;
  /** Changes when the content does (ETag, inode+mtime), when the source offers one. */
  readonly version: string | undefined;
  /** What the source, or the job, promises; lower-case hexadecimal. */
  readonly sha256?: string | undefined;
  /** Permission bits (0 … 0o777) that the copy here gets, with the time of change; told where the site wants them preserved. */
  readonly mode?: number | undefined;
  /** For the adapter alone: where the file really lies when its path does not say so. */
  readonly real?: string | undefined;
}

/** Takes files of a listing as they are found, many at a time; to be awaited. @throws Fault when the rest is of no use. */
export type FilesFound = (files: readonly RemoteFile[]) => Promise<void>;

/** What a file is known by once its bytes are. */
export interface FileContent {
  readonly bytes: number;
  /** Lower-case hexadecimal. */
  readonly sha256: string;
}

/** What an adapter has written to a file of this machine. */
export interface WrittenFile extends FileContent {
  /** As the file has it now. */
  readonly mtimeMs: number;
}

/** A file of this machine on its way to `path` below a URL. */
export interface BulkOutput extends FileContent {
  /** Relative to the URL with `/`; empty for the URL itself. */
  readonly path: string;
  /** Its real path, for programs that open files by name; to be read only. */
  readonly localPath: string;
  /** The directory that it lies below, and that nothing may lead out of. */
  readonly root: string;
  /** Whole milliseconds since 1970. */
  readonly mtimeMs: number;
  /** Opens the file for reading, following no link. @throws Fault TRANSFER (`details.source_changed`) if it is another by now. */
  open(): Promise<FileHandle>;
}

/**
 * Many files in one go, for adapters that do this better than file by file (an archive over one connection, rsync), or that
 * know nothing else (a service that copies between two endpoints). The engine cuts lists to these limits, verifies what
 * arrived and names it; a call that fails is repeated with the files that are still missing.
 */
export interface BulkTransfer {
  /** Lists shorter than this go file by file; 1: everything goes this way, and `read` and `write` are never called. */
  readonly leastFiles: number;
  /** Larger files go by themselves; Infinity: none does. */
  readonly mostFileBytes: number;
  /** Of one call; more files or bytes become several calls. */
  readonly mostFiles: number;
  readonly mostBytes: number;
  /**
   * Brings `files`, as listed at `url`, to `directory` (absolute, on this machine, this source's alone; what an earlier try left
   * in it may lie there still, and another call may bring other files of the source there at the same time) as regular files
   * named by their `path` (`file` where that is empty). `arrived` is called for each file that is complete: the engine takes it away,
   * and resolves when the next may come; who wrote the file here itself says what it has written, else the engine reads it. A file
   * that changed since it was listed is left out or fails with `details.source_changed`.
   * @throws Fault UNSUPPORTED: this remote cannot; the engine goes file by file.
   */
  fetch(
    url: string,
    files: readonly RemoteFile[],
    directory: string,
    arrived: (file: RemoteFile, written?: WrittenFile) => Promise<void>,
    context: TransferContext,
    info: { readonly token: Token },
  ): Promise<void>;
  /**
   * Brings `files` to below `url`, each complete before it has its final name where the protocol can. `arrived` is called, and
   * awaited, for each file that lies there, with what was found there after it was written, as `verify` would say it. One that
   * lay there with this very content need not be sent again.
   * @throws Fault UNSUPPORTED: this remote cannot; the engine goes file by file.
   */
  send(
    url: string,
    files: readonly BulkOutput[],
    info: { readonly token: Token },
    arrived: (file: BulkOutput, found: FoundFile) => Promise<void>,
    context: TransferContext,
  ): Promise<void>;
}

/** Size and, where it can be had, digest (lower-case hexadecimal SHA-256) of what lies at a URL. */
export interface FoundFile {
  readonly bytes: number | undefined;
  readonly sha256: string | undefined;
  /** Some ranges were read back, and are what was sent. */
  readonly sampled?: boolean;
}

/** What is to be written, and for whom. */
export interface WriteInfo extends FileContent {
  readonly token: Token;
  /** To be awaited where a store calls what is begun by an id, before anything is sent under it. */
  readonly begun?: (id: string) => Promise<void>;
}

/** One way to reach files; the engine does everything else (order, parallelism, retries, verification, names). */
export interface TransferAdapter extends Adapter {
  /** Without colon: `file`, `http`, `https`, `sftp`. */
  readonly schemes: readonly string[];
  readonly capabilities: {
    readonly resume: boolean;
    readonly list: boolean;
    readonly write: boolean;
    readonly digest: boolean;
  };
  /**
   * The files that `url` stands for, in any order, each once. Where `found` is given, files may be handed to it instead of being in the
   * answer: an adapter that does so with all but a few of them can list a million in bounded memory. They are plain data: the engine
   * keeps them as JSON and hands copies to the other methods. Throws TRANSFER_REFUSED with `details.missing` = true when there is
   * nothing, and whatever `found` throws.
   */
  list(
    url: string,
    kind: "file" | "directory" | "glob",
    context: TransferContext,
    found?: FilesFound,
  ): Promise<readonly RemoteFile[]>;
  /**
   * Opens for reading from `offset`; `version` must still be the listed one, else TRANSFER with `details.source_changed` = true;
   * noticed at the opening or, where it changes meanwhile, by the end of the iteration. A chunk is valid until the next one is
   * asked for.
   */
  read(url: string, file: RemoteFile, offset: number, context: TransferContext): Promise<AsyncIterable<Uint8Array>>;
  /**
   * The absolute path of a source that lies on this machine, checked against the policy with its symbolic links resolved;
   * lets the engine link instead of copy.
   */
  localPath?(url: string, file: RemoteFile, context: TransferContext): Promise<string>;
  /** Writes a whole file under a partial name and renames it where the protocol can; returns when it is complete there. */
  write(url: string, localPath: string, info: WriteInfo, context: TransferContext): Promise<void>;
  /** Size and, where it can be had, digest of what now lies at `url`; undefined = nothing there. */
  verify(url: string, context: TransferContext): Promise<FoundFile | undefined>;
  /** Many files in one go, where the adapter can. */
  readonly bulk?: BulkTransfer;
  /**
   * Ends whatever goes on elsewhere for a job that needs it no more. An aborted signal ends the waiting alone: what a service was
   * told to do goes on and is found again by the next call, also of another process.
   */
  abandon?(token: Token, context: TransferContext): Promise<void>;
  /**
   * Removes what a job that is over left there: what was begun under the id, or the partial files of `token` beside the file; nothing
   * else. Repeatable; that nothing is there is no fault.
   */
  sweep?(leftover: Leftover, token: Token, context: TransferContext): Promise<void>;
}

/** What the agent asks of a cache of inputs; the engine uses it by itself. */
export interface InputCacheControl {
  view(): InputCacheView;
  /** Gives up what was used least lately until so much is free on its file system as the site wants, as far as it can. */
  makeRoom(context: CallContext): Promise<void>;
}

/** What a cache of inputs did since the agent began, and how much lies in it. */
export interface InputCacheView {
  /** Absolute. */
  readonly directory: string;
  /** Undefined until it is first used. */
  readonly bytes: number | undefined;
  readonly files: number | undefined;
  readonly maxBytes: number;
  /** Files that were taken from it, and that were looked for in vain. */
  readonly hits: number;
  readonly misses: number;
  /** Bytes that were not fetched because they were here. */
  readonly savedBytes: number;
  /** Files that made room for others. */
  readonly evicted: number;
  /** Files that were not what their names say. */
  readonly spoilt: number;
  /** Why it is not used at the moment. */
  readonly problem: string | undefined;
}
