import { EventSourceParserStream } from "eventsource-parser/stream";
import { systemClock } from "../common/clock.ts";
import { isFault } from "../common/fault.ts";
import { backoffMs, syncBackoff } from "../common/retry.ts";
import { eventListSchema, eventSchema, type HubEvent } from "../wire/user-api.ts";
import type { HubHttp } from "./http.ts";
import { api } from "./paths.ts";

export interface EventOptions {
  /** Only events with a greater number; `now` (default): only what comes; 0: all that the hub keeps. */
  readonly after?: number | "now" | undefined;
  /** Only of this job. */
  readonly job?: string | undefined;
  readonly signal?: AbortSignal | undefined;
  /** Pause between two looks while streaming does not work, milliseconds; default 2 000. */
  readonly pollMs?: number | undefined;
}

/** Failures of the stream in a row after which events are polled; each tenth look tries the stream again. */
const streamTries = 2;
const page = 1000;

/**
 * The hub's events in order, each once, without gaps and without end: over SSE, continued after the last number when the
 * connection breaks, by polling where streams do not come through. Ends when the signal aborts.
 * @throws Fault UNAUTHENTICATED, FORBIDDEN, NOT_FOUND and other refusals; an unreachable hub is waited for.
 */
export async function* events(http: HubHttp, options: EventOptions = {}): AsyncGenerator<HubEvent> {
  const { signal } = options;
  let after = await firstAfter(http, options);
  let failures = 0;
  while (!signal?.aborted) {
    try {
      const source =
        failures >= streamTries && failures % 10 !== 0 ? polled(http, after, options) : streamed(http, after, options);
      for await (const event of source) {
        if (event.seq <= after) continue;
        after = event.seq;
        failures = 0;
        yield event;
      }
    } catch (error) {
      if (signal?.aborted) return;
      if (!isFault(error, "UNREACHABLE", "STORE", "RATE_LIMITED", "TIMEOUT")) throw error;
    }
    failures++;
    if (signal?.aborted) return;
    const pauseMs = failures < streamTries ? backoffMs(syncBackoff, 1) / 4 : (options.pollMs ?? 2_000);
    await systemClock.sleep(pauseMs, signal);
  }
}

/** The number of the newest event. */
export async function lastSeq(http: HubHttp, signal?: AbortSignal): Promise<number> {
  const answer = await http.json(`${api}/events`, eventListSchema, { query: { limit: 0 }, signal });
  return answer.last_seq;
}

async function firstAfter(http: HubHttp, options: EventOptions): Promise<number> {
  if (typeof options.after === "number") return options.after;
  return lastSeq(http, options.signal);
}

async function* polled(http: HubHttp, after: number, options: EventOptions): AsyncGenerator<HubEvent> {
  const query = { after, job: options.job, limit: page };
  const answer = await http.json(`${api}/events`, eventListSchema, { query, signal: options.signal });
  yield* answer.events;
}

async function* streamed(http: HubHttp, after: number, options: EventOptions): AsyncGenerator<HubEvent> {
  const response = await http.raw(`${api}/events`, {
    query: { after, job: options.job },
    headers: { accept: "text/event-stream", "last-event-id": String(after) },
    signal: options.signal,
  });
  if (!String(response.headers["content-type"]).startsWith("text/event-stream")) {
    await response.body.dump();
    yield* polled(http, after, options);
    return;
  }
  try {
    const messages = ReadableStream.from(response.body as AsyncIterable<Uint8Array<ArrayBuffer>>)
      .pipeThrough(new TextDecoderStream())
      .pipeThrough(new EventSourceParserStream({ maxBufferSize: 4 * 1024 * 1024 }));
    for await (const message of messages) {
      const parsed = eventSchema.safeParse(parseJson(message.data));
      if (parsed.success) yield parsed.data;
    }
  } catch {
    // a broken stream: the caller goes on after the last number
  }
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
