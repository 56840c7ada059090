import type { CallContext } from "../common/context.ts";
import type {
  Assignment,
  JobSpec,
  LogStream,
  Order,
  ProgressRequest,
  Report,
  ReportResult,
  SyncAnswer,
  SyncRequest,
} from "../wire/agent-api.ts";

/** A job that the API offers and nobody holds yet; only the plain NMDC dialect has candidates, the hub assigns. */
export interface Candidate {
  readonly job: string;
  readonly spec: JobSpec;
}

export type ClaimAnswer =
  /** We hold it: the operation to report to. */
  | { readonly state: "won"; readonly opId: string; readonly epoch: number }
  /** Another live claim wins by the shared rule (smaller op_id); ours was released. */
  | { readonly state: "lost"; readonly reason: string }
  /** The API refuses this job for us (capability, gone): skip it. */
  | { readonly state: "refused"; readonly reason: string };

/** An object as DRS describes it: what its bytes are, and ways to them. */
export interface CentralObject {
  readonly id: string;
  /** `drs://host/id` as the API itself calls it. */
  readonly selfUri: string | undefined;
  readonly size: number | undefined;
  readonly checksums: readonly { readonly type: string; readonly checksum: string }[];
  /** In the order of the object. One has a URL, or an id to ask for one with. */
  readonly accessMethods: readonly {
    readonly url: string | undefined;
    readonly accessId: string | undefined;
    readonly needsHeaders: boolean;
  }[];
  /** It consists of others. */
  readonly isBundle: boolean;
}

export type SyncResult = SyncAnswer & {
  /** Open jobs to be claimed one by one; empty in the hub dialect. */
  readonly candidates: readonly Candidate[];
};

/**
 * The central API as the agent needs it, in two dialects. Refusals that the protocol knows are results; faults are thrown:
 * UNREACHABLE (no authoritative answer; nothing is known), UNAUTHENTICATED, FORBIDDEN, RATE_LIMITED (`details.retry_after_ms`), INVALID.
 * Nothing here ends a running job. No method retries except once after a 401 with a new token, and once after the reset of a reused connection.
 */
export interface Central extends AsyncDisposable {
  readonly dialect: "nmdc" | "hub";
  readonly capabilities: {
    readonly longPoll: boolean;
    readonly orders: boolean;
    readonly logs: boolean;
    readonly outputs: boolean;
    readonly exclusive: boolean;
  };
  /** One round. In the nmdc dialect: lists open jobs of the offered workflows, and finds held jobs whose claims were cancelled by others (as `fenced`). */
  synchronize(request: SyncRequest, context: CallContext): Promise<SyncResult>;
  /**
   * Claims a candidate (nmdc dialect): look for an open operation of ours first, else claim, read back, decide. Call it again
   * after any unclear end: it finds the earlier claim instead of making a second one. In the hub dialect an exclusive claim.
   */
  claim(job: string, context: CallContext): Promise<ClaimAnswer>;
  /** Reports in the given order; one result per report. nmdc: one PATCH each (GET, merge, PATCH). */
  report(reports: readonly Report[], context: CallContext): Promise<readonly ReportResult[]>;
  /** Hands a job back. nmdc: `:release`, then PATCH done. "gone" = not ours any more. */
  release(
    held: { readonly job: string; readonly opId: string; readonly epoch: number; readonly reason: string },
    context: CallContext,
  ): Promise<"released" | "gone">;
  /** Sends log bytes from `offset`; answers the offset up to which the API has them (smaller or larger than sent = resynchronise). */
  putLog(
    chunk: {
      readonly job: string;
      readonly epoch: number;
      readonly attempt: number;
      readonly stream: LogStream;
      readonly offset: number;
      readonly bytes: Uint8Array;
    },
    context: CallContext,
  ): Promise<number>;
  /** Says what of held jobs moves now, all of it; where there is no such method nobody asks. */
  putProgress?(moving: ProgressRequest, context: CallContext): Promise<void>;
  /** Uploads one small output file. TOO_LARGE when above the hub's cap: it stays on the site. */
  putOutput(
    file: {
      readonly job: string;
      readonly epoch: number;
      readonly output: string;
      readonly path: string;
      readonly localPath: string;
      readonly bytes: number;
      readonly sha256: string;
    },
    context: CallContext,
  ): Promise<void>;
  /** Headers with which a file of our own API (`/siteagent/v1/files/…`) may be read; none for any other URL. */
  downloadHeaders(url: URL, context: CallContext): Promise<Readonly<Record<string, string>>>;
  /** An object by its id without prefix; undefined: there is none. */
  object(id: string, context: CallContext): Promise<CentralObject | undefined>;
  /** A URL for one access method of an object, good for some minutes. @throws Fault NOT_FOUND */
  objectAccess(
    id: string,
    accessId: string,
    context: CallContext,
  ): Promise<{ readonly url: string; readonly needsHeaders: boolean }>;
  /** Can we talk to it with our credentials now? For doctor and status; never throws. */
  check(context: CallContext): Promise<{
    readonly ok: boolean;
    readonly detail: string;
    readonly hint?: string;
    readonly serverTimeSkewMs?: number;
  }>;
}

export type { Assignment, JobSpec, Order, Report, ReportResult };
