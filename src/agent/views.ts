import { isoTime } from "../common/clock.ts";
import { nextStep } from "../jobs/decide.ts";
import { statusOf } from "../jobs/status.ts";
import type { AgentMode, LocalJob, LocalJobDetail } from "../wire/control-api.ts";
import { limitsOf } from "../wire/apps.ts";
import type { Progress } from "../transfer/types.ts";
import type { AgentCore } from "./core.ts";
import { currentAttempt, type HeldJob } from "./held-job.ts";

type TransferProgress = Progress & { readonly stage: "inputs" | "outputs" };

export function localJob(core: AgentCore, job: HeldJob): LocalJob {
  const progress = core.progress.get(job.id);
  return {
    id: job.id,
    workflow: job.spec.workflow,
    app: job.app.name,
    target: job.target,
    name: job.spec.name ?? null,
    status: statusOf(job.state, job.phase, job.hold),
    state: job.state,
    phase: job.phase,
    hold: job.hold ?? null,
    attempt: job.attempt,
    op_id: job.op_id,
    epoch: job.epoch,
    claimed_at: job.claimed_at,
    updated_at: job.updated_at,
    ended_at: job.ended_at ?? null,
    failure: job.verdict?.state === "FAILED" ? job.verdict.failure : null,
    end: job.end ?? null,
    waiting: waitingReason(core, job),
    unsent: core.ledger.book.outbox.get(job.id)?.length ?? 0,
    fenced: job.fenced ?? null,
    directory: job.directory,
    progress: progress === undefined ? null : progressView(progress),
  };
}

/** Figures of files on their way, as the wire has them. */
export function progressView(progress: TransferProgress): NonNullable<LocalJob["progress"]> {
  const { stage, item, path, bytes, totalBytes, files, totalFiles, bytesPerSecond, etaMs } = progress;
  return {
    stage,
    item,
    path,
    bytes: Math.max(0, bytes),
    total_bytes: totalBytes ?? null,
    files,
    total_files: totalFiles ?? null,
    bytes_per_second: bytesPerSecond === undefined ? null : Math.round(bytesPerSecond),
    eta_seconds: etaMs === undefined ? null : Math.ceil(etaMs / 1000),
  };
}

export function localJobDetail(core: AgentCore, job: HeldJob): LocalJobDetail {
  return {
    ...localJob(core, job),
    history: [...job.history],
    attempts: job.attempts.map(({ attempt, token, directory, end }) => ({
      attempt,
      token,
      directory,
      end: end ?? null,
    })),
    inputs: job.manifest_in.map(({ item, path, bytes, sha256 }) => ({ item, path, bytes, sha256 })),
    outputs: job.manifest_out.map(({ item, path, url, bytes, sha256 }) => ({ item, path, url, bytes, sha256 })),
    files: {
      inputs: job.files?.in ?? job.manifest_in.length,
      outputs: job.files?.out ?? job.manifest_out.length,
    },
    parameters: { ...job.parameters },
    limits: limitsOf(job.app),
  };
}

/** Why the job does not move, in words; null when it moves or is over. */
export function waitingReason(core: AgentCore, job: HeldJob): string | null {
  if (job.ended_at !== undefined) {
    const unsent = core.ledger.book.outbox.get(job.id)?.length ?? 0;
    return unsent === 0 ? null : `ended here; ${unsent} reports wait for central`;
  }
  if (job.fenced !== undefined) return `taken from this site: ${job.fenced}`;
  if (job.releasing !== undefined) return `being handed back: ${job.releasing}`;
  const unkillable = core.unkillable.get(job.id);
  if (unkillable !== undefined) return `processes of it cannot be killed: ${unkillable}`;
  if (job.hold?.kind === "cancelling")
    return `being cancelled: ${job.hold.reason}; waits for proof that nothing is left`;
  if (job.hold?.kind === "paused") return `paused by ${job.hold.by ?? "an order"}: ${job.hold.reason}`;
  if (job.hold?.kind === "blocked" && job.hold.tries === undefined)
    return `blocked: ${job.hold.reason}; goes on when it answers`;
  if (job.hold?.kind === "blocked")
    return `blocked (try ${job.hold.tries ?? 1}): ${job.hold.reason}; next try ${job.hold.next_try_at ?? "soon"}`;
  if (job.phase === "suspended") return suspendedReason(core.launcher(job.target)?.kind);
  if (!job.bound) return "waits until central acknowledges that the job is ours";
  if (nextStep(job) === "follow") return followedReason(core, job);
  if (nextStep(job) !== "launch") return null;
  if (job.not_before !== undefined && Date.parse(job.not_before) > core.clock.now())
    return `waits for its next attempt until ${job.not_before}`;
  return core.gate.reason(job) ?? null;
}

/** Of an attempt that its launcher or scheduler has: why it waits there, or why nobody knows. */
function followedReason(core: AgentCore, job: HeldJob): string | null {
  const launcher = core.launcher(job.target);
  const token = currentAttempt(job)?.token;
  const status = launcher && token && core.follower(launcher).latest(token);
  if (!status) return null;
  if (status.state === "unknown" && status.raw !== undefined) return `its state is not known: ${status.raw}`;
  return status.state === "queued" && status.reason ? `waits in the queue: ${status.reason}` : null;
}

function suspendedReason(launcher: string | undefined): string {
  if (launcher !== "local") return "suspended by its scheduler";
  return "stopped by a signal (SIGSTOP); its time limit runs on; `kill -CONT` lets it go on";
}

/** What happens next, in words, for `siteagent status`. */
export function nextActions(core: AgentCore, mode: AgentMode, nextSyncAt: string | undefined): string[] {
  const actions: string[] = [];
  const open = core.jobs.filter((job) => job.ended_at === undefined);
  const running = open.filter((job) => job.state === "RUNNING").length;
  if (running > 0) actions.push(`follow ${running} running ${running === 1 ? "attempt" : "attempts"}`);
  const waiting = open.filter((job) => waitingReason(core, job) !== null).length;
  if (waiting > 0)
    actions.push(`${waiting} ${waiting === 1 ? "job waits" : "jobs wait"} (see siteagent explain ID --local)`);
  const unsent = [...core.ledger.book.outbox.values()].reduce((sum, entries) => sum + entries.length, 0);
  if (unsent > 0) actions.push(`send ${unsent} reports`);
  if (nextSyncAt !== undefined) actions.push(contactAction(mode, core.central.capabilities.longPoll, nextSyncAt));
  return actions;
}

/** The agent calls in every mode, for orders and to be seen; only a running one does it for work. */
function contactAction(mode: AgentMode, longPoll: boolean, nextSyncAt: string): string {
  if (mode === "running") return longPoll ? "listen for work (long poll)" : `ask for work at ${nextSyncAt}`;
  return longPoll
    ? `listen for orders (long poll); no new work: ${mode}`
    : `report at ${nextSyncAt}; no new work: ${mode}`;
}

export function oldestUnsent(core: AgentCore): string | null {
  const times = [...core.ledger.book.outbox.values()].flatMap((entries) =>
    entries.slice(0, 1).map((entry) => entry.report.at),
  );
  return times.toSorted()[0] ?? null;
}

export function nowText(core: AgentCore): string {
  return isoTime(core.clock.now());
}
