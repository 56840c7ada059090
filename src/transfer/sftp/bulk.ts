/** Many small files of a remote as one archive over a command, where commands run. */
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { posix } from "node:path";
import type { Duplex } from "node:stream";
import { inFileThread } from "../../common/file-thread.ts";
import type { CallContext } from "../../common/context.ts";
import { failpoint } from "../../common/failpoint.ts";
import { Fault } from "../../common/fault.ts";
import type { Token } from "../../common/token.ts";
import { digestMismatch, throwIfStopped } from "../errors.ts";
import { arrivalPath } from "../bulk.ts";
import { partialName, partSuffix, unsafe } from "../paths.ts";
import type { TransferPolicy } from "../policy.ts";
import { transferThread } from "../thread.ts";
import type { BulkOutput, BulkTransfer, FoundFile, RemoteFile, TransferContext, WrittenFile } from "../types.ts";
import { urlBelow } from "../urls.ts";
import {
  checkAnswer,
  memberName,
  otherContent,
  sendingCommand,
  takingCommand,
  unsupportedIfNoCommands,
} from "./bundle.ts";
import { destinationDirectory } from "./destination.ts";
import { sftpFault } from "./faults.ts";
import { type FindAccess, fileOf, type Place, placeOf } from "./place.ts";
import { ArchiveReader, endBytes, memberBytes, padded, writeHeader } from "./tar.ts";
import type * as tarFiles from "./tar-files.ts";
import type { RunningCommand, StreamedCommand } from "./types.ts";

const pack = inFileThread<typeof tarFiles.pack>(import.meta.url, "./tar-files", "pack", transferThread);
const unpack = inFileThread<typeof tarFiles.unpack>(import.meta.url, "./tar-files", "unpack", transferThread);

/** Of an archive that is handed to the thread, or read by it, at a time. */
const pieceBytes = 1024 * 1024;
/** Directories that are made at the same time. */
const directoriesAtOnce = 64;
/** Names of a whole group, or their digests. */
const mostPrinted = 16 * 1024 * 1024;
/** Of the temporary directories of this process. */
const processId = randomBytes(6).toString("hex");

export interface SftpBulkOptions {
  readonly policy: TransferPolicy;
  readonly find: FindAccess;
}

export class SftpBulk implements BulkTransfer {
  readonly leastFiles = 8;
  readonly mostFileBytes = 1024 * 1024;
  readonly mostFiles = 2_000;
  readonly mostBytes = 64 * 1024 * 1024;
  readonly #options: SftpBulkOptions;

  constructor(options: SftpBulkOptions) {
    this.#options = options;
  }

  async fetch(
    url: string,
    files: readonly RemoteFile[],
    directory: string,
    arrived: (file: RemoteFile, written?: WrittenFile) => Promise<void>,
    context: TransferContext,
  ): Promise<void> {
    const place = this.#place(url, "sources");
    const wanted = new Map(files.map((file) => [memberName(file.real ?? fileOf(place, file).path), file]));
    const unproven: { readonly file: RemoteFile; readonly written: WrittenFile | undefined }[] = [];
    const reader = new ArchiveReader((name) => wanted.get(name));
    const unpackAll = async (): Promise<void> => {
      const { buffer, members } = reader.take();
      const come = members.flatMap((member) => {
        const file = wanted.get(member.name);
        return file ? [{ ...member, file, path: arrivalPath(file) }] : [];
      });
      if (come.length === 0) return;
      const plain = come.map(({ name, at, bytes, path }) => ({ name, at, bytes, path }));
      const written = await unpack(directory, plain, buffer);
      const outcome = come.map(({ file }, index) => ({ file, written: written[index] }));
      unproven.push(...outcome.filter(({ file }) => file.sha256 === undefined));
      const proven = outcome.filter(({ file }) => file.sha256 !== undefined);
      await Promise.all(proven.map((one) => arrived(one.file, one.written)));
    };
    await using command = await start(place, sendingCommand, context);
    command.pipe.end([...wanted.keys()].map((name) => `${name}\0`).join(""));
    let unpacking = Promise.resolve();
    for await (const chunk of command.pipe as AsyncIterable<Buffer>) {
      reader.add(chunk);
      await context.remote?.flow(chunk.byteLength);
      if (reader.waiting < pieceBytes) continue;
      await unpacking;
      unpacking = unpackAll();
      unpacking.catch(() => undefined); // awaited before the next
    }
    await unpacking;
    await unpackAll();
    checkAnswer(place.what, await command.ended);
    // Without a digest only the last word of tar tells that none changed while it was read.
    await Promise.all(unproven.map(({ file, written }) => arrived(file, written)));
  }

  async send(
    url: string,
    files: readonly BulkOutput[],
    { token }: { readonly token: Token },
    arrived: (file: BulkOutput, found: FoundFile) => Promise<void>,
    context: TransferContext,
  ): Promise<void> {
    const place = this.#place(url, "destinations");
    await failpoint("transfer.before-write");
    const bundle = await this.#bundle(url, files, context);
    const { settings } = place.access;
    const own = `g${processId}`;
    const taking = {
      base: bundle.base,
      name: partialName(token, `${own}${partSuffix(...files.map(({ path }) => path))}`),
      own: partialName(token, own),
      all: partialName(token, "g"),
      keepMode: settings.preserve,
      replace: settings.existing === "replace",
      compare: settings.verify === "size" ? ("size" as const) : ("digest" as const),
    };
    await using command = await start(place, takingCommand(taking), context);
    const printed = textOf(command.pipe);
    printed.catch(() => undefined); // awaited when all is written
    for await (const piece of bundle.read(settings.preserve, context)) await write(command, piece);
    command.pipe.end();
    const stdout = await printed;
    const answer = await command.ended;
    if (answer.exitCode === otherContent) throw bundle.mismatch(place.what, stdout);
    checkAnswer(place.what, answer);
    await failpoint("transfer.after-write");
    const left = new Set(stdout.split("\0"));
    const there = bundle.members.filter(({ name }) => !left.has(name));
    await Promise.all(
      there.map(({ file }) =>
        arrived(file, { bytes: file.bytes, sha256: settings.verify === "size" ? undefined : file.sha256 }),
      ),
    );
    const kept = bundle.members.find(({ name }) => left.has(name));
    if (kept) throw inTheWay(place, kept.file, answer.stderr);
  }

  #place(url: string, set: "sources" | "destinations"): Place {
    const place = placeOf(url, set, this.#options.policy, this.#options.find);
    if (!place.access.settings.shell) throw new Fault("UNSUPPORTED", `${place.what}: 'shell: false' stands for it`);
    return place;
  }

  /** Directories are made, and looked at, as for single files. */
  async #bundle(url: string, files: readonly BulkOutput[], context: TransferContext): Promise<Bundle> {
    const parents = [...new Set(files.map(({ path }) => parentOf(path)))];
    const reals: string[] = [];
    for (let at = 0; at < parents.length; at += directoriesAtOnce) {
      const some = parents.slice(at, at + directoriesAtOnce);
      const made = await Promise.all(
        some.map(async (parent) => {
          const place = this.#place(urlBelow(url, parent === "" ? "x" : `${parent}/x`), "destinations");
          try {
            return await destinationDirectory(place, context);
          } catch (error) {
            throw sftpFault(error, place.what);
          }
        }),
      );
      reals.push(...made);
    }
    if (reals.some((real) => real.includes("\n")))
      throw new Fault("UNSUPPORTED", "a directory there has a line end in its name");
    return new Bundle(files, parents, reals);
  }
}

interface BundleMember {
  readonly file: BulkOutput;
  /** In the archive. */
  readonly name: string;
}

/** An archive of files that go to several directories. */
class Bundle {
  readonly members: readonly BundleMember[];
  /** Real path of one of the directories. */
  readonly base: string;
  readonly #head: Uint8Array;

  constructor(files: readonly BulkOutput[], parents: readonly string[], reals: readonly string[]) {
    const numbers = new Map(parents.map((parent, index) => [parent, index]));
    this.members = files.map((file) => ({
      file,
      name: `f/${numbers.get(parentOf(file.path)) ?? 0}/${posix.basename(file.path)}`,
    }));
    this.base = reals.toSorted((a, b) => a.length - b.length)[0] ?? "/";
    const sums = this.members.map(({ file, name }) => `${file.sha256}  ${name}\n`).join("");
    this.#head = headOf({ dirs: reals.map((real) => `${real}\n`).join(""), sums });
  }

  /** The fault for the first file whose digest in `sums` is not what was sent. */
  mismatch(what: string, sums: string): Fault {
    const found = new Map(sums.split("\n").map((line) => [line.slice(66), line.slice(0, 64)]));
    for (const { file, name } of this.members) {
      const actual = found.get(name);
      if (actual !== undefined && actual !== file.sha256)
        return digestMismatch(`${what} ${file.path}`, file.sha256, actual);
    }
    return new Fault("TRANSFER", `${what}: the remote computes digests of other files than were sent`);
  }

  /** While a piece is on its way the next one is read. */
  async *read(keepMode: boolean, context: TransferContext): AsyncGenerator<Uint8Array> {
    const head = this.#head;
    yield head;
    let next = this.#piece(0, keepMode);
    while (next) {
      throwIfStopped(context.signal);
      const piece = await next.content;
      next = this.#piece(next.end, keepMode);
      for (let left = piece.byteLength; left > 0; left -= pieceBytes) {
        await context.remote?.flow(Math.min(left, pieceBytes));
      }
      yield piece;
    }
    yield new Uint8Array(endBytes);
  }

  /** Of the members from `begin` on as many as make a piece; undefined after the last. */
  #piece(begin: number, keepMode: boolean): Piece | undefined {
    let end = begin;
    for (let bytes = 0; end < this.members.length && bytes < pieceBytes; end++) {
      const member = this.members[end];
      bytes += member ? memberBytes(member.name, member.file.bytes) : 0;
    }
    if (end === begin) return undefined;
    const content = packed(this.members.slice(begin, end), keepMode);
    content.catch(() => undefined); // awaited when the piece before is on its way
    return { end, content };
  }
}

interface Piece {
  /** Number of the member after it. */
  readonly end: number;
  readonly content: Promise<Uint8Array>;
}

function packed(members: readonly BundleMember[], keepMode: boolean): Promise<Uint8Array> {
  const root = members[0]?.file.root ?? "/";
  const files = members.map(({ file: { localPath, bytes, mtimeMs }, name }) => {
    return { path: localPath.slice(root === "/" ? 1 : root.length + 1), name, bytes, mtimeMs };
  });
  return pack(root, files, keepMode);
}

function headOf(texts: Readonly<Record<string, string>>): Uint8Array {
  const parts = Object.entries(texts).map(([name, text]) => {
    const content = Buffer.from(text);
    const part = Buffer.alloc(memberBytes(name, content.length));
    const at = writeHeader(part, 0, { name, bytes: content.length, mode: 0o600, mtime: 0 });
    content.copy(part, at);
    return part.subarray(0, at + padded(content.length));
  });
  return Buffer.concat(parts);
}

function parentOf(path: string): string {
  const cut = path.lastIndexOf("/");
  return cut < 0 ? "" : path.slice(0, cut);
}

async function start({ access, what }: Place, command: StreamedCommand, context: CallContext): Promise<RunningCommand> {
  try {
    return await access.stream(command, context);
  } catch (error) {
    throw unsupportedIfNoCommands(error, what);
  }
}

/** Resolves when more may be written; a command that has ended takes no more. */
async function write({ pipe, ended }: RunningCommand, piece: Uint8Array): Promise<void> {
  if (!pipe.writable || pipe.write(piece)) return;
  const drained = new AbortController();
  try {
    await Promise.race([once(pipe, "drain", { signal: drained.signal }), ended]);
  } finally {
    drained.abort();
  }
}

/** Everything that comes, up to `mostPrinted`. */
async function textOf(pipe: Duplex): Promise<string> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of pipe as AsyncIterable<Buffer>) {
    bytes += chunk.byteLength;
    if (bytes <= mostPrinted) chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString();
}

/** The fault for a file whose final name is taken. */
function inTheWay({ access, what }: Place, { path }: BulkOutput, words: string): Fault {
  const name = `${what.slice(0, -1)} ${path}'`;
  if (/cannot overwrite directory/.test(words))
    return unsafe("destination", name.slice(1, -1), "a directory has that name");
  if (access.settings.existing === "refuse") {
    return new Fault("TRANSFER_REFUSED", `${name} is there with another content`, {
      hint: "give outputs names of their own, or set 'existing: replace' on the remote",
    });
  }
  return new Fault("TRANSFER", `${name} could not be given its name: ${words.trim().slice(0, 300)}`);
}
