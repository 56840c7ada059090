import type { JsonObject } from "../common/json.ts";
import type { JournalRecord } from "../journal/types.ts";
import type { Order, Report } from "../wire/agent-api.ts";
import type { AgentMode, HistoryEntry } from "../wire/control-api.ts";
import type { JobSpec } from "../wire/agent-api.ts";
import type { ManifestEntry } from "../transfer/types.ts";
import type { HeldJob } from "./held-job.ts";
import type { ManifestPage } from "./manifest-file.ts";

/** Where the agent's own switch stands; survives restarts. */
export interface ModeChange {
  readonly mode: Extract<AgentMode, "running" | "paused" | "draining">;
  readonly reason: string;
  readonly by: string;
  /** ISO 8601; a pause ends by itself then. */
  readonly until?: string | undefined;
  readonly at: string;
}

/** Every kind of record in the agent's journal with its data. Kinds are only ever added. */
export interface RecordKinds {
  /** A process began to use this journal. */
  "agent.start": {
    readonly instance_id: string;
    readonly version: string;
    readonly boot_id: string;
    readonly pid: number;
    readonly host: string;
  };
  /** It stopped in order: no job's fault. */
  "agent.stop": { readonly reason: string };
  "agent.mode": ModeChange;
  "agent.session": { readonly epoch: number };
  /** Before a claim is sent (plain dialect): after a crash the API is asked whether it arrived. */
  "claim.intent": { readonly spec: JobSpec };
  /** The claim came to nothing. */
  "claim.void": { readonly reason: string };
  /** We hold the job. Also used to write a job anew in salvage. */
  "job.held": { readonly job: HeldJob };
  /** Fields of the job that changed; `undefined` cannot be stored, null removes an optional field. */
  "job.change": {
    readonly patch: Partial<Record<keyof HeldJob, unknown>>;
    /** What is added to the job's history: writing it whole each time would cost the square of its length. */
    readonly history?: readonly HistoryEntry[];
  };
  /** A file is complete and verified. */
  "job.file": { readonly direction: "in" | "out"; readonly entry: ManifestEntry };
  /** The job is over, reported, and its directories are gone (or were never made). */
  "job.forgotten": { readonly reason: string };
  /** `page`: its outputs, in the job's manifest file. */
  "out.put": { readonly report: Report; readonly page?: ManifestPage | undefined };
  /** The API has it, or never will (`parked`: kept visible for a person), or does not know the job (`unknown`: offered again later). */
  "out.ack": { readonly epoch: number; readonly seq: number; readonly outcome: string };
  "order.received": { readonly order: Order };
  "order.answered": { readonly id: string; readonly result: "accepted" | "done" | "not-held" | "unsupported" };
  /** The API knows the result; forget the order. */
  "order.closed": { readonly id: string };
}

export type RecordKind = keyof RecordKinds;

export type AgentRecord = {
  readonly [K in RecordKind]: { readonly kind: K; readonly job?: string; readonly data: RecordKinds[K] };
}[RecordKind];

/** A typed record; `job` is needed by all kinds that begin with `claim.`, `job.` and `out.`. */
export function record<K extends RecordKind>(kind: K, data: RecordKinds[K], job?: string): AgentRecord {
  return (job === undefined ? { kind, data } : { kind, job, data }) as AgentRecord;
}

/** For the file: the data of all kinds is plain JSON by construction. */
export function toJournal(entry: AgentRecord): JournalRecord {
  const text = JSON.stringify(entry.data);
  const { kind, job } = entry;
  const data = JSON.parse(text) as JsonObject;
  return job === undefined ? { kind, data, text } : { kind, job, data, text };
}
