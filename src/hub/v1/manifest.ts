/** What a job delivered: one row per path, with the bytes where the hub keeps a copy. */
import { isoTime } from "../../common/clock.ts";
import type { OutputFile } from "../../wire/common.ts";
import type { LifecycleContext } from "../jobs/lifecycle.ts";
import type { NewEvent } from "../store/events.ts";
import { idsPerQuery } from "../jobs/rows.ts";
import type { JobRow } from "../store/tables.ts";
import type { Queries, Tx } from "../store/types.ts";

/** Outputs belong to the job, whichever attempt made them. */
export const jobWide = 0;

/** Writes the manifest; `stored` is what the hub has, not what the site says. Returns the event that tells of it. */
export async function storeManifest(
  ctx: LifecycleContext,
  tx: Tx,
  job: JobRow,
  outputs: readonly OutputFile[],
  actor: string,
): Promise<NewEvent> {
  const now = ctx.clock.now();
  const kept = await readSome(
    tx.db,
    job.id,
    outputs.map(({ path }) => path),
  );
  for (const output of outputs) {
    const before = kept.get(output.path);
    const stored = before?.stored === true && before.sha256 === output.sha256;
    await putEntry(tx, job.id, { ...output, stored }, now);
  }
  return {
    type: "job.outputs",
    at: now,
    jobId: job.id,
    workflowId: job.workflow_id,
    siteId: job.site_id,
    owner: job.owner,
    actor,
    data: { count: outputs.length, bytes: outputs.reduce((sum, output) => sum + output.bytes, 0), at: isoTime(now) },
  };
}

/** Those of these paths that are there. */
async function readSome(
  db: Queries,
  jobId: string,
  paths: readonly string[],
): Promise<ReadonlyMap<string, OutputFile>> {
  const found = new Map<string, OutputFile>();
  for (let start = 0; start < paths.length; start += idsPerQuery) {
    const rows = await db
      .selectFrom("outputs")
      .select(["name", "data"])
      .where("job_id", "=", jobId)
      .where("name", "in", paths.slice(start, start + idsPerQuery))
      .execute();
    for (const { name, data } of rows) found.set(name, JSON.parse(data) as OutputFile);
  }
  return found;
}

/** How many entries there are. */
export async function countManifest(db: Queries, jobId: string): Promise<number> {
  const row = await db
    .selectFrom("outputs")
    .select(({ fn }) => fn.countAll<number | string>().as("count"))
    .where("job_id", "=", jobId)
    .executeTakeFirst();
  return Number(row?.count ?? 0);
}

/** Entries by path: one, or a page of those after one. */
export interface ManifestQuery {
  readonly path?: string | undefined;
  readonly after?: string | undefined;
  readonly limit: number;
}

/** In the order of their paths, as the store has it. */
export async function readManifest(
  db: Queries,
  jobId: string,
  { path, after, limit }: ManifestQuery,
): Promise<OutputFile[]> {
  let query = db.selectFrom("outputs").select("data").where("job_id", "=", jobId).where("attempt", "=", jobWide);
  if (path !== undefined) query = query.where("name", "=", path);
  if (after !== undefined) query = query.where("name", ">", after);
  const rows = await query.orderBy("name").limit(limit).execute();
  return rows.map((row) => JSON.parse(row.data) as OutputFile);
}

/** One entry; `content` replaces the stored bytes, without it they stay. */
export async function putEntry(
  tx: Tx,
  jobId: string,
  entry: OutputFile,
  now: number,
  content?: Uint8Array,
): Promise<void> {
  const data = JSON.stringify(entry);
  await tx.db
    .insertInto("outputs")
    .values({ job_id: jobId, attempt: jobWide, name: entry.path, data, content: content ?? null, created_at: now })
    .onConflict((conflict) =>
      conflict.columns(["job_id", "attempt", "name"]).doUpdateSet(content === undefined ? { data } : { data, content }),
    )
    .execute();
}
