import { join } from "node:path";
import { failpoint } from "../common/failpoint.ts";
import { asFault } from "../common/fault.ts";
import { openPlainFile } from "../common/files.ts";
import { type LogStream, logStreams } from "../wire/agent-api.ts";
import type { AgentCore } from "./core.ts";
import type { HeldAttempt, HeldJob } from "./held-job.ts";

const chunkBytes = 256 * 1024;
const periodMs = 1_000;
const chunksPerRound = 16;

/** Names of the captured streams in an attempt's directory. */
export const streamFiles: Record<LogStream, string> = { stdout: "out", stderr: "err" };

/**
 * Sends what attempts wrote to the hub, by byte offset, where the site allows it (`report: full`). The files are the queue: a slow
 * hub costs no memory and delays no state. Offsets live in memory only; after a restart the hub says what it has.
 */
export async function runLogShipper(core: AgentCore): Promise<void> {
  const offsets = new Map<string, number>();
  // Ended jobs whose bytes are all there: kept ones may be many.
  const finished = new Set<string>();
  while (!core.stopping.aborted) {
    if (core.central.capabilities.logs && core.parts.site.agent.report === "full") {
      for (const job of core.jobs) {
        if (core.stopping.aborted) return;
        if (finished.has(keyOf(job))) continue;
        await ship(core, job, offsets);
        if (job.ended_at !== undefined && isShipped(job, offsets)) finished.add(keyOf(job));
      }
    }
    const known = new Set(core.jobs.map((job) => keyOf(job)));
    for (const key of finished) if (!known.has(key)) finished.delete(key);
    for (const key of offsets.keys()) {
      const holding = key.slice(0, key.lastIndexOf("/"));
      if (finished.has(holding) || !known.has(holding)) offsets.delete(key);
    }
    await core.clock.sleep(periodMs, core.stopping);
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

async function ship(core: AgentCore, job: HeldJob, offsets: Map<string, number>): Promise<void> {
  if (job.fenced !== undefined || !job.bound || job.cleaned === true) return;
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
        if (fault.row.retry === "never") offsets.set(key, Infinity);
        return;
      }
    }
  }
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
