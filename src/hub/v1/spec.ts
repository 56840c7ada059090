/** What an agent is told about a job: the submitter's words, the parents' results, the trigger's object. */
import type { JsonObject } from "../../common/json.ts";
import type { OutputFile } from "../../wire/common.ts";
import type { Assignment, JobSpec, SpecObject } from "../../wire/agent-api.ts";
import { parseJob } from "../jobs/document.ts";
import { idsPerQuery } from "../jobs/rows.ts";
import type { JobRow } from "../store/tables.ts";
import { together } from "../store/together.ts";
import type { Queries } from "../store/types.ts";
import { leaseMs } from "./claims.ts";
import { parseSpec } from "./view.ts";

/** What jobs refer to. */
export interface Surroundings {
  readonly objects: ReadonlyMap<string, SpecObject>;
  readonly parents: ReadonlyMap<string, JobSpec["parents"][number]>;
}

export async function surroundingsOf(db: Queries, rows: readonly JobRow[]): Promise<Surroundings> {
  const [objects, parents] = await together([
    objectsOf(db, new Set(rows.flatMap((row) => row.object_id ?? []))),
    parentsOf(db, new Set(rows.flatMap((row) => parentIds(row)))),
  ]);
  return { objects, parents };
}

/** Assignments of jobs that a site holds now. */
export function assignmentsOf(rows: readonly JobRow[], { objects, parents }: Surroundings): Assignment[] {
  return rows.flatMap((row) => {
    if (row.op_id === null) return [];
    const object = row.object_id === null ? undefined : objects.get(row.object_id);
    const spec: JobSpec = {
      ...specOf(row),
      ...(object === undefined ? {} : { object }),
      parents: parentIds(row).flatMap((id) => parents.get(id) ?? []),
    };
    return [{ job: row.id, op_id: row.op_id, epoch: row.epoch, lease_ms: leaseMs, spec }];
  });
}

function specOf(row: JobRow): Omit<JobSpec, "object" | "parents"> {
  const doc = parseJob(row);
  return {
    workflow: row.workflow_id,
    ...(typeof doc.name === "string" ? { name: doc.name } : {}),
    ...(typeof doc.description === "string" ? { description: doc.description } : {}),
    config: doc.config as JobSpec["config"],
    parameters: parseSpec(row).parameters ?? {},
    tags: JSON.parse(row.tags) as JobSpec["tags"],
    ...(row.owner === null ? {} : { owner: row.owner }),
    ...(row.retry_of === null ? {} : { retry_of: row.retry_of }),
  };
}

function parentIds(row: JobRow): string[] {
  return JSON.parse(row.parents) as string[];
}

async function parentsOf(db: Queries, ids: ReadonlySet<string>): Promise<Map<string, JobSpec["parents"][number]>> {
  const parents = new Map<string, JobSpec["parents"][number]>();
  for (const some of slices([...ids])) {
    const found = await db.selectFrom("jobs").select(["id", "state"]).where("id", "in", some).execute();
    const outputs = await db
      .selectFrom("outputs")
      .select(["job_id", "data"])
      .where("job_id", "in", some)
      .orderBy("n")
      .execute();
    const byJob = Map.groupBy(outputs, (output) => output.job_id);
    for (const { id, state } of found) {
      const own = (byJob.get(id) ?? []).map((output) => JSON.parse(output.data) as OutputFile);
      parents.set(id, { id, state: state as JobSpec["parents"][number]["state"], outputs: own });
    }
  }
  return parents;
}

function slices(ids: readonly string[]): string[][] {
  return Array.from({ length: Math.ceil(ids.length / idsPerQuery) }, (_, i) =>
    ids.slice(i * idsPerQuery, (i + 1) * idsPerQuery),
  );
}

/** The objects of trigger-made jobs (or of any that name one), so that templates can use their addresses and digests. */
async function objectsOf(db: Queries, ids: ReadonlySet<string>): Promise<Map<string, SpecObject>> {
  const objects = new Map<string, SpecObject>();
  for (const some of slices([...ids])) {
    const rows = await db.selectFrom("objects").select(["id", "doc"]).where("id", "in", some).execute();
    for (const row of rows) objects.set(row.id, specObject(row.id, JSON.parse(row.doc) as JsonObject));
  }
  return objects;
}

function specObject(id: string, doc: JsonObject): SpecObject {
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
