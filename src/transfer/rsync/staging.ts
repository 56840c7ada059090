/** Directories of jobs at remotes in which files lie until they have their final names. */
import type { Stats } from "ssh2";
import type { CallContext } from "../../common/context.ts";
import { progressBytes } from "../fetch.ts";
import { unsafe } from "../paths.ts";
import { statusOf } from "../sftp/faults.ts";
import type { SftpAccess } from "../sftp/types.ts";

const commandMs = 300_000;
const environment = { PATH: "/usr/bin:/bin:/usr/local/bin" };

export interface StagingDirectory {
  /** The last try of this job has left much more in it than the one before. */
  readonly hasGrown: boolean;
  /** To be called once. Where all is done, and no other call uses it, it is removed with what lies in it. */
  release(isDone: boolean): Promise<void>;
}

/** Calls of the same job share a directory: what a try leaves is found by the next one, whichever files that moves. */
export class StagingDirectories {
  /** Calls that use it now. */
  readonly #users = new Map<string, number>();
  /** Removals under way. */
  readonly #removing = new Map<string, Promise<void>>();
  /** KiB that were in it when a try began, of those that have failed. */
  readonly #before = new Map<string, number>();

  async open(access: SftpAccess, path: string, context: CallContext): Promise<StagingDirectory> {
    const key = `${access.label}:${path}`;
    this.#users.set(key, (this.#users.get(key) ?? 0) + 1);
    try {
      await this.#removing.get(key);
      const isNew = await this.#make(access, path, context);
      const now = isNew ? 0 : await sizeOf(access, path, context);
      const before = this.#before.get(key);
      this.#before.set(key, now);
      return {
        hasGrown: before !== undefined && (now - before) * 1024 >= progressBytes,
        release: async (isDone) => {
          if (this.#leave(key) === 0 && isDone) await this.#remove(access, path, key, context);
        },
      };
    } catch (error) {
      this.#leave(key);
      throw error;
    }
  }

  /** Removes what an earlier try has left, if no other call uses it. */
  async clear(access: SftpAccess, path: string, context: CallContext): Promise<void> {
    const key = `${access.label}:${path}`;
    const there = await access.files.maybe<Stats>(context, (sftp, done) => sftp.lstat(path, done));
    if (there && !this.#users.has(key)) await this.#remove(access, path, key, context);
  }

  async #remove(access: SftpAccess, path: string, key: string, context: CallContext): Promise<void> {
    this.#before.delete(key);
    const removed = run(access, ["rm", "-rf", "--", path], context);
    const over = removed.then(
      () => undefined,
      () => undefined,
    );
    this.#removing.set(key, over);
    await removed.finally(() => this.#removing.get(key) === over && this.#removing.delete(key));
  }

  /** True if it was not there. */
  async #make({ files }: SftpAccess, path: string, context: CallContext): Promise<boolean> {
    try {
      await files.call(context, (sftp, done) => sftp.mkdir(path, { mode: 0o700 }, done));
      return true;
    } catch (error) {
      if (statusOf(error) === undefined) throw error;
      const there = await files.maybe<Stats>(context, (sftp, done) => sftp.lstat(path, done));
      if (!there) throw error;
      if (!there.isDirectory()) throw unsafe("destination", path, "something else has the name of the job's directory");
      return false;
    }
  }

  /** How many still use it. */
  #leave(key: string): number {
    const users = (this.#users.get(key) ?? 1) - 1;
    if (users === 0) this.#users.delete(key);
    else this.#users.set(key, users);
    return users;
  }
}

/** KiB, as far as it can be told. */
async function sizeOf(access: SftpAccess, path: string, context: CallContext): Promise<number> {
  const { stdout } = await run(access, ["du", "-sk", "--", path], context);
  return Number.parseInt(stdout, 10) || 0;
}

function run(
  access: SftpAccess,
  argv: readonly [string, ...string[]],
  context: CallContext,
): ReturnType<SftpAccess["run"]> {
  return access.run({ argv, cwd: "/", environment, timeoutMs: commandMs, maxOutputBytes: 4_096 }, context);
}
