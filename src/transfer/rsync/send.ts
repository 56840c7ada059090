/** Puts files to a remote by rsync: into a directory of the job there; compared there, then given their final names. */
import { type FileHandle, mkdir, mkdtemp, rm, symlink } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join, posix } from "node:path";
import type { Stats } from "ssh2";
import { inChunks } from "../../common/chunks.ts";
import { failpoint } from "../../common/failpoint.ts";
import { asFault, Fault } from "../../common/fault.ts";
import type { Token } from "../../common/token.ts";
import { advanced, digestMismatch, throwIfStopped } from "../errors.ts";
import { partialName, partSuffix, relativeSegments } from "../paths.ts";
import { destinationDirectory, existingFault, renameOver, replaceable } from "../sftp/destination.ts";
import type { KnownFile, RemoteDigests } from "../sftp/digests.ts";
import { sftpFault } from "../sftp/faults.ts";
import { type Place, placeOf } from "../sftp/place.ts";
import type { BulkOutput, FoundFile, TransferContext } from "../types.ts";
import { urlBelow } from "../urls.ts";
import { rsyncFault } from "./faults.ts";
import type { RsyncDeps } from "./fetch.ts";
import { commonOptions, partialDirectory } from "./options.ts";
import { runRsync } from "./program.ts";
import type { StagingDirectories } from "./staging.ts";

/** Files that are looked at, or renamed, at the same time. */
const atOnce = 64;
/** So many files, or bytes, are compared while others are still on their way. */
const compareFiles = 256;
const compareBytes = 256 * 1024 * 1024;

export interface SendDeps extends RsyncDeps {
  readonly digests: RemoteDigests;
  readonly staging: StagingDirectories;
}

export interface Sendable {
  readonly url: string;
  readonly files: readonly BulkOutput[];
  readonly token: Token;
  readonly arrived: (file: BulkOutput, found: FoundFile) => Promise<void>;
}

/** @throws Fault as `BulkTransfer.send` says. */
export async function sendByRsync(deps: SendDeps, sendable: Sendable, context: TransferContext): Promise<void> {
  const [first] = sendable.files;
  if (!first) return;
  const place = placeOf(urlBelow(sendable.url, first.path), "destinations", deps.policy, deps.find);
  const here = await deps.versions.here();
  const there = await deps.versions.there(place.access, context);
  const isDurable = [here, there].every(
    ({ major, minor, text }) => major > 3 || minor > 2 || /^3\.2\.([4-9]|\d\d)/.test(text),
  );
  const sending = new Sending(deps, sendable, place.access, context);
  try {
    await sending.run(isDurable);
  } catch (error) {
    throw sftpFault(error, place.what);
  }
}

/** One file on its way. */
interface Outgoing {
  readonly output: BulkOutput;
  readonly place: Place;
  /** Relative to the directory of the URL. */
  readonly name: string;
}

class Sending {
  readonly #deps: SendDeps;
  readonly #sendable: Sendable;
  readonly #access: Place["access"];
  readonly #context: TransferContext;
  /** Those that have not arrived, by name. */
  readonly #left = new Map<string, Outgoing>();
  readonly #directories = new Map<string, Promise<string>>();
  #staging = "";

  constructor(deps: SendDeps, sendable: Sendable, access: Place["access"], context: TransferContext) {
    this.#deps = deps;
    this.#sendable = sendable;
    this.#access = access;
    this.#context = context;
  }

  async run(isDurable: boolean): Promise<void> {
    const { url, files, token } = this.#sendable;
    for (const output of files) {
      const place = placeOf(urlBelow(url, output.path), "destinations", this.#deps.policy, this.#deps.find);
      const name = output.path === "" ? (place.segments.at(-1) ?? "") : output.path;
      relativeSegments(name, `destination ${place.what}:`);
      this.#left.set(name, { output, place, name });
    }
    const base = await this.#base();
    this.#staging = `${base === "/" ? "" : base}/${partialName(token, partSuffix("rsync", base))}`;
    await this.#takePresent();
    if (this.#left.size === 0) {
      await this.#deps.staging.clear(this.#access, this.#staging, this.#context);
      return;
    }
    await failpoint("transfer.before-write");
    const staging = await this.#deps.staging.open(this.#access, this.#staging, this.#context);
    let isDone = false;
    try {
      await this.#rsync(isDurable);
      isDone = true;
    } catch (error) {
      throwIfStopped(this.#context.signal);
      throw staging.hasGrown ? advanced(asFault(error)) : error;
    } finally {
      await staging.release(isDone);
    }
    await failpoint("transfer.after-write");
  }

  /** Real path of the directory that all names are relative to. */
  async #base(): Promise<string> {
    const [first] = this.#left.values();
    if (!first) throw new Fault("DEFECT", "nothing is to be sent");
    const depth = first.name.split("/").length;
    const segments = [...first.place.segments.slice(0, -depth), "-"];
    return await destinationDirectory({ ...first.place, segments, path: `/${segments.join("/")}` }, this.#context);
  }

  /** What lies there with this very content needs not be sent. @throws Fault for what may not be replaced */
  async #takePresent(): Promise<void> {
    const { settings } = this.#access;
    for (const some of inChunks([...this.#left.values()], atOnce)) {
      const there = await Promise.all(some.map(({ place }) => replaceable(place, this.#context)));
      const alike = some.filter(({ output }, index) => there[index]?.isFile() && there[index].size === output.bytes);
      const known = alike.map(({ place, output }) => ({ path: place.path, bytes: output.bytes }));
      const digests = await this.#digests(known);
      for (const [index, outgoing] of some.entries()) {
        const { output, place } = outgoing;
        if (digests.get(place.path) === output.sha256) await this.#done(outgoing);
        else if (there[index] && settings.existing === "refuse") throw existingFault(place);
      }
    }
  }

  async #rsync(isDurable: boolean): Promise<void> {
    const partial = partialDirectory([...this.#left.keys()]);
    const { preserve } = this.#access.settings;
    await using tree = await linkTree([...this.#left.values()]);
    let told: Outgoing[] = [];
    let toldBytes = 0;
    let done: Promise<void> = Promise.resolve();
    const onName = (name: string): void => {
      const outgoing = this.#left.get(name);
      if (!outgoing || this.#access.settings.verify === "size") return;
      told.push(outgoing);
      toldBytes += outgoing.output.bytes;
      if (told.length < compareFiles && toldBytes < compareBytes) return;
      const some = told;
      [told, toldBytes] = [[], 0];
      done = done.then(() => this.#take(some)); // what is not there yet is looked for at the end
      done.catch(() => undefined);
    };
    const kept = preserve ? ["--perms", "--times"] : ["--chmod=D777,F666"];
    const end = await runRsync(
      this.#access,
      {
        // What lies at the final names is a basis for the difference.
        args: [...commonOptions(partial), ...kept, "--copy-dest=..", ...(isDurable ? ["--fsync"] : []), ".", "there:."],
        here: tree.path,
        there: this.#staging,
        names: [...this.#left.keys()],
        scratch: tree.path,
        onName,
      },
      this.#context,
    );
    await done;
    const fault = rsyncFault(end, this.#what());
    if (fault && this.#access.settings.verify === "size") throw fault; // a size alone does not tell an old file from a new one
    for (const some of inChunks([...this.#left.values()], compareFiles)) await this.#take(some);
    if (fault) throw fault;
    const [missing] = this.#left.values();
    if (missing) await this.#explain(missing);
  }

  #what(): string {
    const [first] = this.#left.values();
    return first?.place.what ?? "output";
  }

  /** Gives final names to those that lie there whole. */
  async #take(some: readonly Outgoing[]): Promise<void> {
    const left = some.filter(({ name }) => this.#left.has(name));
    const whole = this.#access.settings.verify === "size" ? await this.#sized(left) : await this.#compared(left);
    for (const chunk of inChunks(whole, atOnce)) await Promise.all(chunk.map((outgoing) => this.#name(outgoing)));
  }

  async #compared(some: readonly Outgoing[]): Promise<readonly Outgoing[]> {
    const digests = await this.#digests(
      some.map(({ name, output }) => ({ path: this.#staged(name), bytes: output.bytes })),
    );
    return some.filter(({ name, output }) => digests.get(this.#staged(name)) === output.sha256);
  }

  async #sized(some: readonly Outgoing[]): Promise<readonly Outgoing[]> {
    const sizes = await Promise.all(some.map(({ name }) => this.#stagedBytes(name)));
    return some.filter(({ output }, index) => sizes[index] === output.bytes);
  }

  async #stagedBytes(name: string): Promise<number | undefined> {
    const path = this.#staged(name);
    const stats = await this.#access.files.maybe<Stats>(this.#context, (sftp, done) => sftp.lstat(path, done));
    return stats?.isFile() ? stats.size : undefined;
  }

  #staged(name: string): string {
    return `${this.#staging}/${name}`;
  }

  async #digests(files: readonly KnownFile[]): Promise<ReadonlyMap<string, string>> {
    if (this.#access.settings.verify === "size") return new Map();
    return await this.#deps.digests.ofAll(this.#access, files, this.#context);
  }

  async #name(outgoing: Outgoing): Promise<void> {
    const { place, name } = outgoing;
    const directory = await this.#directory(place, posix.dirname(name));
    await failpoint("transfer.before-rename");
    const to = `${directory === "/" ? "" : directory}/${posix.basename(name)}`;
    await renameOver(this.#access.files, this.#staged(name), to, this.#context);
    await failpoint("transfer.after-rename");
    await this.#done(outgoing);
  }

  #directory(place: Place, below: string): Promise<string> {
    const known = this.#directories.get(below) ?? destinationDirectory(place, this.#context);
    this.#directories.set(below, known);
    return known;
  }

  async #done({ name, output }: Outgoing): Promise<void> {
    this.#left.delete(name);
    const sha256 = this.#access.settings.verify === "size" ? undefined : output.sha256;
    await this.#sendable.arrived(output, { bytes: output.bytes, sha256 });
  }

  /** rsync says that all is well, and this one is not what was sent. */
  async #explain({ name, output, place }: Outgoing): Promise<never> {
    const path = this.#staged(name);
    const bytes = await this.#stagedBytes(name);
    if (bytes === undefined) throw new Fault("TRANSFER", `${place.what} is not there after rsync has sent it`);
    const actual = (await this.#digests([{ path, bytes }])).get(path);
    // No later try goes on from it.
    await this.#access.files.maybe(this.#context, (sftp, done) => sftp.unlink(path, done));
    if (actual === undefined) throw new Fault("TRANSFER", `${place.what} cannot be compared after rsync has sent it`);
    throw digestMismatch(place.what, output.sha256, actual);
  }
}

/**
 * A directory in which each file has the name that it gets there, as a link to a descriptor of ours: what rsync opens is the very file
 * that was looked at, whoever swaps names meanwhile.
 */
async function linkTree(files: readonly Outgoing[]): Promise<{ readonly path: string } & AsyncDisposable> {
  const path = await mkdtemp(join(tmpdir(), "siteagent-rsync-"));
  const handles: FileHandle[] = [];
  const dispose = async (): Promise<void> => {
    await Promise.all(handles.map((handle) => handle.close()));
    await rm(path, { recursive: true, force: true });
  };
  try {
    const made = new Set<string>();
    for (const { name, output } of files) {
      const handle = await output.open();
      handles.push(handle);
      const directory = dirname(join(path, name));
      if (!made.has(directory)) await mkdir(directory, { recursive: true });
      made.add(directory);
      await symlink(`/proc/${process.pid}/fd/${handle.fd}`, join(path, name));
    }
    return { path, [Symbol.asyncDispose]: dispose };
  } catch (error) {
    await dispose();
    throw error;
  }
}
