import { open } from "node:fs/promises";
import type { Probe } from "../../common/adapter.ts";
import type { CallContext } from "../../common/context.ts";
import { failpoint } from "../../common/failpoint.ts";
import { Fault } from "../../common/fault.ts";
import { quoted } from "../../common/nearest.ts";
import { sourceChanged } from "../errors.ts";
import { readPieces } from "../landing.ts";
import type { FileContent, FoundFile, RemoteFile, TransferAdapter, TransferContext } from "../types.ts";
import { shownUrl } from "../urls.ts";
import { bodyOf } from "./body.ts";
import { drop, type HttpAnswer, HttpClient, type HttpHeaders, type HttpTransferOptions } from "./client.ts";
import {
  contentLength,
  contentRange,
  ifRange,
  representation,
  reprDigest,
  type Representation,
  single,
} from "./headers.ts";
import { statusFault } from "./status.ts";

/** Files behind `http:` and `https:` URLs: GET with ranges, PUT for outputs. */
export function createHttpTransfer(options: HttpTransferOptions): TransferAdapter {
  return new HttpTransfer(options);
}

/** Answers of servers and signed URLs that know GET (or PUT) but not HEAD. */
const headRefused = new Set([400, 401, 403, 405, 501]);

class HttpTransfer implements TransferAdapter {
  readonly kind = "http";
  readonly schemes = ["http", "https"];
  readonly capabilities = { resume: true, list: false, write: true, digest: false };
  readonly #client: HttpClient;
  readonly #idleMs: number;

  constructor(options: HttpTransferOptions) {
    this.#client = new HttpClient(options);
    this.#idleMs = options.idleTimeoutMs ?? 60_000;
  }

  async probe(): Promise<Probe> {
    return { ok: true, version: "1.1" };
  }

  async list(url: string, kind: "file" | "directory" | "glob", context: CallContext): Promise<readonly RemoteFile[]> {
    if (kind !== "file") {
      throw new Fault(
        "TRANSFER_REFUSED",
        `${quoted(shownUrl(url), 300)}: http has no listings; kind '${kind}' needs one`,
        {
          hint: "use kind 'file' per file, or a transfer that can list (file:, sftp:)",
        },
      );
    }
    const { bytes, version, mtimeMs, sha256 } = await this.#describe(url, context);
    return [{ path: "", bytes, mtimeMs, version, sha256 }];
  }

  async read(url: string, file: RemoteFile, offset: number, context: CallContext): Promise<AsyncIterable<Uint8Array>> {
    return this.#pieces(url, file, offset, context);
  }

  async write(url: string, localPath: string, info: FileContent, context: TransferContext): Promise<void> {
    await using source = await open(localPath, "r");
    await failpoint("transfer.before-write");
    const answer = await this.#client.call(
      url,
      "destinations",
      {
        method: "PUT",
        headers: {
          "content-length": String(info.bytes),
          "content-type": "application/octet-stream",
          "repr-digest": reprDigest(info.sha256),
        },
        body: () => copies(readPieces(source, 0, context.signal), context),
      },
      context,
    );
    await drop(answer.body);
    if (answer.status < 200 || answer.status > 299) throw statusFault(shownUrl(url), answer, context.clock.now());
    await failpoint("transfer.after-write");
  }

  async verify(url: string, context: CallContext): Promise<FoundFile | undefined> {
    const answer = await this.#client.call(url, "destinations", { method: "HEAD" }, context);
    await drop(answer.body);
    if (answer.status === 404 || answer.status === 410) return undefined;
    if (headRefused.has(answer.status)) return { bytes: undefined, sha256: undefined };
    if (answer.status !== 200 && answer.status !== 204) throw statusFault(shownUrl(url), answer, context.clock.now());
    const { bytes, sha256 } = representation(answer.headers);
    return { bytes: answer.status === 204 && bytes === 0 ? undefined : bytes, sha256 };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#client[Symbol.asyncDispose]();
  }

  /** Asks by HEAD, and by a GET of the first byte where HEAD is refused. */
  async #describe(url: string, context: CallContext): Promise<Representation> {
    const head = await this.#client.call(url, "sources", { method: "HEAD" }, context);
    await drop(head.body);
    const described = representation(head.headers);
    if (head.status === 200 && described.bytes !== 0) {
      checkEncoding(url, head.headers);
      return described;
    }
    // Some servers answer every HEAD with length 0.
    if (head.status !== 200 && !headRefused.has(head.status))
      throw statusFault(shownUrl(url), head, context.clock.now());
    const call = { method: "GET", headers: { range: "bytes=0-0" } } as const;
    const first = await this.#client.call(url, "sources", call, context);
    await drop(first.body);
    const range = contentRange(first.headers);
    const empty = first.status === 416 && range?.total === 0;
    if (first.status !== 200 && first.status !== 206 && !empty) {
      throw statusFault(shownUrl(url), first, context.clock.now());
    }
    checkEncoding(url, first.headers);
    return representation(first.headers, first.status === 200 ? undefined : (range ?? noRange));
  }

  async *#pieces(url: string, file: RemoteFile, offset: number, context: CallContext): AsyncGenerator<Uint8Array> {
    const what = quoted(shownUrl(url), 300);
    if (offset > 0 && offset === file.bytes) {
      const now = await this.#describe(url, context); // all is there; only whether it is still this file is in question
      if (now.version !== file.version || now.bytes !== file.bytes) throw sourceChanged(what);
      return;
    }
    const headers: Record<string, string> = {};
    if (offset > 0) headers["range"] = `bytes=${offset}-`;
    if (offset > 0 && file.version !== undefined) headers["if-range"] = ifRange(file.version);
    const answer = await this.#client.call(url, "sources", { method: "GET", headers }, context);
    try {
      const skip = acceptAnswer(url, what, answer, file, offset, context.clock.now());
      if (file.sha256 === undefined) checkEndIsKnown(what, answer);
      yield* bodyOf(url, what, answer, { skip, idleMs: this.#idleMs }, context);
    } finally {
      answer.body.on("error", () => {}); // destroying a body that still flows is an error to it
      answer.body.destroy();
    }
  }
}

/** The request reads ahead and keeps what it read. */
async function* copies(pieces: AsyncIterable<Uint8Array>, context: TransferContext): AsyncGenerator<Uint8Array> {
  for await (const piece of pieces) {
    await context.remote?.flow(piece.byteLength);
    yield Buffer.from(piece);
  }
}

const noRange = { first: undefined, total: undefined };

/** Says how many bytes of the answer are to be skipped; throws when it is not the file that was listed. */
function acceptAnswer(
  url: string,
  what: string,
  answer: HttpAnswer,
  file: RemoteFile,
  offset: number,
  now: number,
): number {
  if (answer.status === 416) throw sourceChanged(what);
  if (answer.status !== 200 && answer.status !== 206) throw statusFault(shownUrl(url), answer, now);
  checkEncoding(url, answer.headers);
  const range = answer.status === 206 ? contentRange(answer.headers) : undefined;
  if (answer.status === 206 && range?.first !== offset) {
    throw new Fault("TRANSFER", `${what} answered with another range than was asked for`);
  }
  const found = representation(answer.headers, range);
  const otherVersion = file.version !== undefined && found.version !== undefined && found.version !== file.version;
  // An answer without a validator cannot continue a file that had one.
  const unknownVersion =
    answer.status === 200 && offset > 0 && file.version !== undefined && found.version === undefined;
  const otherSize = file.bytes !== undefined && found.bytes !== undefined && found.bytes !== file.bytes;
  if (otherVersion || unknownVersion || otherSize) throw sourceChanged(what);
  return answer.status === 200 ? offset : 0;
}

/** A body that ends with the connection looks complete when it is cut; without a digest nothing could tell. */
function checkEndIsKnown(what: string, { headers }: HttpAnswer): void {
  if (contentLength(headers) !== undefined) return;
  if (single(headers, "transfer-encoding")?.toLowerCase().includes("chunked")) return;
  throw new Fault("TRANSFER_REFUSED", `${what} is sent without a length, so its end cannot be told from a cut`, {
    hint: "give the input's 'sha256', or have the server send Content-Length",
  });
}

/** A server that packs the file on the way would leave us with other bytes than the file's. */
function checkEncoding(url: string, headers: HttpHeaders): void {
  const encoding = single(headers, "content-encoding")?.trim().toLowerCase() ?? "identity";
  if (encoding === "identity" || encoding === "") return;
  // Servers say this of files that are stored packed; their bytes are what is wanted.
  if (/\.(gz|tgz|bgz|bz2|xz|zst|br|Z|zip)$/i.test(new URL(url).pathname)) return;
  throw new Fault("TRANSFER_REFUSED", `${quoted(shownUrl(url), 300)} is sent with Content-Encoding '${encoding}'`, {
    hint: "have the server send the file as it is when 'Accept-Encoding: identity' is asked for",
  });
}
