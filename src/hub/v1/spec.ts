/** What an agent is told about a job: the submitter's words, the parents' results, the trigger's object. */
import type { JsonObject } from "../../common/json.ts";
import type { OutputFile } from "../../wire/common.ts";
import type { Assignment, JobSpec, SpecObject } from "../../wire/agent-api.ts";
import { parseJob } from "../jobs/document.ts";
import type { JobRow } from "../store/tables.ts";
import type { Queries } from "../store/types.ts";
import { leaseMs } from "./claims.ts";
import { parseSpec } from "./view.ts";

/** Assignments of jobs that a site holds now. */
export async function assignmentsOf(db: Queries, rows: readonly JobRow[]): Promise<Assignment[]> {
  const assignments: Assignment[] = [];
  for (const row of rows) {
    if (row.op_id === null) continue;
    const spec = await specOf(db, row);
    assignments.push({ job: row.id, op_id: row.op_id, epoch: row.epoch, lease_ms: leaseMs, spec });
  }
  return assignments;
}

async function specOf(db: Queries, row: JobRow): Promise<JobSpec> {
  const doc = parseJob(row);
  const object = row.object_id === null ? undefined : await objectOf(db, row.object_id);
  return {
    workflow: row.workflow_id,
    ...(typeof doc.name === "string" ? { name: doc.name } : {}),
    ...(typeof doc.description === "string" ? { description: doc.description } : {}),
    config: doc.config as JobSpec["config"],
    parameters: parseSpec(row).parameters ?? {},
    tags: JSON.parse(row.tags) as JobSpec["tags"],
    ...(row.owner === null ? {} : { owner: row.owner }),
    ...(row.retry_of === null ? {} : { retry_of: row.retry_of }),
    ...(object === undefined ? {} : { object }),
    parents: await parentsOf(db, row),
  };
}

async function parentsOf(db: Queries, row: JobRow): Promise<JobSpec["parents"]> {
  const ids = JSON.parse(row.parents) as string[];
  if (ids.length === 0) return [];
  const states = new Map<string, string>();
  const found = await db.selectFrom("jobs").select(["id", "state"]).where("id", "in", ids).execute();
  for (const parent of found) states.set(parent.id, parent.state);
  const outputs = await db
    .selectFrom("outputs")
    .select(["job_id", "data"])
    .where("job_id", "in", ids)
    .orderBy("n")
    .execute();
  return ids.flatMap((id) => {
    const state = states.get(id);
    if (state === undefined) return [];
    const own = outputs.filter((output) => output.job_id === id).map((output) => JSON.parse(output.data) as OutputFile);
    return [{ id, state: state as JobSpec["parents"][number]["state"], outputs: own }];
  });
}

/** The object of a trigger-made job (or of any that names one), so that templates can use its address and digest. */
async function objectOf(db: Queries, id: string): Promise<SpecObject | undefined> {
  const row = await db.selectFrom("objects").select("doc").where("id", "=", id).executeTakeFirst();
  if (!row) return undefined;
  const doc = JSON.parse(row.doc) as JsonObject;
  const { name, mime_type, size } = doc as { name?: unknown; mime_type?: unknown; size?: unknown };
  return {
    id,
    ...(typeof name === "string" ? { name } : {}),
    ...(typeof mime_type === "string" ? { mime_type } : {}),
    ...(typeof size === "number" ? { size } : {}),
    checksums: listOf(doc["checksums"]).flatMap((entry) => {
      const { type, checksum } = entry;
      return typeof type === "string" && typeof checksum === "string" ? [{ type, checksum }] : [];
    }),
    urls: listOf(doc["access_methods"]).flatMap((method) => {
      const url = (method["access_url"] as { url?: unknown } | null | undefined)?.url;
      return typeof url === "string" ? [url] : [];
    }),
  };
}

function listOf(value: unknown): readonly Readonly<Record<string, unknown>>[] {
  return Array.isArray(value) ? value.filter((entry) => typeof entry === "object" && entry !== null) : [];
}
