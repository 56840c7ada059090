/** SHA-256 of files at a remote: computed there where commands run, else of the bytes read back. */
import type { CallContext } from "../../common/context.ts";
import { isFault } from "../../common/fault.ts";
import { digestBack, ReadBacks } from "./read-back.ts";
import type { SftpAccess } from "./types.ts";

/** Up to this size reading back costs less than a command. */
export const readBackBytes = 1024 * 1024;
/** In one command: to begin one takes as long as the digests of thousands of small files. */
const namesAtOnce = 20_000;
const maxAnswerBytes = 16 * 1024 * 1024;
/** Of the answer to a command; it stays well below the limit of output. */
const answersAtOnce = maxAnswerBytes / 2;
/** What stands in a line besides the name. */
const lineBytes = 67;
/** A command may take so long, and longer for many bytes: no disk is slower than that rate. */
const commandMs = 300_000;
const slowestBytesPerMs = 5_000;
/** A remote that runs no commands is asked again after this time: rc files and limits are repaired. */
const askAgainMs = 600_000;

/** From so many on the faster program is worth a look for it. */
const manyBytes = 16 * 1024 * 1024;
const sums = ["xargs", "-0", "sha256sum", "--"] as const;
/** openssl knows the processor's instructions for it; the sha256sum of some distributions does not and takes four times as long. Both print alike. */
const fasterSums = [
  "if openssl dgst -sha256 -r /dev/null >/dev/null 2>&1; then exec xargs -0 openssl dgst -sha256 -r; fi",
  `exec ${sums.join(" ")}`,
].join("\n");

export interface KnownFile {
  /** Absolute, without links and control characters. */
  readonly path: string;
  readonly bytes: number;
}

/** Digests by command, for as long as the remote runs commands. */
export class RemoteDigests {
  /** When a remote last ran no command, by the monotonic clock. */
  readonly #without = new WeakMap<SftpAccess, number>();
  readonly readBacks = new ReadBacks();

  /** Whether `ofMany` may have an answer. */
  canAsk(access: SftpAccess, { clock }: CallContext): boolean {
    if (access.settings.verify === "size" || !access.settings.shell) return false;
    const since = this.#without.get(access);
    return since === undefined || clock.monotonic() - since > askAgainMs;
  }

  /** By path; files of which the remote says nothing are left out, all of them where no command runs. */
  async ofMany(
    access: SftpAccess,
    files: readonly KnownFile[],
    context: CallContext,
  ): Promise<ReadonlyMap<string, string>> {
    const digests = new Map<string, string>();
    for (let at = 0; at < files.length;) {
      const some = firstOf(files, at);
      at += some.length;
      const stdout = await this.#ask(access, some, context);
      if (stdout === undefined) return digests;
      for (const line of stdout.split("\n")) {
        const match = /^([0-9a-f]{64}) [ *](.+)$/.exec(line);
        if (match?.[1] !== undefined && match[2] !== undefined) digests.set(match[2], match[1]);
      }
    }
    return digests;
  }

  /** As `ofMany`; where no command tells, the files are read back. Those that are not there are left out. */
  async ofAll(
    access: SftpAccess,
    files: readonly KnownFile[],
    context: CallContext,
  ): Promise<ReadonlyMap<string, string>> {
    if (files.length === 0) return new Map();
    const digests = new Map(this.canAsk(access, context) ? await this.ofMany(access, files, context) : []);
    for (const { path, bytes } of files) {
      if (digests.has(path)) continue;
      const handle = await access.files.maybe<Buffer>(context, (sftp, done) => sftp.open(path, "r", done));
      if (!handle) continue;
      try {
        digests.set(path, (await digestBack(access.files, handle, bytes, context)).sha256);
      } finally {
        await access.files.call(context, (sftp, done) => sftp.close(handle, done)).catch(() => undefined);
      }
    }
    return digests;
  }

  async #ask(access: SftpAccess, files: readonly KnownFile[], context: CallContext): Promise<string | undefined> {
    const bytes = files.reduce((sum, file) => sum + file.bytes, 0);
    try {
      const { stdout } = await access.run(
        {
          argv: bytes < manyBytes ? sums : ["sh", "-c", fasterSums],
          cwd: "/",
          environment: { PATH: "/usr/bin:/bin:/usr/local/bin", LC_ALL: "C" },
          stdin: files.map(({ path }) => `${path}\0`).join(""),
          timeoutMs: commandMs + bytes / slowestBytesPerMs,
          maxOutputBytes: maxAnswerBytes,
        },
        context,
      );
      return stdout;
    } catch (error) {
      const none =
        isFault(error, "LAUNCH", "UNSUPPORTED") || (isFault(error, "UNREACHABLE") && runsNone(error.details));
      if (!none) throw error;
      this.#without.set(access, context.clock.monotonic());
      context.log.info({ host: access.label, err: error }, "no digests by command there: files are read back");
      return undefined;
    }
  }
}

/** As many from `begin` on as one command is asked for. */
function firstOf(files: readonly KnownFile[], begin: number): readonly KnownFile[] {
  let end = begin;
  let answer = 0;
  for (; end < files.length && end - begin < namesAtOnce && answer < answersAtOnce; end++) {
    answer += Buffer.byteLength(files[end]?.path ?? "") + lineBytes;
  }
  return files.slice(begin, end);
}

function runsNone(details: { readonly [name: string]: unknown } | undefined): boolean {
  return details?.["why"] === "session";
}
