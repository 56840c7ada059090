/** Logs of attempts by byte offset: the site appends, readers follow. Repeating a chunk is harmless, a gap is refused. */
import { failpoint } from "../../common/failpoint.ts";
import type { FastifyReply } from "fastify";
import { z } from "zod";
import { Fault } from "../../common/fault.ts";
import type { JobState } from "../../jobs/states.ts";
import { isFinal } from "../../jobs/transitions.ts";
import { logChunkAnswerSchema, logStreams } from "../../wire/agent-api.ts";
import { timeSchema } from "../../wire/common.ts";
import { logHeaders } from "../../wire/user-api.ts";
import type { HubContext } from "../context.ts";
import { readJobs } from "../jobs/lifecycle.ts";
import type { JobRow, HubDatabase } from "../store/tables.ts";
import type { Selectable } from "kysely";
import type { Queries, Tx } from "../store/types.ts";
import { siteOf } from "./access.ts";
import { holderJob } from "./agent-routes.ts";
import type { V1App } from "./http.ts";
import { noteLogReader } from "./log-watch.ts";

/** Longest chunk, bytes. */
export const chunkBytes = 256 * 1024;
/** Of each stream of each attempt the hub keeps the first bytes only. */
export const logCapBytes = 16 * 1024 * 1024;
/** Small chunks that come within a minute are put together in rows of about this size; a row's time tells when its bytes came. */
const rowBytes = 64 * 1024;
const rowMs = 60_000;
/** A log without an end mark counts as complete this long after the end of its job or attempt and its last chunk. */
const quietMs = 3_000;

const params = z.object({ id: z.string(), stream: z.enum(logStreams) });
const putQuery = z.object({
  attempt: z.coerce.number().int().min(0).max(1_000_000),
  offset: z.coerce.number().int().min(0),
  epoch: z.coerce.number().int().min(1),
  final: z.stringbool().default(false),
});
const getQuery = z.object({
  attempt: z.coerce.number().int().min(0).optional(),
  /** Number (epoch) of a claim; default: the present one, or the last that has a log when nobody holds the job. */
  claim: z.coerce.number().int().min(0).optional(),
  /** Negative: that many bytes before the end. */
  offset: z.coerce.number().int().default(0),
  /** Instead of an offset: from the first bytes that came since then, to the minute. */
  since: timeSchema.optional(),
  limit: z.coerce.number().int().min(1).max(4_194_304).default(1_048_576),
});

type LogRow = Selectable<HubDatabase["logs"]>;
interface Place {
  readonly job: string;
  readonly epoch: number;
  readonly attempt: number;
  readonly stream: string;
}

export function logRoutes(app: V1App, ctx: HubContext): void {
  app.put(
    "/jobs/:id/logs/:stream",
    {
      config: { access: "site", body: "raw" },
      bodyLimit: chunkBytes,
      schema: { tags: ["agent"], params, querystring: putQuery, response: { 200: logChunkAnswerSchema } },
    },
    async (request) => {
      const { id, stream } = request.params;
      const { attempt, offset, epoch, final } = request.query;
      const caller = siteOf(request);
      const bytes = request.body as Buffer;
      const kept = await ctx.store.transaction(async (tx) => {
        await holderJob(ctx, tx, caller, id, epoch);
        const end = await append(ctx, tx, { job: id, epoch, attempt, stream }, offset, bytes, final);
        await failpoint("hub.before-log");
        return end;
      });
      await failpoint("hub.after-log");
      return { offset: kept };
    },
  );

  app.get(
    "/jobs/:id/logs/:stream",
    { config: { access: "viewer" }, schema: { tags: ["jobs"], params, querystring: getQuery } },
    async (request, reply) => {
      const [job] = await readJobs(ctx.store.db, [request.params.id]);
      if (!job) throw new Fault("NOT_FOUND", "Not found");
      if (job.site_id !== null) await noteLogReader(ctx.store, job.site_id, ctx.clock.now());
      return sendLog(ctx, reply, job, request.params.stream, request.query);
    },
  );
}

/** Appends what is new and answers up to where the hub has the log. The job is locked: one writer. */
async function append(
  ctx: HubContext,
  tx: Tx,
  place: Place,
  offset: number,
  bytes: Uint8Array,
  final: boolean,
): Promise<number> {
  const last = await lastRow(tx.db, place);
  const end = last ? last.offset_bytes + last.length : 0;
  const sent = offset + bytes.length;
  if (offset > end) {
    throw new Fault("BAD_OFFSET", `the log ends at ${end}, the chunk starts at ${offset}`, {
      details: { offset: end },
    });
  }
  if (last?.length === 0 && end > 0) return Math.max(end, sent);
  const fresh = bytes.subarray(Math.min(end - offset, bytes.length));
  const now = ctx.clock.now();
  if (fresh.length > 0) await addBytes(tx, place, last, end, fresh, now);
  if (final) await addRow(tx, place, Math.max(end, sent), new Uint8Array(), 0, now);
  return Math.max(end, sent);
}

async function addBytes(
  tx: Tx,
  place: Place,
  last: LogRow | undefined,
  end: number,
  fresh: Uint8Array,
  now: number,
): Promise<void> {
  const kept = fresh.subarray(0, Math.max(0, logCapBytes - end));
  const dropped = fresh.length - kept.length;
  const roomy = last && last.bytes.length === last.length && last.length + kept.length <= rowBytes;
  if (kept.length > 0 && roomy && sameMinute(last.created_at, now)) {
    const bytes = Buffer.concat([last.bytes, kept]);
    await changeRow(tx, place, last.offset_bytes, { bytes, length: bytes.length, created_at: now });
  } else if (kept.length > 0) await addRow(tx, place, end, kept, kept.length, now);
  if (dropped === 0) return;
  // Beyond the cap only the length is noted: a row whose bytes are missing.
  if (last && last.bytes.length < last.length) {
    await changeRow(tx, place, last.offset_bytes, { length: last.length + dropped, created_at: now });
  } else await addRow(tx, place, end + kept.length, new Uint8Array(), dropped, now);
}

function sameMinute(one: number, other: number): boolean {
  return Math.floor(one / rowMs) === Math.floor(other / rowMs);
}

async function addRow(
  tx: Tx,
  place: Place,
  offset_bytes: number,
  bytes: Uint8Array,
  length: number,
  created_at: number,
): Promise<void> {
  const { job: job_id, epoch, attempt, stream } = place;
  await tx.db
    .insertInto("logs")
    .values({ job_id, epoch, attempt, stream, offset_bytes, bytes: Buffer.from(bytes), length, created_at })
    .onConflict((conflict) => conflict.doNothing())
    .execute();
}

async function changeRow(
  tx: Tx,
  place: Place,
  offset: number,
  change: { bytes?: Buffer; length: number; created_at: number },
): Promise<void> {
  await tx.db
    .updateTable("logs")
    .set(change)
    .where("job_id", "=", place.job)
    .where("epoch", "=", place.epoch)
    .where("attempt", "=", place.attempt)
    .where("stream", "=", place.stream)
    .where("offset_bytes", "=", offset)
    .execute();
}

async function lastRow(db: Queries, place: Place): Promise<LogRow | undefined> {
  return db
    .selectFrom("logs")
    .selectAll()
    .where("job_id", "=", place.job)
    .where("epoch", "=", place.epoch)
    .where("attempt", "=", place.attempt)
    .where("stream", "=", place.stream)
    .orderBy("offset_bytes", "desc")
    .limit(1)
    .executeTakeFirst();
}

async function sendLog(
  ctx: HubContext,
  reply: FastifyReply,
  job: JobRow,
  stream: string,
  query: z.output<typeof getQuery>,
): Promise<Buffer> {
  const { db } = ctx.store;
  const { epoch, claims, newest } = await claimOf(db, job, query.claim);
  const isPresent = epoch === job.epoch;
  const latest = isPresent ? Math.max(job.attempt, newest) : newest;
  const place = { job: job.id, epoch, attempt: query.attempt ?? latest, stream };
  const last = await lastRow(db, place);
  const size = last ? last.offset_bytes + last.bytes.length : 0;
  const from = query.since === undefined ? query.offset : await offsetSince(db, place, Date.parse(query.since), size);
  const offset = from < 0 ? Math.max(0, size + from) : Math.min(from, size);
  const bytes = await readRange(db, place, offset, Math.min(size, offset + query.limit));
  reply.header("content-type", "application/octet-stream");
  reply.header(logHeaders.attempt, place.attempt);
  reply.header(logHeaders.latestAttempt, latest);
  reply.header(logHeaders.offset, offset);
  reply.header(logHeaders.size, size);
  reply.header(logHeaders.claim, epoch);
  reply.header(logHeaders.claims, claims.join(","));
  const isOver = !isPresent || isComplete(job, place.attempt < latest, last, ctx.clock.now());
  reply.header(logHeaders.complete, String(isOver));
  reply.header(logHeaders.ended, String(isFinal(job.state as JobState)));
  if (last && last.bytes.length < last.length) reply.header("siteagent-log-truncated", "true");
  return bytes;
}

/** The claim whose log is wanted, all claims that have one with the present one, and the latest attempt with a log in it. */
async function claimOf(
  db: Queries,
  job: JobRow,
  wanted: number | undefined,
): Promise<{ readonly epoch: number; readonly claims: readonly number[]; readonly newest: number }> {
  const rows = await db
    .selectFrom("logs")
    .select((select) => ["epoch", select.fn.max("attempt").as("attempt")])
    .where("job_id", "=", job.id)
    .groupBy("epoch")
    .orderBy("epoch")
    .execute();
  const known = rows.map((row) => row.epoch);
  const present = job.site_id === null ? (known.at(-1) ?? job.epoch) : job.epoch;
  const epoch = wanted ?? present;
  const newest = Number(rows.find((row) => row.epoch === epoch)?.attempt ?? 0);
  return { epoch, claims: [...new Set([...known, present])], newest };
}

/** Where the bytes begin that came at `time` or later; `size` when none did. */
async function offsetSince(db: Queries, place: Place, time: number, size: number): Promise<number> {
  const first = await db
    .selectFrom("logs")
    .select((select) => select.fn.min("offset_bytes").as("offset"))
    .where("job_id", "=", place.job)
    .where("epoch", "=", place.epoch)
    .where("attempt", "=", place.attempt)
    .where("stream", "=", place.stream)
    .where("length", ">", 0)
    .where("created_at", ">=", time)
    .executeTakeFirst();
  return first?.offset === null || first?.offset === undefined ? size : Number(first.offset);
}

function isComplete(job: JobRow, superseded: boolean, last: LogRow | undefined, now: number): boolean {
  if (last && last.length === 0) return true;
  const quietSince = Math.max(last?.created_at ?? 0, superseded ? job.updated_at : (job.ended_at ?? Infinity));
  return now - quietSince > quietMs;
}

async function readRange(db: Queries, place: Place, from: number, to: number): Promise<Buffer> {
  if (to <= from) return Buffer.alloc(0);
  const rows = await db
    .selectFrom("logs")
    .select(["offset_bytes", "bytes"])
    .where("job_id", "=", place.job)
    .where("epoch", "=", place.epoch)
    .where("attempt", "=", place.attempt)
    .where("stream", "=", place.stream)
    .where("offset_bytes", "<", to)
    .where((where) => where(where("offset_bytes", "+", where.ref("length")), ">", from))
    .orderBy("offset_bytes")
    .execute();
  const first = rows[0]?.offset_bytes ?? from;
  return Buffer.concat(rows.map((row) => row.bytes)).subarray(from - first, to - first);
}
