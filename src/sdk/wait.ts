import { systemClock } from "../common/clock.ts";
import { Fault, isFault } from "../common/fault.ts";
import { formatDuration } from "../common/units.ts";
import { isFinalStatus } from "../jobs/status.ts";
import { type JobView, jobViewSchema } from "../wire/user-api.ts";
import { events, lastSeq } from "./events.ts";
import { type HubHttp, part } from "./http.ts";
import { api } from "./paths.ts";

export interface WaitOptions {
  readonly signal?: AbortSignal | undefined;
  /** Milliseconds; without it there is no limit. */
  readonly timeoutMs?: number | undefined;
  /** Called for each job seen, at first, at each change of state, and about every two seconds while its files move. */
  readonly onChange?: ((job: JobView) => void) | undefined;
}

const parallel = 8;
const liveMs = 2_000;
/** Jobs whose files move that are looked at again. */
const mostLive = 10;

/** Waits for the end of all these jobs: events tell when to look, the jobs themselves tell the truth. */
export async function waitForJobs(
  http: HubHttp,
  ids: readonly string[],
  options: WaitOptions,
): Promise<readonly JobView[]> {
  const over = new AbortController();
  const signals = [over.signal, ...(options.signal ? [options.signal] : [])];
  const signal = AbortSignal.any(signals);
  const timer = options.timeoutMs === undefined ? undefined : setTimeout(() => over.abort(), options.timeoutMs);
  const found = new Map<string, JobView>();
  const open = new Set(ids);
  const ended = new AbortController();
  let living: Promise<void> | undefined;
  try {
    const after = await lastSeq(http, signal);
    await look(http, [...open], found, open, options, signal);
    if (options.onChange) {
      // What is wrong is told by the events.
      living = follow(http, found, open, options, AbortSignal.any([signal, ended.signal])).catch(() => undefined);
    }
    if (open.size > 0) {
      for await (const event of events(http, { after, signal })) {
        if (event.job === null || !open.has(event.job)) continue;
        await look(http, [event.job], found, open, options, signal);
        if (open.size === 0) break;
      }
    }
  } catch (error) {
    if (!signal.aborted) throw error;
  } finally {
    clearTimeout(timer);
    ended.abort();
    await living;
  }
  if (open.size > 0) throw unfinished(open, options);
  return ids.map((id) => found.get(id)).filter((job) => job !== undefined);
}

/** Bytes move without events. */
async function follow(
  http: HubHttp,
  found: Map<string, JobView>,
  open: Set<string>,
  options: WaitOptions,
  signal: AbortSignal,
): Promise<void> {
  while (open.size > 0 && !signal.aborted) {
    await systemClock.sleep(liveMs, signal);
    const moving = [...open].filter((id) => ["staging", "archiving"].includes(found.get(id)?.phase ?? ""));
    await look(http, moving.slice(0, mostLive), found, open, options, signal);
  }
}

async function look(
  http: HubHttp,
  ids: readonly string[],
  found: Map<string, JobView>,
  open: Set<string>,
  options: WaitOptions,
  signal: AbortSignal,
): Promise<void> {
  const queue = [...ids];
  const worker = async (): Promise<void> => {
    for (let id = queue.shift(); id !== undefined; id = queue.shift()) {
      const job = await read(http, id, signal);
      if (!job) return;
      const changed = found.get(id)?.updated_at !== job.updated_at || job.progress !== null;
      found.set(id, job);
      if (changed) options.onChange?.(job);
      if (isFinalStatus(job.status)) open.delete(id);
    }
  };
  await Promise.all(Array.from({ length: Math.min(parallel, queue.length) }, worker));
}

/** Undefined when the caller gave up meanwhile. */
async function read(http: HubHttp, id: string, signal: AbortSignal): Promise<JobView | undefined> {
  for (;;) {
    try {
      return await http.json(`${api}/jobs/${part(id)}`, jobViewSchema, { signal });
    } catch (error) {
      if (signal.aborted) return undefined;
      if (!isFault(error, "UNREACHABLE", "STORE", "RATE_LIMITED")) throw error;
      await pause(signal);
    }
  }
}

async function pause(signal: AbortSignal): Promise<void> {
  await systemClock.sleep(1_000, signal);
}

function unfinished(open: ReadonlySet<string>, options: WaitOptions): Fault {
  const details = { open: [...open].slice(0, 100) };
  if (options.signal?.aborted) return new Fault("CANCELLED", "waiting was given up", { details });
  return new Fault(
    "TIMEOUT",
    `${open.size === 1 ? "1 job" : `${open.size} jobs`} did not end within ${formatDuration(options.timeoutMs ?? 0)}`,
    { details },
  );
}
