import type { HubClient, JobView } from "../sdk/client.ts";
import type { Expected } from "./cast.ts";

/** Where the demo shows what happens; `live` rewrites one block on a terminal, `line` stays. */
export interface Stage {
  line(text: string): void;
  live(text: string): void;
  /** Leaves the last live block where it is. */
  settle(): void;
}

export async function makeStage(
  stream: NodeJS.WritableStream & { readonly isTTY?: boolean; readonly columns?: number },
): Promise<Stage> {
  if (stream.isTTY !== true) {
    return { line: (text) => void stream.write(`${text}\n`), live: () => {}, settle: () => {} };
  }
  const { createLogUpdate } = await import("log-update");
  const update = createLogUpdate(stream);
  return {
    line(text) {
      update.clear();
      stream.write(`${text}\n`);
    },
    live: (text) => update(text),
    settle: () => update.done(),
  };
}

const pollMs = 300;

/**
 * Follows the jobs until all have ended: every change is a line (from the hub's events, so none is missed), and on a terminal a
 * block below shows where each one is.
 */
export async function follow(
  hub: HubClient,
  cast: readonly Expected[],
  stage: Stage,
  signal: AbortSignal,
): Promise<void> {
  const names = new Map(cast.map((one) => [one.id, one.sample]));
  const ended = new AbortController();
  const stop = AbortSignal.any([signal, ended.signal]);
  const telling = tell(hub, names, stage, stop);
  try {
    for (;;) {
      const jobs = await Promise.all(cast.map((one) => hub.job(one.id)));
      stage.live(jobs.map((job) => blockLine(names.get(job.id) ?? job.id, job)).join("\n"));
      if (jobs.every((job) => job.ended_at !== null) || signal.aborted) return;
      await new Promise((resolve) => {
        setTimeout(resolve, pollMs);
      });
    }
  } finally {
    ended.abort();
    await telling;
    stage.settle();
  }
}

async function tell(
  hub: HubClient,
  names: ReadonlyMap<string, string>,
  stage: Stage,
  signal: AbortSignal,
): Promise<void> {
  try {
    for await (const event of hub.events({ after: 0, signal })) {
      const name = event.job === null ? undefined : names.get(event.job);
      const text = name === undefined ? undefined : eventLine(event.data);
      if (text !== undefined) stage.line(`  ${event.at.slice(11, 23)}  ${(name ?? "").padEnd(9)} ${text}`);
    }
  } catch (error) {
    if (!signal.aborted) throw error;
  }
}

function eventLine(data: Readonly<Record<string, unknown>>): string | undefined {
  const { state, phase, attempt, message, end, done } = data as {
    state?: string;
    phase?: string;
    attempt?: number;
    message?: string;
    end?: { cause?: string; exit_code?: number };
    done?: boolean;
  };
  if (state === undefined) return undefined;
  const parts = [state.padEnd(14), (phase === undefined || phase === "none" ? "" : phase).padEnd(11)];
  if (attempt !== undefined && attempt > 0) parts.push(`attempt ${attempt}`);
  if (end?.cause !== undefined && done !== true)
    parts.push(`(${end.cause}${end.exit_code === undefined ? "" : ` ${end.exit_code}`})`);
  if (message !== undefined) parts.push(message);
  return parts.join(" ").trimEnd();
}

function blockLine(name: string, job: JobView): string {
  const attempt = job.attempt > 0 ? `attempt ${job.attempt}` : "";
  return `  ${job.ended_at === null ? ">" : "="} ${name.padEnd(9)} ${job.status.padEnd(18)} ${attempt}`;
}
