/** SHA-256 of files at a remote of the bytes read back, for remotes that run no commands. */
import { createHash, type Hash } from "node:crypto";
import type { CallContext } from "../../common/context.ts";
import { Fault, isFault } from "../../common/fault.ts";
import { advanced } from "../errors.ts";
import { progressBytes } from "../fetch.ts";
import type { FileContent } from "../types.ts";
import { readThrough } from "./flow.ts";
import type { SftpAccess, SftpCalls } from "./types.ts";

/** Shorter files are begun anew: that costs less than to keep what was read of them. */
const leastKeptBytes = progressBytes;
/** What is kept takes less than a kilobyte each; the oldest goes first. */
const mostKept = 1_000;

/** What was read of a file when the connection was lost. */
interface Begun {
  readonly hash: Hash;
  readonly bytes: number;
}

export interface ReadBackFile {
  /** Open for reading. */
  readonly handle: Buffer;
  /** As many are read, from the first on. */
  readonly bytes: number;
  /**
   * The same as long as the bytes that were read are: a path with the version of what lies there, or one that only we write to, and only
   * at its end. Undefined: nothing is kept.
   */
  readonly name: string | undefined;
}

/**
 * Reads files back. What one call had read when the connection was lost, the next call for the same file does not read again: a file
 * that no connection lives long enough for is compared all the same. It is kept of synced bytes alone: others may be zeros after a
 * reboot there, and a reboot may be what the connection was lost by.
 */
export class ReadBacks {
  readonly #begun = new Map<string, Begun>();

  /** @throws Fault; one that says that it brought further where the next call goes on from there. */
  async digest(access: SftpAccess, file: ReadBackFile, context: CallContext): Promise<FileContent> {
    const { handle, bytes, name } = file;
    const keeps = name !== undefined && bytes >= leastKeptBytes && (await isSynced(access.files, handle, context));
    if (!keeps) return await digestBack(access.files, handle, bytes, context);
    const key = keyOf(access, name);
    const { hash, bytes: before } = this.#take(key, bytes);
    let got = before;
    try {
      for await (const chunk of readThrough(access.files, handle, { offset: before, size: bytes }, context)) {
        hash.update(chunk);
        got += chunk.byteLength;
      }
      return { bytes: got, sha256: hash.copy().digest("hex") };
    } catch (error) {
      throw isFault(error, "UNREACHABLE") && got - before >= progressBytes ? advanced(error) : error;
    } finally {
      this.#keep(key, { hash, bytes: got });
    }
  }

  /** The file has gone, or is about to be another. */
  forget(access: SftpAccess, name: string): void {
    this.#begun.delete(keyOf(access, name));
  }

  /** Taken away: two who read the same file at the same time must not add to one hash. */
  #take(key: string, most: number): Begun {
    const begun = this.#begun.get(key);
    this.#begun.delete(key);
    return begun && begun.bytes <= most ? begun : { hash: createHash("sha256"), bytes: 0 };
  }

  #keep(key: string, begun: Begun): void {
    this.#begun.set(key, begun);
    const [oldest] = this.#begun.keys();
    if (this.#begun.size > mostKept && oldest !== undefined) this.#begun.delete(oldest);
  }
}

/** Of the first `bytes` of an open file. */
export async function digestBack(
  calls: SftpCalls,
  handle: Buffer,
  bytes: number,
  context: CallContext,
): Promise<FileContent> {
  const hash = createHash("sha256");
  let got = 0;
  for await (const chunk of readThrough(calls, handle, { offset: 0, size: bytes }, context)) {
    hash.update(chunk);
    got += chunk.byteLength;
  }
  return { bytes: got, sha256: hash.digest("hex") };
}

/** Whether the server has made what lies there durable, as far as it says so. */
async function isSynced(calls: SftpCalls, handle: Buffer, context: CallContext): Promise<boolean> {
  try {
    return (await calls.extension(context, (sftp, done) => sftp.ext_openssh_fsync(handle, done))) !== undefined;
  } catch (error) {
    if (error instanceof Fault) throw error;
    return false; // a refusal: it does not for files that are read
  }
}

function keyOf({ label }: SftpAccess, name: string): string {
  return `${label}\0${name}`;
}
