/** State of the fake server: one JSON file a job below a directory, written whole under its name. */
import { mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";

export const serverName = "fakepbs";

/** Which of the families it is, said by the commands' wrappers. */
export const isTorque = process.env["FAKE_PBS_FLAVOUR"] === "torque";

/** The states of what is over: in the history of OpenPBS, and as long as Torque keeps it. */
export const endedStates: ReadonlySet<string> = new Set(["F", "X", "C"]);

export interface JobState {
  readonly id: string;
  readonly name: string;
  readonly script: string;
  readonly output: string | undefined;
  readonly variables: Readonly<Record<string, string>>;
  readonly walltimeS: number | undefined;
  readonly resources: Readonly<Record<string, string>>;
  /** ms since 1970. */
  readonly ctime: number;
  /** Not to begin before it (ms). */
  readonly notBefore: number | undefined;
  /** Of an array: how many tasks; of a task: its array and index. */
  readonly tasks?: number;
  readonly array?: string;
  readonly index?: number;
  /** Q, H, W, R, B, E, F, X, … */
  state: string;
  holdTypes: string;
  substate: number;
  comment?: string;
  stime?: number;
  obittime?: number;
  exitStatus?: number;
  runCount?: number;
  /** Of the process that keeps the running job. */
  keeper?: number;
  /** In no answer any more: the history was purged. */
  purged?: boolean;
}

/** What the server does wrong; `faults.json` in the state directory. */
export interface Faults {
  /** Nobody listens. */
  down?: boolean;
  /** Commands do not end. */
  hang?: boolean;
  /** `job_history_enable` is off. */
  noHistory?: boolean;
  /** A grouped question, too, is answered for its first job alone. */
  firstOnly?: boolean;
  /** A qstat without `-F`. */
  noJson?: boolean;
  json?: "shell-function" | "jobs-twice" | "cut" | "empty";
  /** Every question is answered with nothing at all, and exit status 0. */
  silent?: boolean;
  /** Texts of the site's wrapper around all output. */
  banner?: boolean;
  /** The job is accepted, and qsub says this instead of its id. */
  qsubAfter?: { readonly exitCode: number; readonly stderr: string };
  /** qsub is refused. */
  qsubRefused?: { readonly exitCode: number; readonly stderr: string };
  /** Every command is refused by the authentication. */
  credential?: boolean;
  /** By id: what stands in its record instead. */
  records?: Readonly<Record<string, Readonly<Record<string, string | number>>>>;
}

export class Store {
  readonly directory: string;

  constructor(directory: string) {
    this.directory = directory;
  }

  faults(): Faults {
    try {
      return JSON.parse(readFileSync(join(this.directory, "faults.json"), "utf8")) as Faults;
    } catch {
      return {};
    }
  }

  /** The next number; whoever makes its directory has it. */
  nextNumber(): number {
    for (let number = this.all().length + 1; ; number++) {
      try {
        mkdirSync(join(this.directory, "numbers", String(number)));
        return number;
      } catch {
        // taken
      }
    }
  }

  /** True for the first that begins or deletes a waiting job, and for nobody after it. */
  take(id: string): boolean {
    try {
      mkdirSync(join(this.directory, "taken", id));
      return true;
    } catch {
      return false;
    }
  }

  /** Undoes `take`: the site begins the job again. */
  putBack(id: string): void {
    rmSync(join(this.directory, "taken", id), { recursive: true, force: true });
  }

  isTaken(id: string): boolean {
    return readdirSync(join(this.directory, "taken")).includes(id);
  }

  get(id: string): JobState | undefined {
    try {
      return JSON.parse(readFileSync(this.#path(id), "utf8")) as JobState;
    } catch {
      return undefined;
    }
  }

  put(job: JobState): void {
    const partial = `${this.#path(job.id)}.${process.pid}`;
    writeFileSync(partial, JSON.stringify(job));
    renameSync(partial, this.#path(job.id));
  }

  /** Jobs, arrays and tasks, in the order of their numbers. */
  all(): readonly JobState[] {
    const names = readdirSync(join(this.directory, "jobs")).filter((name) => name.endsWith(".json"));
    return names
      .map((name) => this.get(name.slice(0, -".json".length)))
      .filter((job) => job !== undefined)
      .filter((job) => job.purged !== true)
      .toSorted((a, b) => Number.parseInt(a.id, 10) - Number.parseInt(b.id, 10) || (a.index ?? -1) - (b.index ?? -1));
  }

  tasksOf(id: string): readonly JobState[] {
    return this.all().filter(({ array }) => array === id);
  }

  #path(id: string): string {
    return join(this.directory, "jobs", `${id}.json`);
  }
}

/** An array is what its tasks are. */
export function arrayState(parent: JobState, tasks: readonly JobState[]): JobState {
  const over = tasks.every(({ state }) => endedStates.has(state));
  const begun = tasks.some(({ state }) => !["Q", "H", "W"].includes(state));
  if (over) {
    const codes = tasks.map(({ exitStatus }) => exitStatus).filter((code) => code !== undefined);
    const failed = codes.some((code) => code !== 0) ? 1 : 0;
    return {
      ...parent,
      state: isTorque ? "C" : "F",
      substate: failed ? 93 : 92,
      ...(codes.length > 0 ? { exitStatus: failed } : {}),
    };
  }
  return begun ? { ...parent, state: "B", substate: 42 } : parent;
}
