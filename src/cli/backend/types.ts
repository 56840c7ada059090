import type { TransferProgress } from "../../wire/common.ts";
import type { ActionResult, OutputFile } from "../../sdk/client.ts";
import type { Hold, JobState, Phase, Failure, AttemptEnd } from "../../jobs/states.ts";
import type { Status } from "../../jobs/status.ts";

/** A job as lists and stories show it, whoever told of it. */
export interface JobRow {
  readonly id: string;
  readonly name: string;
  readonly workflow: string;
  readonly status: Status;
  readonly state: JobState;
  readonly phase: Phase;
  readonly hold: Hold | null;
  /** The site at a hub; the target at an agent. */
  readonly place: string;
  readonly owner: string;
  readonly tags: Readonly<Record<string, string>>;
  readonly attempt: number;
  readonly failure: Failure | null;
  readonly end: AttemptEnd | null;
  /** Made (hub) or claimed (agent). */
  readonly createdAt: string;
  readonly updatedAt: string;
  readonly claimedAt: string | null;
  readonly endedAt: string | null;
  /** Why it waits, in words, when the teller knows. */
  readonly waiting: string | null;
  readonly lostContact: boolean;
  /** What moves now, when the teller knows. */
  readonly progress: TransferProgress | null;
  readonly parents: readonly string[];
  readonly retryOf: string | null;
  /** As it came, for machine output: the field names are those of the API. */
  readonly raw: object;
}

export interface Milestone {
  readonly at: string;
  readonly what: string;
  readonly attempt: number;
  readonly status: string;
  readonly message: string;
}

export interface StoryFile {
  readonly item: string;
  readonly path: string;
  readonly bytes: number;
  readonly sha256: string;
  readonly where: string;
}

/** All that is known of one job. */
export interface JobStory {
  readonly row: JobRow;
  readonly timeline: readonly Milestone[];
  readonly attempts: readonly {
    readonly attempt: number;
    readonly directory: string;
    readonly end: AttemptEnd | null;
  }[];
  readonly inputs: readonly StoryFile[];
  readonly outputs: readonly StoryFile[];
  /** What was asked for: config and parameters. */
  readonly asked: Readonly<Record<string, object>>;
  /** For machine output. */
  readonly raw: object;
}

export interface JobFilter {
  readonly status: readonly string[];
  readonly active: boolean;
  readonly workflow: string | undefined;
  readonly site: string | undefined;
  readonly owner: string | undefined;
  readonly tags: readonly string[];
  readonly search: string | undefined;
  readonly since: string | undefined;
  readonly before: string | undefined;
  readonly sort: JobSort;
  readonly limit: number;
}
export const jobSorts = ["created_at", "-created_at", "updated_at", "-updated_at", "name", "-name"] as const;
export type JobSort = (typeof jobSorts)[number];

export interface LogRequest {
  readonly stream: "stdout" | "stderr";
  readonly attempt: number | undefined;
  /** Number of a claim of the job; only hubs tell claims apart. */
  readonly claim?: number | undefined;
  /** First attempt shown when `attempt` is not given; unlike that, following goes on into later ones. Absent: the last one. */
  readonly start?: number | undefined;
  readonly offset: number;
  /** ISO 8601; wins over `offset`: what came since then (hub, to the minute), or nothing of an attempt that ended before (agent). */
  readonly since?: string | undefined;
  readonly follow: boolean;
}
export interface LogChunk {
  readonly attempt: number;
  /** Of the first byte of `bytes` in the attempt's log. */
  readonly offset: number;
  readonly bytes: Uint8Array;
  /** Claims of the job that have a log, and the present one, earliest first; and whose this is. */
  readonly claims?: readonly number[];
  readonly claim?: number | undefined;
}

export interface WaitRequest {
  readonly timeoutMs: number | undefined;
  readonly onChange?: (row: JobRow) => void;
}

export interface JobList {
  readonly rows: readonly JobRow[];
  /** How many match. */
  readonly total: number;
  /** More than `total` match: a hub does not count on for ever. */
  readonly capped: boolean;
}

/** Where job commands get their answers: a hub, or the agent on this machine. */
export interface JobBackend extends AsyncDisposable {
  readonly kind: "hub" | "local";
  /** For messages: URL or socket. */
  readonly address: string;
  /** Who I am here, and whether "all jobs" means only mine. */
  me(): Promise<{ readonly name: string; readonly onlyMine: boolean }>;
  list(filter: JobFilter): Promise<JobList>;
  /** @throws Fault NOT_FOUND */
  job(id: string): Promise<JobRow>;
  story(id: string): Promise<JobStory>;
  /** Until all have ended. @throws Fault TIMEOUT */
  wait(ids: readonly string[], request: WaitRequest): Promise<readonly JobRow[]>;
  logs(id: string, request: LogRequest): AsyncIterable<LogChunk>;
  outputs(id: string): Promise<readonly OutputFile[]>;
  readOutput(id: string, file: OutputFile): Promise<Uint8Array>;
  saveOutput(id: string, file: OutputFile, destination: string): Promise<void>;
  /** `force`: at the hub, whatever the site says. */
  cancel(ids: readonly string[], reason: string, force?: boolean): Promise<readonly ActionResult[]>;
  retry(ids: readonly string[], reason: string): Promise<readonly ActionResult[]>;
  /** What `explain` knows besides the job itself. */
  surroundings(row: JobRow): Promise<Surroundings>;
}

export interface Surroundings {
  readonly parents: readonly { readonly id: string; readonly status: string }[];
  /** Sites that serve the job's workflow; undefined when nobody can tell. */
  readonly sites: readonly ServingSite[] | undefined;
  /** What the other sites serve. */
  readonly otherWorkflows: readonly string[];
}

/** A site that serves the job's workflow, by what it said at its last call. */
export interface ServingSite {
  readonly id: string;
  readonly state: string;
  readonly lostContact: boolean;
  readonly held: number;
  /** ISO 8601; null = it has never called. */
  readonly lastSync: string | null;
  /** Why it takes no new jobs although it runs. */
  readonly notAccepting: string | undefined;
  /** Jobs of this workflow that it could start. */
  readonly free: number;
  /** Attempts of this workflow at the same time, at most; undefined = it did not say. */
  readonly slots: number | undefined;
}
