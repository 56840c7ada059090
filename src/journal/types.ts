import type { JsonObject } from "../common/json.ts";

/**
 * How soon a record must be durable. `effect`: synced before the call returns, then the side effect may begin. `report`: synced
 * before the call returns, then the outbox may send. `group`: synced with the next one or within 1 s. `lazy`: within 10 s.
 * The promise of `commit` resolves for effect and report after the sync, for group and lazy when queued.
 */
export type Durability = "effect" | "report" | "group" | "lazy";

/** What callers hand in; `kind` and `data` are the agent's own (src/agent/records.ts). */
export interface JournalRecord {
  readonly kind: string;
  /** Id of the job it belongs to. */
  readonly job?: string | undefined;
  readonly data: JsonObject;
  /** JSON of `data`, where that is known already. */
  readonly text?: string | undefined;
}

/** What lies in the file: one line `crc32 space json newline`, `seq` without gaps. */
export interface StoredRecord extends Omit<JournalRecord, "text"> {
  readonly v: 1;
  readonly seq: number;
  /** Wall time, ISO 8601. */
  readonly at: string;
}

/** Takes what the journal holds while it is being opened: memory never holds it all. */
export interface JournalReader {
  /** Before all records, with the newest snapshot's state, if there is one. Once more: what came before does not count. */
  begin(snapshot: JsonObject | undefined): void;
  /** Records after the snapshot, in order. */
  record(record: StoredRecord): void;
}

export interface JournalOpening {
  /** What was wrong: nothing, a torn tail that was cut (kept aside), or damage in the middle (salvage: mark touched jobs `recovered`). */
  readonly repair: {
    readonly kind: "none" | "torn-tail" | "salvage";
    readonly message?: string;
    readonly keptAside?: string;
  };
}

export interface Journal extends AsyncDisposable {
  /**
   * Appends the records as one group: all or none survive a crash. In order of the calls.
   * @throws Fault JOURNAL when the disk refuses; after a failed sync every later call throws too (the file is dead; restart re-reads).
   */
  commit(records: readonly JournalRecord[], durability: Durability): Promise<void>;
  /** Replaces everything so far by `state`, the JSON of an object: temp, sync, rename, directory sync; one older generation is kept. */
  compact(state: string): Promise<void>;
  /** Bytes and records since the last snapshot; compact above 16 MB or 100,000 records. */
  readonly size: { readonly bytes: number; readonly records: number };
  /**
   * "no-space" and "no-quota": the ballast was given up, only ends and acks are taken. "stalled": the disk has not answered for 10 s;
   * what was asked of it still waits, and nothing is lost. "failed": the file is dead.
   */
  readonly health: "ok" | "no-space" | "no-quota" | "stalled" | "failed";
  /** Aborts with the Fault JOURNAL as its reason when the file is dead, whether or not a call waits for it: end the process. */
  readonly failed: AbortSignal;
  /** Milliseconds of the latest and slowest sync. */
  readonly syncMs: { readonly last: number; readonly max: number };
}
