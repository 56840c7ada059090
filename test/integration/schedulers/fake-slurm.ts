import { chmod, mkdir, readFile, writeFile } from "node:fs/promises";
import { systemClock } from "../../../src/common/clock.ts";
import type { CallContext } from "../../../src/common/context.ts";
import { LocalHost } from "../../../src/hosts/local/index.ts";
import { createSlurm } from "../../../src/schedulers/slurm/index.ts";
import type { ScheduledJob, Scheduler, SubmitRequest } from "../../../src/schedulers/types.ts";
import { queueLine, type QueueFields, submittedAt, token } from "../../helpers/slurm-answers.ts";
import { type TemporaryDirectory, temporaryDirectory } from "../../helpers/temporary.ts";
import { context } from "../launchers/attempts.ts";
import { requestFor } from "./slurm-place.ts";

const commands = ["sbatch", "squeue", "sacct", "scancel", "scontrol"] as const;
type Command = (typeof commands)[number];

/** Slurm's commands as scripts whose answers a test sets: texts, exit codes, or shell that does anything. */
export class FakeSlurm implements AsyncDisposable {
  readonly #directory: TemporaryDirectory;

  static async make(facts: { readonly version?: string; readonly accounting?: boolean } = {}): Promise<FakeSlurm> {
    const fake = new FakeSlurm(await temporaryDirectory("sa-fake-"));
    await fake.#install();
    const { version = "23.11.4", accounting = false } = facts;
    const type = accounting ? "accounting_storage/slurmdbd" : "(null)";
    await fake.prints("scontrol", {
      stdout: `AccountingStorageType   = ${type}\nClusterName = blue\nMaxArraySize = 1001\nMinJobAge = 300 sec\nSLURM_VERSION = ${version}\n`,
    });
    return fake;
  }

  private constructor(directory: TemporaryDirectory) {
    this.#directory = directory;
  }

  /** The adapter on these commands. */
  scheduler(environment: Readonly<Record<string, string>> = {}): Scheduler {
    const host = new LocalHost({ name: "here", workdir: this.#directory.path });
    return createSlurm({ host, environment: { PATH: this.#directory.join("bin"), ...environment } });
  }

  get directory(): string {
    return this.#directory.path;
  }

  async prints(
    command: Command,
    answer: { readonly stdout?: string; readonly stderr?: string; readonly exitCode?: number },
  ): Promise<void> {
    await writeFile(this.#directory.join(`${command}.out`), answer.stdout ?? "");
    await writeFile(this.#directory.join(`${command}.err`), answer.stderr ?? "");
    await this.does(command, `cat "$d/${command}.out"; cat "$d/${command}.err" >&2; exit ${answer.exitCode ?? 0}`);
  }

  /** The controller calls its cluster so from now on. */
  async rename(cluster: string): Promise<void> {
    const path = this.#directory.join("scontrol.out");
    await writeFile(path, (await readFile(path, "utf8")).replace(/^ClusterName = .*$/m, `ClusterName = ${cluster}`));
  }

  /** Shell with `$d`, the directory of the fake; a submitted script is in `$d/script`. */
  async does(command: Command, shell: string): Promise<void> {
    await writeFile(this.#directory.join(`${command}.sh`), `${shell}\n`);
  }

  /** Arguments of each call so far, joined by blanks. */
  async calls(command: Command): Promise<readonly string[]> {
    const text = await readFile(this.#directory.join(`${command}.calls`), "utf8").catch(() => "");
    return text.split("\n").filter(Boolean);
  }

  /** What the last call of the command had for its environment. */
  async environmentOf(command: Command): Promise<string> {
    return await readFile(this.#directory.join(`${command}.env`), "utf8");
  }

  async #install(): Promise<void> {
    const d = this.#directory.path;
    await mkdir(this.#directory.join("bin"));
    for (const command of commands) {
      const path = this.#directory.join("bin", command);
      const stdin = command === "sbatch" ? 'cat >"$d/script"' : ":";
      const text = `#!/bin/sh\nd=${d}\n/usr/bin/env >"$d/${command}.env"\nPATH=/usr/bin:/bin\necho "$*" >>"$d/${command}.calls"\n${stdin}\n. "$d/${command}.sh"\n`;
      await writeFile(path, text);
      await chmod(path, 0o755);
      await this.prints(command, {});
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#directory[Symbol.asyncDispose]();
  }
}

export const job: ScheduledJob = { id: "12", token, submittedAt };
export const wanted = [{ token, since: submittedAt }];

/** Time limits come a hundred times as soon. */
export const hasty: CallContext = {
  ...context,
  clock: { ...systemClock, sleep: (ms, signal) => systemClock.sleep(ms / 100, signal) },
};

export function request(fake: FakeSlurm, more: Partial<SubmitRequest> = {}): SubmitRequest {
  return requestFor(fake.directory, "exit 0", { token, ...more });
}

/** As the queue shows `job`. */
export function row(fields: Partial<QueueFields> = {}): string {
  return queueLine({ id: "12", state: "RUNNING", name: token, started: "1795280219", nodes: "n1", ...fields });
}
