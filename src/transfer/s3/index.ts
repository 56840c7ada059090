import { createHash } from "node:crypto";
import type { Probe } from "../../common/adapter.ts";
import type { CallContext } from "../../common/context.ts";
import type { Token } from "../../common/token.ts";
import type { TransferPolicy } from "../policy.ts";
import type {
  FilesFound,
  FoundFile,
  Leftover,
  RemoteFile,
  TransferAdapter,
  TransferContext,
  WriteInfo,
} from "../types.ts";
import { S3Client } from "./client.ts";
import { listObjects } from "./list.ts";
import { find, mustFind, readObject, s3Code, type S3Object } from "./object.ts";
import { fileOf, type Place, placeOf } from "./place.ts";
import type { FindStore } from "./types.ts";
import { type BegunUploads, removeUpload } from "./upload.ts";
import { writeObject, type Written } from "./write.ts";

export interface S3TransferOptions {
  readonly policy: TransferPolicy;
  readonly stores: FindStore;
  /** Where the keys of roles are asked for; default: the agent's environment. */
  readonly env?: NodeJS.ProcessEnv;
}

/** Objects behind `s3:` URLs, at the stores that the site file names. */
export function createS3Transfer(options: S3TransferOptions): TransferAdapter {
  return new S3Transfer(options);
}

/** Objects that were written and not yet asked for; the engine asks at once. */
const mostRemembered = 1_000;
/** Smaller objects are read back where the store keeps no digest of them. */
const readBackBytes = 16 * 1024 * 1024;

class S3Transfer implements TransferAdapter {
  readonly kind = "s3";
  readonly schemes = ["s3"];
  readonly capabilities = { resume: true, list: true, write: true, digest: true };
  readonly #policy: TransferPolicy;
  readonly #stores: FindStore;
  readonly #client: S3Client;
  /** What was written a moment ago, by canonical URL. */
  readonly #written = new Map<string, Written>();
  readonly #uploads: BegunUploads = new Map();

  constructor({ policy, stores, env = process.env }: S3TransferOptions) {
    this.#policy = policy;
    this.#stores = stores;
    this.#client = new S3Client(env);
  }

  async probe(): Promise<Probe> {
    return { ok: true, version: "2006-03-01" };
  }

  async list(
    url: string,
    kind: "file" | "directory" | "glob",
    context: CallContext,
    found?: FilesFound,
  ): Promise<readonly RemoteFile[]> {
    const place = placeOf(url, "sources", this.#policy, this.#stores);
    if (kind !== "file") return await listObjects(this.#client, { place, kind, found }, context);
    const { bytes, mtimeMs, version, sha256 } = await mustFind(this.#client, place, context);
    const compared = place.store.settings.verify === "digest" && sha256 !== undefined;
    return [{ path: "", bytes, mtimeMs, version, ...(compared ? { sha256 } : {}) }];
  }

  async read(url: string, file: RemoteFile, offset: number, context: CallContext): Promise<AsyncIterable<Uint8Array>> {
    const place = placeOf(url, "sources", this.#policy, this.#stores);
    return readObject(this.#client, fileOf(place, file), file, offset, context);
  }

  async write(url: string, localPath: string, info: WriteInfo, context: TransferContext): Promise<void> {
    const place = placeOf(url, "destinations", this.#policy, this.#stores);
    const name = place.name;
    this.#written.delete(name);
    const written = await writeObject(this.#client, place, localPath, info, this.#uploads, context);
    if (this.#written.size < mostRemembered) this.#written.set(name, written);
  }

  async verify(url: string, context: TransferContext): Promise<FoundFile | undefined> {
    const place = placeOf(url, "destinations", this.#policy, this.#stores);
    const name = place.name;
    const written = this.#written.get(name);
    this.#written.delete(name);
    const found = await this.#find(place, context);
    if (found === undefined || found === "hidden") return found && { bytes: undefined, sha256: undefined };
    const { bytes, version, sha256 } = found;
    if (place.store.settings.verify === "size") return { bytes, sha256: undefined };
    if (sha256 !== undefined) return { bytes, sha256 };
    if (written?.version !== undefined && written.version === version) return { bytes, sha256: written.sha256 };
    if (bytes === undefined || bytes > readBackBytes) return { bytes, sha256: undefined };
    return await this.#readBack(place, { path: "", bytes, mtimeMs: undefined, version }, context);
  }

  async sweep({ url, id }: Leftover, _token: Token, context: CallContext): Promise<void> {
    if (id === undefined) return; // nothing partial has a name there
    const place = placeOf(url, "destinations", this.#policy, this.#stores);
    await removeUpload(this.#client, place, id, context);
    if (this.#uploads.get(place.name)?.id === id) this.#uploads.delete(place.name);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#client[Symbol.asyncDispose]();
  }

  /** `hidden`: an account that may write but not read is not told. */
  async #find(place: Place, context: CallContext): Promise<S3Object | "hidden" | undefined> {
    try {
      return await find(this.#client, place, "destinations", context);
    } catch (error) {
      if (s3Code(error) === "AccessDenied") return "hidden";
      throw error;
    }
  }

  async #readBack(place: Place, file: RemoteFile, context: TransferContext): Promise<FoundFile> {
    const hash = createHash("sha256");
    for await (const piece of readObject(this.#client, place, file, 0, context)) {
      hash.update(piece);
      await context.remote?.flow(piece.byteLength);
    }
    return { bytes: file.bytes, sha256: hash.digest("hex") };
  }
}
