import type { Probe } from "../../common/adapter.ts";
import type { CallContext } from "../../common/context.ts";
import { asFault, Fault } from "../../common/fault.ts";
import type { Token } from "../../common/token.ts";
import type { TransferPolicy } from "../policy.ts";
import { RemoteDigests } from "../sftp/digests.ts";
import { createSftpTransfer } from "../sftp/index.ts";
import { type FindAccess, placeOf } from "../sftp/place.ts";
import type { BulkTransfer, FilesFound, FoundFile, Leftover, RemoteFile, TransferAdapter } from "../types.ts";
import { fetchByRsync } from "./fetch.ts";
import { type SendDeps, sendByRsync } from "./send.ts";
import { StagingDirectories } from "./staging.ts";
import { RsyncVersions } from "./versions.ts";

export interface RsyncTransferOptions {
  readonly policy: TransferPolicy;
  readonly access: FindAccess;
}

/** Files behind `rsync:` URLs: listed and looked at by SFTP, moved by an rsync at both ends, over the hosts' SSH layer. */
export function createRsyncTransfer({ policy, access }: RsyncTransferOptions): TransferAdapter {
  return new RsyncTransfer(policy, access);
}

class RsyncTransfer implements TransferAdapter {
  readonly kind = "rsync";
  readonly schemes = ["rsync"];
  readonly capabilities = { resume: false, list: true, write: true, digest: true };
  readonly bulk: BulkTransfer;
  readonly #deps: SendDeps;
  readonly #files: TransferAdapter;

  constructor(policy: TransferPolicy, find: FindAccess) {
    this.#deps = {
      policy,
      find,
      versions: new RsyncVersions(),
      digests: new RemoteDigests(),
      staging: new StagingDirectories(),
    };
    this.#files = createSftpTransfer({ policy, access: find });
    this.bulk = {
      leastFiles: 1,
      mostFileBytes: Infinity,
      // Each is held open while it is sent.
      mostFiles: 1_000,
      // A place in the queue of the host is given back in between.
      mostBytes: 64 * 1024 ** 3,
      fetch: (url, files, directory, arrived, context) =>
        fetchByRsync(this.#deps, url, files, directory, arrived, context),
      send: (url, files, { token }, arrived, context) =>
        sendByRsync(this.#deps, { url, files, token, arrived }, context),
    };
  }

  async probe(): Promise<Probe> {
    try {
      const { text } = await this.#deps.versions.here();
      return { ok: true, version: text };
    } catch (error) {
      const { message, hint } = asFault(error);
      return { ok: false, reason: message, ...(hint === undefined ? {} : { hint }) };
    }
  }

  list(
    url: string,
    kind: "file" | "directory" | "glob",
    context: CallContext,
    found?: FilesFound,
  ): Promise<readonly RemoteFile[]> {
    return this.#files.list(url, kind, context, found);
  }

  async read(url: string): Promise<never> {
    return this.#inBulkOnly(url, "sources");
  }

  async write(url: string): Promise<never> {
    return this.#inBulkOnly(url, "destinations");
  }

  verify(url: string, context: CallContext): Promise<FoundFile | undefined> {
    return this.#files.verify(url, context);
  }

  async sweep(leftover: Leftover, token: Token, context: CallContext): Promise<void> {
    await this.#files.sweep?.(leftover, token, context);
  }

  async [Symbol.asyncDispose](): Promise<void> {}

  #inBulkOnly(url: string, set: "sources" | "destinations"): never {
    const { what } = placeOf(url, set, this.#deps.policy, this.#deps.find);
    throw new Fault("UNSUPPORTED", `${what}: rsync moves files in bulk alone`);
  }
}
