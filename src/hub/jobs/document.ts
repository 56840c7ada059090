/** The NMDC job document as it is stored: only the fields that are set, own times as `{"$date": ms}`. */
import type { JsonObject } from "../../common/json.ts";

/** A time inside a stored document. Filters know it as a date, readers see ISO text. */
export interface StoredDate {
  readonly $date: number;
}

export interface JobClaim {
  readonly op_id: string;
  readonly site_id: string;
  readonly done?: boolean | null;
  readonly cancelled?: boolean | null;
}

export interface EmbeddedWorkflow {
  readonly id: string;
  readonly name?: string | null;
  readonly description?: string | null;
  readonly capability_ids?: readonly string[] | null;
  readonly created_at?: StoredDate | null;
}

export interface JobDocument {
  readonly workflow: EmbeddedWorkflow;
  readonly name?: string | null;
  readonly description?: string | null;
  readonly id: string;
  /** Text on jobs that a trigger made, until the first claim. */
  readonly created_at: StoredDate | string;
  readonly config: JsonObject;
  readonly claims?: readonly JobClaim[];
}

export function parseJob(row: { readonly doc: string }): JobDocument {
  return JSON.parse(row.doc) as JobDocument;
}

/** What `metadata.siteagent` of an operation says, as far as the hub uses it. */
export interface AgentReport {
  readonly state?: string;
  readonly status?: string;
  readonly attempt?: number;
  readonly seq?: number;
  readonly at?: string;
}

/** An operation as it is stored; `metadata` has `model`, `job`, `site_id` and whatever the site wrote. */
export interface OperationDocument {
  readonly id: string;
  readonly done: boolean;
  readonly expire_time: StoredDate;
  readonly result: unknown;
  readonly metadata: JsonObject;
}

export function parseOperation(row: { readonly doc: string }): OperationDocument {
  return JSON.parse(row.doc) as OperationDocument;
}
