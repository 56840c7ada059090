import type { JsonObject } from "../common/json.ts";
import type { Durability, Journal, JournalOpening } from "./types.ts";

/** What the writing thread is started with. */
export interface WorkerData {
  readonly directory: string;
  readonly agentId: string;
  readonly host: string;
  readonly bootId: string;
  /** Wall time of the opening, ISO 8601. */
  readonly at: string;
  readonly ballastBytes: number;
  readonly groupSyncMs: number;
  readonly lazySyncMs: number;
  readonly spaceCheckMs: number;
}

export interface QueuedRecord {
  readonly kind: string;
  readonly job?: string | undefined;
  /** JSON text. */
  readonly data: string;
}

export interface CommitMessage {
  readonly type: "commit";
  readonly id: number;
  readonly at: string;
  readonly records: readonly QueuedRecord[];
  readonly durability: Durability;
  /** Accepted also when the ballast is gone. */
  readonly essential: boolean;
}

export interface CompactMessage {
  readonly type: "compact";
  readonly id: number;
  readonly at: string;
  /** JSON text. */
  readonly state: string;
}

export interface CloseMessage {
  readonly type: "close";
  readonly id: number;
}

/** A `records` message was taken: another one may come. */
export interface TakenMessage {
  readonly type: "taken";
}

export type ToWorker = CommitMessage | CompactMessage | CloseMessage | TakenMessage;

export interface WriterStatus {
  readonly bytes: number;
  readonly records: number;
  readonly health: Exclude<Journal["health"], "stalled" | "failed">;
  readonly syncMs: Journal["syncMs"];
}

export type FromWorker =
  /** JSON of the snapshot's state; once more: what came before does not count. */
  | { readonly type: "begin"; readonly state: Uint8Array | undefined }
  /** JSON of records, a line each. */
  | { readonly type: "records"; readonly lines: Uint8Array }
  | {
      readonly type: "opened";
      readonly repair: JournalOpening["repair"];
      readonly status: WriterStatus;
    }
  | {
      readonly type: "open-failed";
      readonly code: "JOURNAL" | "JOURNAL_VERSION";
      readonly message: string;
      readonly hint: string;
      readonly details: JsonObject;
    }
  | { readonly type: "done"; readonly ids: readonly number[]; readonly status: WriterStatus }
  | {
      readonly type: "refused";
      readonly ids: readonly number[];
      readonly message: string;
      readonly reason: string;
      readonly status: WriterStatus;
    }
  | { readonly type: "failed"; readonly message: string; readonly reason: string }
  | { readonly type: "status"; readonly status: WriterStatus }
  | { readonly type: "warning"; readonly message: string; readonly data: JsonObject };
