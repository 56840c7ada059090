import type { Handle } from "../common/adapter.ts";
import type { JsonObject } from "../common/json.ts";
import type { Token } from "../common/token.ts";
import type { App, ParameterValues } from "../jobs/app.ts";
import type { JobCore } from "../jobs/decide.ts";
import type { JobRules } from "../jobs/rules.ts";
import type { AttemptEnd } from "../jobs/states.ts";
import type { AttemptPlan } from "../launchers/types.ts";
import type { ManifestEntry } from "../transfer/types.ts";
import type { JobSpec } from "../wire/agent-api.ts";
import type { HistoryEntry } from "../wire/control-api.ts";

/** One attempt as the journal keeps it. */
export interface HeldAttempt {
  readonly attempt: number;
  readonly token: Token;
  /** Absolute. */
  readonly directory: string;
  /** Durable before the launcher is asked; a restarted agent launches the same plan, never a new one. */
  readonly plan: AttemptPlan;
  readonly handle?: Handle | undefined;
  readonly end?: AttemptEnd | undefined;
}

/**
 * A job that this site holds, as the journal keeps it. Plain JSON: it is the value of journal records and snapshots, so fields
 * are only ever added. The app is kept as it was when the job was claimed: a reload changes no running job.
 */
export interface HeldJob extends JobCore {
  readonly id: string;
  readonly op_id: string;
  readonly epoch: number;
  /** Names the job's directory. */
  readonly token: Token;
  readonly spec: JobSpec;
  readonly app: App;
  readonly app_digest: string;
  readonly target: string;
  /** Absolute: `<workdir>/<token>`. */
  readonly directory: string;
  readonly parameters: ParameterValues;
  readonly attempts: readonly HeldAttempt[];
  readonly manifest_in: readonly ManifestEntry[];
  readonly manifest_out: readonly ManifestEntry[];
  /** How many files a manifest had that was cut short after its use. */
  readonly files?: { readonly in?: number; readonly out?: number } | undefined;
  /** Number of the last report made; reports count from 1 without gaps. */
  readonly seq: number;
  /** True once central acknowledged a report of this epoch: only then may anything be started. */
  readonly bound: boolean;
  /** Failed tries of the current step. */
  readonly step_tries: number;
  /**
   * The risky step that is under way, and how often the process died in it without progress; durable before the step begins.
   * Twice: the job is quarantined (quarantine.ts) so that it cannot take the others down with it. `waiting`: the present process has not
   * begun the step yet; if it dies before, that was none of this job's.
   */
  readonly entered?: { readonly step: string; readonly deaths: number; readonly waiting?: true } | undefined;
  /** Set when the job is held back because of deaths in this step, until a person resumes or cancels it. */
  readonly quarantined?: string | undefined;
  /** ISO 8601; no next attempt before it. */
  readonly not_before?: string | undefined;
  /** Set when central says the job is no longer ours: nothing is written or signalled any more. */
  readonly fenced?: string | undefined;
  /** The job goes back to central; set before the call. */
  readonly releasing?: string | undefined;
  /** What hooks returned. */
  readonly data: JsonObject;
  readonly claimed_at: string;
  readonly updated_at: string;
  readonly ended_at?: string | undefined;
  /** Directories are gone; only the line in `status` is left until `keep` is over. */
  readonly cleaned?: boolean | undefined;
  /** Touched by a damaged journal; shown, and never claimed anew by guess. */
  readonly recovered?: boolean | undefined;
  /** The latest 200 changes. */
  readonly history: readonly HistoryEntry[];
}

export function rulesOf(app: App): JobRules {
  return {
    success: app.success,
    retry: { attempts: app.retry.attempts, on: app.retry.on, delay_ms: app.retry.delay },
    archive: app.archive,
    hooks: Object.keys(app.hooks) as JobRules["hooks"],
  };
}

/** The latest attempt, if any was planned. */
export function currentAttempt(job: HeldJob): HeldAttempt | undefined {
  return job.attempts.at(-1);
}

/** True from the moment an attempt is handed to the launcher until its end is proven. */
export function hasLiveAttempt(job: HeldJob): boolean {
  const attempt = currentAttempt(job);
  return attempt !== undefined && attempt.attempt === job.attempt && attempt.end === undefined;
}

/** Entries of a manifest that stay when the files themselves need no further look: for people, and in the journal. */
const keptEntries = 1_000;

/**
 * What becomes of a manifest that has served: a job of many files would keep them all in memory until it is forgotten. `known`: how many
 * files there are, those that are not in the journal included.
 */
export function shortened(
  job: HeldJob,
  direction: "in" | "out",
  known: number,
): Partial<Pick<HeldJob, "manifest_in" | "manifest_out" | "files">> {
  const manifest = direction === "in" ? job.manifest_in : job.manifest_out;
  const count = Math.max(manifest.length, known);
  if (count <= keptEntries && count === manifest.length) return {};
  const files = { ...job.files, [direction]: count };
  const kept = manifest.slice(0, keptEntries);
  return direction === "in" ? { manifest_in: kept, files } : { manifest_out: kept, files };
}
