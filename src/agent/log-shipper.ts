import { join } from "node:path";
import { sleepUnless } from "../common/clock.ts";
import { failpoint } from "../common/failpoint.ts";
import { asFault, type Fault, isFault } from "../common/fault.ts";
import { openPlainFile } from "../common/files.ts";
import { logBackoff, waitAfterMs } from "../common/retry.ts";
import { type LogStream, logStreams } from "../wire/agent-api.ts";
import type { AgentCore } from "./core.ts";
import type { HeldAttempt, HeldJob } from "./held-job.ts";

const chunkBytes = 256 * 1024;
const chunksPerRound = 16;
/** Rounds follow each other no faster, whatever central asks for and however many attempts end. */
const shortestPauseMs = 250;
const longestPauseMs = 60_000;
/** The end of an attempt brings the next round forward to this. */
const pauseAtEndMs = 1_000;

/** Names of the captured streams in an attempt's directory. */
export const streamFiles: Record<LogStream, string> = { stdout: "out", stderr: "err" };

/**
 * Sends what attempts wrote to the hub, by byte offset, where the site allows it (`report: full`). The files are the queue: a slow
 * hub costs no memory and delays no state. Offsets live in memory only; after a restart the hub says what it has. The hub says how often
 * (more often while somebody reads); the last bytes of an attempt follow its end at once. While the hub is away the pace sinks.
 */
export async function runLogShipper(core: AgentCore): Promise<void> {
  const offsets = new Map<string, number>();
  // Ended jobs whose bytes are all there: kept ones may be many.
  const finished = new Set<string>();
  let failures = 0;
  while (!core.stopping.aborted) {
    using due = core.logWork.listen();
    let fault: Fault | undefined;
    if (ships(core)) {
      for (const job of core.jobs) {
        if (core.stopping.aborted) return;
        if (finished.has(keyOf(job))) continue;
        fault = await ship(core, job, offsets);
        if (fault !== undefined) break;
        if (job.ended_at !== undefined && isShipped(job, offsets)) finished.add(keyOf(job));
      }
      forgetOthers(core, offsets, finished);
    }
    failures = fault === undefined ? 0 : failures + 1;
    if (fault !== undefined) await core.clock.sleep(waitAfterMs(fault, logBackoff, failures), core.stopping);
    else if (!ships(core)) await core.logWork.next(core.stopping);
    else if (core.jobs.every((job) => finished.has(keyOf(job)))) await core.changed.next(core.stopping);
    else await pause(core, due.heard);
  }
}

/** Central takes log bytes, and the site gives them. Told by `logWork` when it changes. */
function ships(core: AgentCore): boolean {
  return core.central.capabilities.logs && core.parts.site.agent.report === "full";
}

/** Until the next round: central's interval, cut short when an attempt ended or central asks for more. */
async function pause(core: AgentCore, due: Promise<void>): Promise<void> {
  const intervalMs = Math.min(Math.max(core.logIntervalMs, shortestPauseMs), longestPauseMs);
  const startedAt = core.clock.monotonic();
  await sleepUnless(core.clock, intervalMs, due, core.stopping);
  const soonest = startedAt + Math.min(intervalMs, pauseAtEndMs);
  await core.clock.sleep(soonest - core.clock.monotonic(), core.stopping);
}

/** What is finished needs no offsets, and what is not known any more needs nothing. */
function forgetOthers(core: AgentCore, offsets: Map<string, number>, finished: Set<string>): void {
  const known = new Set(core.jobs.map((job) => keyOf(job)));
  for (const key of finished) if (!known.has(key)) finished.delete(key);
  for (const key of offsets.keys()) {
    const holding = key.slice(0, key.lastIndexOf("/"));
    if (finished.has(holding) || !known.has(holding)) offsets.delete(key);
  }
}

/** A job that comes back after it was handed over begins anew. */
function keyOf(job: HeldJob, part?: string): string {
  const holding = `${job.id}@${job.epoch}`;
  return part === undefined ? holding : `${holding}/${part}`;
}

function isShipped(job: HeldJob, offsets: ReadonlyMap<string, number>): boolean {
  if (job.cleaned === true) return true;
  return job.attempts.every((attempt) =>
    logStreams.every((stream) => offsets.get(keyOf(job, `${attempt.attempt} ${stream}`)) === Infinity),
  );
}

/** What the job's attempts wrote since the last round. The fault when central could not be asked: then the others need not be tried. */
async function ship(core: AgentCore, job: HeldJob, offsets: Map<string, number>): Promise<Fault | undefined> {
  if (job.fenced !== undefined || !job.bound || job.cleaned === true) return undefined;
  for (const attempt of job.attempts) {
    for (const stream of logStreams) {
      const key = keyOf(job, `${attempt.attempt} ${stream}`);
      const from = offsets.get(key) ?? 0;
      if (from === Infinity) continue;
      try {
        const sent = await send(core, job, attempt, stream, from);
        // An attempt that ended writes no more: once everything is there it is not looked at again.
        offsets.set(key, attempt.end !== undefined && sent.complete ? Infinity : sent.offset);
      } catch (error) {
        const fault = asFault(error);
        core.log.debug({ err: fault, jobId: job.id, stream }, "log bytes could not be sent");
        if (!isOfStream(fault)) return fault;
        offsets.set(key, Infinity);
        return undefined;
      }
    }
  }
  return undefined;
}

/** It will be refused for ever; a fault of the connection or the credentials says nothing about this stream. */
function isOfStream(fault: Fault): boolean {
  return fault.row.retry === "never" && !isFault(fault, "UNAUTHENTICATED", "FORBIDDEN", "CANCELLED");
}

async function send(
  core: AgentCore,
  job: HeldJob,
  attempt: HeldAttempt,
  stream: LogStream,
  from: number,
): Promise<{ offset: number; complete: boolean }> {
  let offset = from;
  const file = await openPlainFile(join(attempt.directory, streamFiles[stream]));
  if (!file) return { offset, complete: attempt.end !== undefined };
  try {
    const buffer = Buffer.alloc(chunkBytes);
    for (let chunk = 0; chunk < chunksPerRound; chunk++) {
      const { bytesRead } = await file.read(buffer, 0, chunkBytes, offset);
      if (bytesRead === 0) return { offset, complete: true };
      const bytes = buffer.subarray(0, bytesRead);
      await failpoint("log.before-send");
      offset = await core.central.putLog(
        { job: job.id, epoch: job.epoch, attempt: attempt.attempt, stream, offset, bytes },
        core.context(),
      );
      await failpoint("log.after-send");
    }
    return { offset, complete: false };
  } finally {
    await file.close();
  }
}
