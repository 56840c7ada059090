import type { Probe } from "../../common/adapter.ts";
import type { CallContext } from "../../common/context.ts";
import { asFault, Fault } from "../../common/fault.ts";
import type { Token } from "../../common/token.ts";
import type { TransferPolicy } from "../policy.ts";
import { splitPattern } from "../tree.ts";
import type { BulkTransfer, FilesFound, FoundFile, RemoteFile, TransferAdapter } from "../types.ts";
import { fetchFiles, type GlobusParts, sendFiles } from "./bulk.ts";
import { GlobusHttp, TransferApi } from "./client.ts";
import { Listings } from "./list.ts";
import { Notes } from "./notes.ts";
import { placeOf, scheme } from "./places.ts";
import { Tasks } from "./tasks.ts";
import { AccessTokens } from "./token.ts";
import type { GlobusPace, GlobusSettings } from "./types.ts";
import { Work } from "./work.ts";

export interface GlobusTransferOptions {
  readonly policy: TransferPolicy;
  /** Undefined: the site has no collection; every verb says so. */
  readonly globus?: GlobusSettings | undefined;
  /** Default: 2 s, then slower, at most 30 s. */
  readonly pace?: GlobusPace;
}

/** Files behind `globus:` URLs: the service copies them between their collection and the site's own. */
export function createGlobusTransfer(options: GlobusTransferOptions): TransferAdapter {
  return new GlobusTransfer(options);
}

const usualPace: GlobusPace = { firstMs: 2_000, longestMs: 30_000 };
/** A submission of so many has some 3 MB. */
const mostFiles = 10_000;

class GlobusTransfer implements TransferAdapter {
  readonly kind = "globus";
  readonly schemes = [scheme];
  readonly capabilities = { resume: false, list: true, write: true, digest: false };
  readonly bulk: BulkTransfer;
  readonly #policy: TransferPolicy;
  readonly #http = new GlobusHttp();
  readonly #parts: GlobusParts | undefined;

  constructor({ policy, globus, pace = usualPace }: GlobusTransferOptions) {
    this.#policy = policy;
    this.#parts = globus && partsOf(this.#http, globus, pace);
    this.bulk = {
      leastFiles: 1,
      mostFileBytes: Infinity,
      mostFiles,
      mostBytes: Infinity,
      fetch: async (url, files, directory, arrived, context, { token }) => {
        const place = placeOf(url, "sources", this.#policy);
        await fetchFiles(this.#ready(), { place, files, directory, token }, arrived, context);
      },
      send: async (url, files, { token }, arrived, context) => {
        const place = placeOf(url, "destinations", this.#policy);
        await sendFiles(this.#ready(), { place, files, token }, arrived, context);
      },
    };
  }

  /** Whether the service takes our credentials, and has the directories that `globus.paths` names. */
  async probe(context: CallContext): Promise<Probe> {
    try {
      const { settings, listings } = this.#ready();
      const { collection, paths } = settings;
      for (const { local, remote } of paths) {
        const place = { collection, what: `'${remote}' of the site's collection` };
        const entry = await listings.stat(place, remote, context);
        if (entry?.type === "dir") continue;
        const reason = `the site's collection has no directory '${remote}', which globus.paths says is '${local}'`;
        return { ok: false, reason, hint: "compare globus.paths with what app.globus.org shows of the collection" };
      }
      return { ok: true, version: "0.10" };
    } catch (error) {
      const { message, hint } = asFault(error);
      return { ok: false, reason: message, ...(hint === undefined ? {} : { hint }) };
    }
  }

  async list(
    url: string,
    kind: "file" | "directory" | "glob",
    context: CallContext,
    found?: FilesFound,
  ): Promise<readonly RemoteFile[]> {
    const place = placeOf(url, "sources", this.#policy);
    const { listings } = this.#ready();
    if (kind === "file") return [await listings.one(place, context)];
    const pattern = kind === "glob" ? splitPattern(place.segments).pattern : undefined;
    return await listings.many({ place, pattern, found }, context);
  }

  async read(url: string): Promise<AsyncIterable<Uint8Array>> {
    placeOf(url, "sources", this.#policy);
    throw copiesItself();
  }

  async write(url: string): Promise<void> {
    placeOf(url, "destinations", this.#policy);
    throw copiesItself();
  }

  async verify(url: string, context: CallContext): Promise<FoundFile | undefined> {
    const place = placeOf(url, "destinations", this.#policy);
    const entry = await this.#ready().listings.stat(place, place.path, context);
    if (entry?.type === "dir") throw new Fault("TRANSFER_REFUSED", `${place.what} is a directory`);
    return entry && { bytes: entry.size ?? undefined, sha256: undefined };
  }

  async abandon(token: Token, context: CallContext): Promise<void> {
    await this.#parts?.work.abandon(token, context);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#http[Symbol.asyncDispose]();
  }

  #ready(): GlobusParts {
    if (this.#parts) return this.#parts;
    throw new Fault("TRANSFER_REFUSED", "this site has no Globus collection", {
      hint: "say under globus in the site file which one is its own",
    });
  }
}

function partsOf(http: GlobusHttp, settings: GlobusSettings, pace: GlobusPace): GlobusParts {
  const api = new TransferApi(http, new AccessTokens(settings, http), settings.api);
  const notes = new Notes(settings.notes);
  return { settings, listings: new Listings(api), work: new Work(new Tasks(api, notes, settings, pace), notes) };
}

function copiesItself(): Fault {
  return new Fault("UNSUPPORTED", "Globus copies whole files between collections; none goes through this process");
}
