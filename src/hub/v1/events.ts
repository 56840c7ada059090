/** The event stream: as JSON pages, or pushed as server-sent events that continue after `Last-Event-ID`. */
import { Readable } from "node:stream";
import type { FastifyRequest } from "fastify";
import type { z } from "zod";
import { eventListSchema, eventQuerySchema } from "../../wire/user-api.ts";
import type { HubContext } from "../context.ts";
import type { EventRow } from "../store/tables.ts";
import type { HeldCalls } from "./held.ts";
import type { V1App } from "./http.ts";
import { listenFor } from "./bell.ts";
import { eventView } from "./view.ts";

type Query = z.output<typeof eventQuerySchema>;

const pageSize = 500;
/** Idle streams get a comment this often: proxies keep them open, readers notice dead ones. */
const keepAliveMs = 15_000;
const reconnectMs = 1_000;
/** A stream ends after this time; the reader comes again and its token is looked at again. */
const streamLifeMs = 15 * 60_000;

export function eventRoutes(app: V1App, ctx: HubContext, held: HeldCalls): void {
  app.get(
    "/events",
    {
      config: { access: "viewer" },
      schema: { tags: ["events"], querystring: eventQuerySchema, response: { 200: eventListSchema } },
    },
    async (request, reply) => {
      if (!wantsStream(request)) return listEvents(ctx, request.query);
      const after = lastEventId(request) ?? request.query.after;
      const signal = held.hold(reply);
      const lines = Readable.from(stream(ctx, { ...request.query, after }, signal), { objectMode: false });
      reply.header("content-type", "text/event-stream; charset=utf-8");
      reply.header("x-accel-buffering", "no");
      return reply.send(lines as never);
    },
  );
}

function wantsStream(request: FastifyRequest): boolean {
  return request.headers.accept?.includes("text/event-stream") ?? false;
}

function lastEventId(request: FastifyRequest): number | undefined {
  const id = Number(request.headers["last-event-id"] ?? Number.NaN);
  return Number.isSafeInteger(id) && id >= 0 ? id : undefined;
}

async function listEvents(ctx: HubContext, query: Query): Promise<z.output<typeof eventListSchema>> {
  const rows = await readPage(ctx, query, query.limit);
  const newest = await ctx.store.db
    .selectFrom("events")
    .select((select) => select.fn.max("seq").as("seq"))
    .executeTakeFirst();
  return { events: rows.map((row) => eventView(row)), last_seq: Number(newest?.seq ?? 0) };
}

async function readPage(ctx: HubContext, query: Pick<Query, "after" | "job">, limit: number): Promise<EventRow[]> {
  if (limit === 0) return [];
  let rows = ctx.store.db.selectFrom("events").selectAll().where("seq", ">", query.after);
  if (query.job !== undefined) rows = rows.where("job_id", "=", query.job);
  return rows.orderBy("seq").limit(limit).execute();
}

async function* stream(ctx: HubContext, query: Query, signal: AbortSignal): AsyncGenerator<string> {
  using bell = listenFor(ctx, ["events"]);
  yield `retry: ${reconnectMs}\n\n`;
  let { after } = query;
  const end = ctx.clock.monotonic() + streamLifeMs;
  while (!signal.aborted && ctx.clock.monotonic() < end) {
    const rows = await readPage(ctx, { ...query, after }, pageSize);
    if (rows.length > 0) {
      after = rows.at(-1)?.seq ?? after;
      yield rows.map((row) => `id: ${row.seq}\ndata: ${JSON.stringify(eventView(row))}\n\n`).join("");
      continue;
    }
    if (!(await bell.wait(keepAliveMs, signal)) && !signal.aborted) yield ": nothing new\n\n";
  }
}
