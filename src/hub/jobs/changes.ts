/** What changes of jobs mean for the columns that queries use, for tags and for the event stream. The only user is lifecycle.ts. */
import { isJsonObject, type JsonObject } from "../../common/json.ts";
import type { Failure, Hold, JobState, Phase } from "../../jobs/states.ts";
import { statusOf } from "../../jobs/status.ts";
import { isFinal } from "../../jobs/transitions.ts";
import type { HubContext } from "../context.ts";
import { type NewEvent, writeWithEvents } from "../store/events.ts";
import type { JobRow } from "../store/tables.ts";
import type { Tx, Write } from "../store/types.ts";

export interface StateChange {
  readonly state?: JobState;
  readonly phase?: Phase;
  /** null ends a hold. */
  readonly hold?: Hold | null;
  readonly failure?: Failure | null;
  /** Other columns to set with it (site_id, epoch, lease_expires_at, attempt …). */
  readonly columns?: Partial<Omit<JobRow, "id" | "n">>;
  readonly actor: string;
  /** Added to the event's data. */
  readonly data?: JsonObject;
  /** When it happened, if earlier than now (a report that was late). */
  readonly at?: number;
  /** What else is to be told, before the change. */
  readonly events?: readonly NewEvent[];
}

/** Changes of locked jobs that are judged one after the other and written together. */
export class JobChanges {
  readonly #tx: Tx;
  readonly #now: number;
  readonly #latest = new Map<
    string,
    { readonly row: JobRow; readonly columns: ChangedColumns; statusBefore: string }
  >();
  readonly #events: NewEvent[] = [];
  readonly #ended: string[] = [];

  constructor(ctx: Pick<HubContext, "clock">, tx: Tx) {
    this.#tx = tx;
    this.#now = ctx.clock.now();
  }

  /** Jobs that came to an end. */
  get ended(): readonly string[] {
    return this.#ended;
  }

  /** The row that the job has from now on; it follows later changes of the same job. */
  add(job: JobRow, change: StateChange): JobRow {
    // A row has 40 columns and many jobs have many changes: the copy is ours, and changed in place.
    const known = this.#latest.get(job.id);
    const { row, columns } = known ?? { row: { ...job }, columns: {} as ChangedColumns };
    if (!known) this.#latest.set(job.id, { row, columns, statusBefore: job.status });
    const { state, phase, attempt, hold, site_id } = row;
    const changed = changedColumns(row, change, this.#now);
    Object.assign(row, changed);
    Object.assign(columns, changed);
    this.#events.push(...(change.events ?? []));
    this.#events.push(...changeEvents({ state, phase, attempt, hold, site_id }, row, change, this.#now));
    if (isOpen(row)) this.#tx.notify("jobs", row.workflow_id);
    if (isFinal(row.state as JobState) && row.state !== state) this.#ended.push(row.id);
    return row;
  }

  /** By `writeChanges` alone, which looks after the children of what ended. `besides` is written with it. */
  async write(besides: readonly Write[]): Promise<void> {
    const latest = [...this.#latest.values()];
    const rows = byColumns(latest.map(({ row: { id }, columns }) => ({ id, ...columns })));
    const jobs = rows.map((alike): Write => ({ update: "jobs", rows: alike }));
    const moved = latest.filter(({ row, statusBefore }) => row.status !== statusBefore).map(({ row }) => row);
    const tags = movedTags(moved);
    for (const { id, status } of tags.unreadable) {
      await this.#tx.db.updateTable("job_tags").set({ status }).where("job_id", "=", id).execute();
    }
    await writeWithEvents(this.#tx, [...besides, ...jobs, { update: "job_tags", rows: tags.rows }], this.#events);
  }
}

type ChangedColumns = ReturnType<typeof changedColumns>;

function changedColumns(job: JobRow, change: StateChange, now: number) {
  const state = change.state ?? (job.state as JobState);
  const entered = state !== job.state;
  const phase = change.phase ?? (entered ? "none" : (job.phase as Phase));
  const hold = change.hold === undefined ? (entered ? undefined : parsedHold(job)) : (change.hold ?? undefined);
  const final = isFinal(state);
  return {
    ...change.columns,
    state,
    phase: final ? "none" : phase,
    hold: hold === undefined || final ? null : JSON.stringify(hold),
    status: statusOf(state, phase, hold),
    state_since: entered ? (change.at ?? now) : job.state_since,
    updated_at: now,
    ended_at: final ? (job.ended_at ?? change.at ?? now) : null,
    ...(change.failure === undefined
      ? {}
      : { failure: change.failure === null ? null : JSON.stringify(change.failure) }),
  };
}

/** Rows with the same columns together, as `Tx.update` wants them. */
function byColumns<Row extends object>(rows: readonly Row[]): Row[][] {
  return [...Map.groupBy(rows, (row) => Object.keys(row).toSorted().join(" ")).values()];
}

/** Tags carry their job's status; by their keys, as far as those can be read. */
function movedTags(moved: readonly JobRow[]): {
  readonly rows: readonly { readonly job_id: string; readonly key: string; readonly status: string }[];
  readonly unreadable: readonly JobRow[];
} {
  const keys = new Map(moved.map((row) => [row, tagKeys(row.tags)]));
  const rows = moved.flatMap((row) =>
    (keys.get(row) ?? []).map((key) => ({ job_id: row.id, key, status: row.status })),
  );
  return { rows, unreadable: moved.filter((row) => keys.get(row) === undefined) };
}

function tagKeys(tags: string): string[] | undefined {
  if (tags === "{}") return [];
  try {
    const parsed: unknown = JSON.parse(tags);
    return isJsonObject(parsed) ? Object.keys(parsed) : undefined;
  } catch {
    return undefined;
  }
}

/** A site could claim it now: those that wait for work of its workflow are woken. */
export function isOpen(row: Pick<JobRow, "state" | "site_id" | "live_claims" | "hold">): boolean {
  return row.state === "READY" && row.site_id === null && row.live_claims === 0 && row.hold === null;
}

/** The hold of a row, parsed. */
export function parsedHold(row: Pick<JobRow, "hold">): Hold | undefined {
  return row.hold === null ? undefined : (JSON.parse(row.hold) as Hold);
}

function changeEvents(
  before: Pick<JobRow, "state" | "phase" | "attempt" | "hold" | "site_id">,
  after: JobRow,
  change: StateChange,
  now: number,
): NewEvent[] {
  const common = {
    at: now,
    jobId: after.id,
    workflowId: after.workflow_id,
    siteId: after.site_id ?? before.site_id,
    owner: after.owner,
    actor: change.actor,
  };
  const words = { status: after.status, state: after.state, phase: after.phase, attempt: after.attempt };
  const events: NewEvent[] = [];
  if (after.state !== before.state || after.phase !== before.phase || after.attempt !== before.attempt) {
    const failure = after.state === "FAILED" && change.failure ? { failure: { ...change.failure } as JsonObject } : {};
    const data = { ...words, from: before.state, ...failure, ...change.data };
    events.push({ type: "job.state", ...common, data });
  }
  if (after.hold !== before.hold) {
    const hold = after.hold === null ? null : (JSON.parse(after.hold) as JsonObject);
    events.push({ type: "job.hold", ...common, data: { ...words, hold, ...change.data } });
  }
  return events;
}
