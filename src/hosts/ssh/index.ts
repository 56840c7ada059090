import { randomUUID } from "node:crypto";
import { existsSync } from "node:fs";
import { join } from "node:path";
import type { Probe } from "../../common/adapter.ts";
import type { CallContext } from "../../common/context.ts";
import { failpoint } from "../../common/failpoint.ts";
import { asFault, Fault } from "../../common/fault.ts";
import { quoted } from "../../common/nearest.ts";
import { shellQuoted } from "../../common/shell.ts";
import type { Host, RunRequest, RunResult } from "../types.ts";
import { SftpFiles } from "./files.ts";
import type { SshLink } from "./link.ts";
import { runRemotely } from "./run.ts";

/** Of the commands that a probe and a removal need. */
const ownCommandMs = 60_000;
const ownPath = "/usr/bin:/bin:/usr/sbin:/sbin";

export interface SshHostOptions {
  readonly name: string;
  /** Absolute, at the other end. */
  readonly workdir: string;
  /** Shared by all hosts that lead to the same account; not ended with the host. */
  readonly link: SshLink;
}

/** A machine, or several with one file system, reached by SSH as one account. */
export class SshHost implements Host {
  readonly kind = "ssh";
  readonly name: string;
  readonly workdir: string;
  readonly files: SftpFiles;
  readonly #link: SshLink;

  constructor({ name, workdir, link }: SshHostOptions) {
    this.name = name;
    this.workdir = workdir;
    this.#link = link;
    this.files = new SftpFiles(workdir, link, (path, context) => this.#removeByShell(path, context));
  }

  async probe(context: CallContext): Promise<Probe> {
    try {
      const { stdout } = await this.#command(["/bin/sh", "-c", "uname -sr"], context);
      await this.files.mkdir(this.workdir, {}, context);
      const check = 'cd "$0" && [ -w . ] && [ -x . ]';
      const { exitCode } = await this.#command(["/bin/sh", "-c", check, this.workdir], context);
      if (exitCode !== 0) {
        const reason = `'${this.workdir}' is no directory there that this account may write`;
        return { ok: false, reason, hint: `there, as this account: mkdir -p ${shellQuoted(this.workdir)}` };
      }
      if (await this.#isShared(context)) return { ok: true, version: `${stdout.trim()} over SSH` };
      return {
        ok: false,
        reason: `'${this.workdir}' there is another directory than here: jobs are staged on this machine`,
        hint: `mount the file system of '${this.workdir}' here at the same path`,
      };
    } catch (error) {
      const { message, hint } = asFault(error);
      return { ok: false, reason: message, ...(hint === undefined ? {} : { hint }) };
    }
  }

  /**
   * Runs a helper command in a session and process group of its own at the other end. When it ends, when its time is over (TERM, 2 s, KILL)
   * or when the context aborts or the connection is lost (KILL), what is left of the group is killed there.
   * @throws Fault LAUNCH when nothing was started, CANCELLED when the context aborted, UNREACHABLE as `runRemotely` says.
   */
  async run(request: RunRequest, context: CallContext): Promise<RunResult> {
    if (context.signal.aborted) throw new Fault("CANCELLED", `'${request.argv[0]}' was ended by request`);
    await failpoint("host.before-run");
    const result = await runRemotely(this.#link, request, context);
    await failpoint("host.after-run");
    return result;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.files[Symbol.asyncDispose]();
  }

  #command(argv: RunRequest["argv"], context: CallContext): Promise<RunResult> {
    const request = { argv, cwd: "/", environment: { PATH: ownPath }, timeoutMs: ownCommandMs, maxOutputBytes: 4_096 };
    return runRemotely(this.#link, request, context);
  }

  /** Does what is made there appear here? Directories of jobs are made, and files staged, by this machine. */
  async #isShared(context: CallContext): Promise<boolean> {
    const place = join(this.workdir, `.siteagent-${randomUUID()}`);
    await this.files.mkdir(place, {}, context);
    try {
      return existsSync(place);
    } finally {
      await this.files.remove(place, context);
    }
  }

  /** `rm` and `find` follow no links. */
  async #removeByShell(path: string, context: CallContext): Promise<void> {
    const script = 'rm -rf -- "$0" 2>/dev/null || { find "$0" -type d -exec chmod u+rwx {} \\; ; rm -rf -- "$0"; }';
    const { exitCode, stderr } = await this.#command(["/bin/sh", "-c", script, path], context);
    if (exitCode === 0) return;
    throw new Fault("TRANSFER", `${quoted(path, 300)} cannot be removed: ${quoted(stderr.trim(), 300)}`);
  }
}
