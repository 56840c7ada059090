import { constants } from "node:fs";
import { type FileHandle, open, readdir, readlink, realpath, rm, stat } from "node:fs/promises";
import { dirname } from "node:path/posix";
import type { Probe } from "../../common/adapter.ts";
import type { CallContext } from "../../common/context.ts";
import { failpoint } from "../../common/failpoint.ts";
import { Fault, errnoOf } from "../../common/fault.ts";
import { quoted } from "../../common/nearest.ts";
import type { Token } from "../../common/token.ts";
import { digestMismatch, missingSource, sourceChanged, transferFault } from "../errors.ts";
import { digestOf, Landing, readPieces } from "../landing.ts";
import { ListedFiles } from "../listed-files.ts";
import { isPartialName, openDirectoryBelow, partialName, partSuffix, unsafe } from "../paths.ts";
import type { RuleSet, TransferPolicy } from "../policy.ts";
import { isWithin, selection, splitPattern, walk } from "../tree.ts";
import type {
  FileContent,
  FilesFound,
  Leftover,
  RemoteFile,
  TransferAdapter,
  TransferContext,
  WriteInfo,
} from "../types.ts";
import { readUrl, shownUrl } from "../urls.ts";

export interface LocalTransferOptions {
  readonly policy: TransferPolicy;
}

/** Files of this machine (`file:///…`): sources anywhere below the policy's `file:` rules, destinations likewise. */
export function createLocalTransfer(options: LocalTransferOptions): TransferAdapter {
  return new LocalTransfer(options.policy);
}

class LocalTransfer implements TransferAdapter {
  readonly kind = "local";
  readonly schemes = ["file"];
  readonly capabilities = { resume: true, list: true, write: true, digest: true };
  readonly #policy: TransferPolicy;

  constructor(policy: TransferPolicy) {
    this.#policy = policy;
  }

  async probe(): Promise<Probe> {
    try {
      await readlink("/proc/self/exe");
      return { ok: true, version: "1" };
    } catch {
      return {
        ok: false,
        reason: "/proc is not mounted",
        hint: "mount /proc: paths are confined through /proc/self/fd",
      };
    }
  }

  async list(
    url: string,
    kind: "file" | "directory" | "glob",
    context: CallContext,
    found?: FilesFound,
  ): Promise<readonly RemoteFile[]> {
    const what = quoted(shownUrl(url), 300);
    try {
      if (kind === "file") return [await this.#describe(url, context)];
      const segments = this.#segments(url, "sources");
      const split = kind === "glob" ? splitPattern(segments) : { base: segments, pattern: undefined };
      const roots = await this.#realRoots("sources");
      const start = await realpath(`/${split.base.join("/")}`);
      this.#confine(start, roots, url, "sources");
      if (!(await stat(start)).isDirectory()) throw new Fault("TRANSFER_REFUSED", `${what} is no directory`);
      const chosen = selection({ pattern: split.pattern, include: [], exclude: [] });
      const files = new ListedFiles(found);
      const options = { roots, selection: chosen, field: `source ${what}:`, signal: context.signal };
      for await (const { path, stats } of walk(start, options)) await files.add(remoteFile(path, stats));
      return files.rest;
    } catch (error) {
      throw transferFault(error, what);
    }
  }

  async read(url: string, file: RemoteFile, offset: number, context: CallContext): Promise<AsyncIterable<Uint8Array>> {
    return this.#pieces(this.#path(url, file), url, file, offset, context);
  }

  async localPath(url: string, file: RemoteFile): Promise<string> {
    const path = this.#path(url, file);
    try {
      const real = await realpath(path);
      this.#confine(real, await this.#realRoots("sources"), url, "sources");
      return real;
    } catch (error) {
      throw transferFault(error, quoted(shownUrl(url), 300));
    }
  }

  async write(url: string, localPath: string, info: WriteInfo, context: TransferContext): Promise<void> {
    const what = quoted(shownUrl(url), 300);
    const { root, segments, name } = await this.#destination(url);
    try {
      await failpoint("transfer.before-write");
      await using directory = await openDirectoryBelow(root, segments, { create: true, field: "destination" });
      await using landing = await Landing.open(directory, partialName(info.token, partSuffix(name)), {
        resume: false,
        longestBytes: info.bytes,
        signal: context.signal,
      });
      try {
        await using source = await open(localPath, "r");
        for await (const piece of readPieces(source, 0, context.signal)) {
          await context.remote?.flow(piece.byteLength);
          await landing.append(piece);
        }
        if (landing.digest() !== info.sha256) throw digestMismatch(what, info.sha256, landing.digest());
        await landing.commit(name);
      } catch (error) {
        await landing.discard();
        throw error;
      }
      await failpoint("transfer.after-write");
    } catch (error) {
      throw transferFault(error, what);
    }
  }

  async verify(url: string, context: CallContext): Promise<FileContent | undefined> {
    try {
      await using handle = await this.#openInside(
        `/${this.#segments(url, "destinations").join("/")}`,
        url,
        "destinations",
      );
      return await digestOf(handle, context.signal);
    } catch (error) {
      if (errnoOf(error) === "ENOENT") return undefined;
      throw transferFault(error, quoted(shownUrl(url), 300));
    }
  }

  async sweep({ url }: Leftover, token: Token): Promise<void> {
    const { root, segments } = await this.#destination(url);
    try {
      await using directory = await openDirectoryBelow(root, segments, { create: false, field: "destination" });
      for (const name of await readdir(directory.at("."))) {
        if (isPartialName(name, token)) await rm(directory.at(name), { force: true });
      }
    } catch (error) {
      if (errnoOf(error) !== "ENOENT") throw transferFault(error, quoted(shownUrl(url), 300));
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {}

  async *#pieces(
    path: string,
    url: string,
    file: RemoteFile,
    offset: number,
    context: CallContext,
  ): AsyncGenerator<Uint8Array> {
    const what = quoted(shownUrl(url) + (file.path === "" ? "" : ` ${file.path}`), 300);
    try {
      await using handle = await this.#openInside(path, url, "sources");
      if (file.version !== undefined && (await versionOf(handle)) !== file.version) throw sourceChanged(what);
      yield* readPieces(handle, offset, context.signal);
      if (file.version !== undefined && (await versionOf(handle)) !== file.version) throw sourceChanged(what);
    } catch (error) {
      throw transferFault(error, what);
    }
  }

  async #describe(url: string, context: CallContext): Promise<RemoteFile> {
    context.signal.throwIfAborted();
    await using handle = await this.#openInside(`/${this.#segments(url, "sources").join("/")}`, url, "sources");
    return remoteFile("", await handle.stat({ bigint: true }));
  }

  /** Decoded components of the path; checked against the policy. */
  #segments(url: string, set: RuleSet): readonly string[] {
    const reading = readUrl(this.#policy.check(url, set));
    if (!reading.ok) throw new Fault("POLICY", `${quoted(shownUrl(url), 300)} is refused: ${reading.problem}`);
    return reading.url.segments.at(-1) === "" ? reading.url.segments.slice(0, -1) : reading.url.segments;
  }

  #path(url: string, file: RemoteFile): string {
    const segments = this.#segments(url, "sources");
    if (file.path === "") return `/${segments.join("/")}`;
    const base = segments.some((segment) => /[*?[{]/.test(segment)) ? splitPattern(segments).base : segments;
    return `/${[...base, file.path].join("/")}`;
  }

  /** Roots of the policy that exist, with links resolved: the administrator may name a link. */
  async #realRoots(set: RuleSet): Promise<readonly string[]> {
    const roots = this.#policy.fileRoots(set).map((root) => realpath(root).catch(() => undefined));
    return (await Promise.all(roots)).filter((root) => root !== undefined);
  }

  #confine(real: string, roots: readonly string[], url: string, set: RuleSet): void {
    if (roots.some((root) => isWithin(real, root))) return;
    throw unsafe(`policy.${set}:`, shownUrl(url), "its symbolic links lead outside what the rules allow");
  }

  /** Opens a regular file; where its links really lead is asked of the open handle, so it cannot be swapped meanwhile. */
  async #openInside(path: string, url: string, set: RuleSet): Promise<FileHandle> {
    const handle = await open(path, constants.O_RDONLY | constants.O_NONBLOCK).catch((error: unknown) => {
      throw errnoOf(error) === "ENXIO" ? unsafe("file", shownUrl(url), "it is a socket or device", error) : error;
    });
    try {
      this.#confine(await readlink(`/proc/self/fd/${handle.fd}`), await this.#realRoots(set), url, set);
      const stats = await handle.stat();
      if (stats.isDirectory()) throw new Fault("TRANSFER_REFUSED", `${quoted(shownUrl(url), 300)} is a directory`);
      if (!stats.isFile()) throw unsafe("file", shownUrl(url), "it is a fifo or device");
      return handle;
    } catch (error) {
      await handle.close();
      throw error;
    }
  }

  /** The rule's directory (links resolved), the directories below it, and the name. */
  async #destination(url: string): Promise<{ root: string; segments: readonly string[]; name: string }> {
    const segments = this.#segments(url, "destinations");
    const path = `/${segments.join("/")}`;
    const name = segments.at(-1);
    const rule = this.#policy
      .fileRoots("destinations")
      .filter((root) => isWithin(path, root))
      .toSorted((a, b) => a.length - b.length)
      .at(0);
    if (name === undefined || rule === undefined) throw missingSource(quoted(shownUrl(url)));
    const root = rule === path ? dirname(path) : rule;
    try {
      const below = segments.slice(root === "/" ? 0 : root.split("/").length - 1, -1);
      return { root: await realpath(root), segments: below, name };
    } catch (error) {
      throw new Fault("TRANSFER_REFUSED", `directory '${root}' of policy.destinations does not exist`, {
        hint: `create it: mkdir -p '${root}'`,
        cause: error,
      });
    }
  }
}

function remoteFile(path: string, stats: StatsLike): RemoteFile {
  const mtimeMs = Number(stats.mtimeNs / 1_000_000n);
  return { path, bytes: Number(stats.size), mtimeMs, version: versionText(stats) };
}

interface StatsLike {
  readonly dev: bigint;
  readonly ino: bigint;
  readonly size: bigint;
  readonly mtimeNs: bigint;
}

async function versionOf(handle: FileHandle): Promise<string> {
  return versionText(await handle.stat({ bigint: true }));
}

function versionText(stats: StatsLike): string {
  return `${stats.dev}-${stats.ino}-${stats.size}-${stats.mtimeNs}`;
}
