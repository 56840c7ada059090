/** Rows as the API shows them. */
import type { z } from "zod";
import { isoTime } from "../../common/clock.ts";
import { isFinal } from "../../jobs/transitions.ts";
import type { JobState } from "../../jobs/states.ts";
import { type eventSchema, jobViewSchema, type JobView } from "../../wire/user-api.ts";
import type { JobDocument } from "../jobs/document.ts";
import { type JobParts, partsOf } from "../jobs/rows.ts";
import type { EventRow, JobRow } from "../store/tables.ts";
import type { Queries } from "../store/types.ts";
import { progressOf } from "./progress.ts";

/** A site that did not speak for this long has lost contact; nothing of its bound jobs is touched. */
export const lostContactMs = 90_000;

/** What /siteagent/v1/ keeps in a job's `spec` column. */
export interface StoredSpec {
  readonly parameters?: JobView["parameters"];
}

export function parseSpec(row: Pick<JobRow, "spec">): StoredSpec {
  return row.spec === null ? {} : (JSON.parse(row.spec) as StoredSpec);
}

/** These rows as views, in order. One more query for the sites that hold them, and one where files move. */
export async function jobViews(db: Queries, rows: readonly JobRow[], now: number): Promise<JobView[]> {
  const sites = [...new Set(rows.flatMap((row) => (row.site_id === null ? [] : [row.site_id])))];
  const seen = new Map<string, number | null>();
  if (sites.length > 0) {
    const found = await db.selectFrom("sites").select(["id", "last_seen_at"]).where("id", "in", sites).execute();
    for (const site of found) seen.set(site.id, site.last_seen_at);
  }
  const moving = await progressOf(db, rows, now);
  return rows.map((row) => ({
    ...jobView(row, row.site_id === null ? undefined : seen.get(row.site_id), now),
    progress: moving.get(row.id) ?? null,
  }));
}

/** What is shown of a row that cannot be read. */
const nothing: JobParts = {
  doc: { workflow: { id: "" }, id: "", created_at: "", config: {} },
  tags: {},
  parents: [],
  spec: {},
};

function jobView(row: JobRow, seenAt: number | null | undefined, now: number): Omit<JobView, "progress"> {
  const { doc, tags, parents, spec } = partsOf(row) ?? nothing;
  return {
    id: row.id,
    workflow: { id: row.workflow_id },
    name: doc.name ?? null,
    description: doc.description ?? null,
    config: doc.config as JobView["config"],
    parameters: (spec as StoredSpec).parameters ?? {},
    tags,
    owner: row.owner,
    ...stateView(row),
    site: row.site_id,
    op_id: row.op_id,
    epoch: row.epoch,
    attempt: row.attempt,
    priority: row.priority,
    parents: [...parents],
    parent_policy: (row.parent_policy ?? "all_finished") as JobView["parent_policy"],
    retry_of: row.retry_of,
    object_id: objectOf(row, doc),
    failure: row.failure === null ? null : (JSON.parse(row.failure) as JobView["failure"]),
    end: row.attempt_end === null ? null : (JSON.parse(row.attempt_end) as JobView["end"]),
    created_at: isoTime(row.created_at),
    updated_at: isoTime(row.updated_at),
    claimed_at: row.claimed_at === null ? null : isoTime(row.claimed_at),
    ended_at: row.ended_at === null ? null : isoTime(row.ended_at),
    lost_contact:
      row.bound === 1 && !isFinal(row.state as JobState) && typeof seenAt === "number" && seenAt < now - lostContactMs,
  };
}

const wordsOfState = jobViewSchema.pick({ status: true, state: true, phase: true });

function stateView(row: JobRow): Pick<JobView, "status" | "state" | "phase" | "hold"> {
  const { status, state, phase } = wordsOfState.parse(row);
  return { status, state, phase, hold: row.hold === null ? null : (JSON.parse(row.hold) as JobView["hold"]) };
}

function objectOf(row: JobRow, doc: JobDocument): string | null {
  if (row.trigger_object_id !== null) return row.trigger_object_id;
  return typeof doc.config["object_id"] === "string" ? row.object_id : null;
}

export function eventView(row: EventRow): z.output<typeof eventSchema> {
  return {
    seq: row.seq,
    at: isoTime(row.at),
    type: row.type,
    job: row.job_id,
    site: row.site_id,
    actor: row.actor,
    data: JSON.parse(row.data) as z.output<typeof eventSchema>["data"],
  };
}
