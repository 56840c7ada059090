import { chmod, mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { compileCache } from "../compile-cache.ts";
import { isAlive } from "../processes.ts";
import { type TemporaryDirectory, temporaryDirectory } from "../temporary.ts";
import { waitFor } from "../wait.ts";
import { type Faults, type JobState, Store } from "./store.ts";

const commands = ["qsub", "qstat", "qselect", "qdel", "qhold", "qrls"] as const;

/** A PBS of its own: commands to put into PATH, jobs that really run, faults at will. Ends all its jobs with its scope. */
export class FakePbs implements AsyncDisposable {
  readonly #directory: TemporaryDirectory;
  readonly #store: Store;

  private constructor(directory: TemporaryDirectory) {
    this.#directory = directory;
    this.#store = new Store(directory.path);
  }

  static async start(flavour: "openpbs" | "torque" = "openpbs"): Promise<FakePbs> {
    const directory = await temporaryDirectory("sa-pbs-");
    for (const name of ["bin", "jobs", "numbers", "taken"]) await mkdir(directory.join(name));
    const program = join(import.meta.dirname, "main.ts");
    const variables = { ...compileCache, FAKE_PBS_FLAVOUR: flavour };
    const env = Object.entries(variables).map(([name, value]) => `${name}='${value}'`);
    for (const name of commands) {
      const path = directory.join("bin", name);
      const line = `exec env ${env.join(" ")} '${process.execPath}' '${program}' '${directory.path}' ${name} "$@"`;
      await writeFile(path, `#!/bin/sh\n${line}\n`);
      await chmod(path, 0o755);
    }
    return new FakePbs(directory);
  }

  /** Of commands that find it. */
  get environment(): Readonly<Record<string, string>> {
    return { PATH: `${this.#directory.join("bin")}:/usr/local/bin:/usr/bin:/bin` };
  }

  /** From now on, in place of what was said before. */
  async setFaults(faults: Faults): Promise<void> {
    await writeFile(this.#directory.join("faults.json"), JSON.stringify(faults));
  }

  /** All jobs that it ever accepted, tasks and arrays included. */
  jobs(): readonly JobState[] {
    return this.#store.all();
  }

  /** A job that nobody submitted here and that is never begun. */
  add(job: JobState): void {
    this.#store.put(job);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const living = (): readonly number[] =>
      this.jobs()
        .map(({ keeper }) => keeper)
        .filter((pid): pid is number => pid !== undefined && isAlive(pid));
    const starting = (): boolean =>
      this.jobs().some(({ id, state, tasks }) => tasks === undefined && state === "Q" && this.#store.isTaken(id));
    await waitFor(() => !starting(), { what: "jobs of the fake PBS that are starting", timeoutMs: 60_000 });
    for (const pid of living()) process.kill(pid, "SIGTERM");
    await waitFor(() => living().length === 0, { what: "the end of the fake PBS's jobs", timeoutMs: 60_000 });
    await this.#directory[Symbol.asyncDispose]();
  }
}
