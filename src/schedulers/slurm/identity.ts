import type { CallContext } from "../../common/context.ts";
import { mapInSlices } from "../../common/slices.ts";
import type { ScheduledJob } from "../types.ts";
import { type ListedId, listsTask } from "./ids.ts";

/** How far the controller's clock may differ from ours, milliseconds. munge refuses at five minutes. */
const skewMs = 3_600_000;

interface Listed extends ListedId {
  readonly token: string;
  /** Seconds since 1970. */
  readonly submitted: number | undefined;
}

/** Seconds since 1970 before which nothing can be the job that was submitted at `submittedAt`. */
export function notBefore(submittedAt: string): number {
  return Math.floor((Date.parse(submittedAt) - skewMs) / 1000);
}

/** Since when accounting has to be asked, seconds since 1970: before the first of these times. It refuses a start that is yet to come. */
export function earliest(times: readonly string[], context: CallContext): number {
  const now = new Date(context.clock.now()).toISOString();
  return Math.min(...[now, ...times].map(notBefore));
}

/** Rows by what they are about. Rows that bear another token, or are older, belong to jobs that had the number before. */
export class Rows<Row extends Listed> {
  readonly #byTask = new Map<string, Row[]>();
  readonly #byId = new Map<string, Row[]>();

  static async of<Row extends Listed>(rows: readonly Row[]): Promise<Rows<Row>> {
    const made = new Rows<Row>();
    await mapInSlices(rows, (row) => {
      add(made.#byId, row.id, row);
      add(made.#byTask, key(row), row);
    });
    return made;
  }

  private constructor() {}

  /** All that are about the job: one, or the tasks of the array. */
  of(job: ScheduledJob): readonly Row[] {
    return this.#candidates(job).filter((row) => isOf(row, job));
  }

  /** The row of a task's array as a whole: only where tasks that never began were cancelled together. */
  ofArray({ task, ...job }: ScheduledJob): Row | undefined {
    if (task === undefined) return undefined;
    return this.#byTask.get(job.id)?.find((row) => isOf(row, job));
  }

  #candidates(job: ScheduledJob): readonly Row[] {
    if (job.task === undefined) return this.#byId.get(job.id) ?? [];
    const lists = this.#byTask.get(`${job.id}_list`) ?? [];
    const { task } = job;
    return [
      ...(this.#byTask.get(`${job.id}_${task}`) ?? []),
      ...lists.filter(({ tasks }) => listsTask(tasks ?? "", task)),
    ];
  }
}

function isOf(row: Listed, job: ScheduledJob): boolean {
  if (row.token !== job.token) return false;
  return row.submitted === undefined || row.submitted >= notBefore(job.submittedAt);
}

function key({ id, task, tasks }: ListedId): string {
  if (tasks !== undefined) return `${id}_list`;
  return task === undefined ? id : `${id}_${task}`;
}

function add<Row>(map: Map<string, Row[]>, name: string, row: Row): void {
  const known = map.get(name);
  if (known) known.push(row);
  else map.set(name, [row]);
}
