/**
 * Every way in which siteagent refuses or fails, in one table: retry behaviour, HTTP status, exit code and meaning.
 * `docs/faults.md`, API answers and exit codes derive from it. Codes are never reused with another meaning.
 */

/** "soon": the same call may succeed in seconds; "later": when something outside changes; "never": not without a change of the request. */
export type RetryAdvice = "soon" | "later" | "never";

export interface FaultRow {
  readonly retry: RetryAdvice;
  /** HTTP status with which the hub answers. */
  readonly http: number;
  /** Exit code of the CLI (sysexits where one fits, see docs/faults.md). */
  readonly exit: number;
  readonly meaning: string;
}

export const faults = {
  USAGE: { retry: "never", http: 400, exit: 64, meaning: "a command line or request that cannot be understood" },
  INVALID: {
    retry: "never",
    http: 422,
    exit: 65,
    meaning: "data that does not fit its schema; all problems are listed",
  },
  BAD_FILTER: {
    retry: "never",
    http: 422,
    exit: 64,
    meaning: "a filter, projection or search text that cannot be used",
  },
  NOT_FOUND: { retry: "never", http: 404, exit: 66, meaning: "no such job, operation, object, file or other thing" },
  UNAUTHENTICATED: { retry: "never", http: 401, exit: 77, meaning: "no token, or one that is not valid" },
  FORBIDDEN: { retry: "never", http: 403, exit: 77, meaning: "a valid token without the right to do this" },
  CONFLICT: { retry: "never", http: 409, exit: 65, meaning: "the thing exists already or changed meanwhile" },
  CLAIM_LOST: { retry: "never", http: 409, exit: 65, meaning: "another site holds the job" },
  CLAIM_EXCLUSIVE: {
    retry: "never",
    http: 403,
    exit: 77,
    meaning: "jobs of this workflow are claimed through /siteagent/v1/ only",
  },
  STALE_EPOCH: {
    retry: "never",
    http: 409,
    exit: 65,
    meaning: "the job was handed to another holder since; the writer is fenced",
  },
  IDEMPOTENCY_MISMATCH: {
    retry: "never",
    http: 422,
    exit: 65,
    meaning: "the idempotency key was used with another request",
  },
  BAD_PAGE_TOKEN: { retry: "never", http: 400, exit: 64, meaning: "a page token that is unknown or was used before" },
  BAD_OFFSET: {
    retry: "soon",
    http: 416,
    exit: 65,
    meaning: "a log chunk that does not start where the stored log ends",
  },
  TOO_LARGE: { retry: "never", http: 413, exit: 65, meaning: "a body or file above the limit" },
  RATE_LIMITED: { retry: "later", http: 429, exit: 75, meaning: "more requests than the limit allows" },
  ILLEGAL_TRANSITION: {
    retry: "never",
    http: 409,
    exit: 70,
    meaning: "a state change that the table in src/jobs does not have",
  },
  UNREACHABLE: {
    retry: "soon",
    http: 503,
    exit: 69,
    meaning: "a server that does not answer, or answers something that is no answer",
  },
  STORE: { retry: "soon", http: 503, exit: 74, meaning: "the hub's database cannot be read or written" },
  CONFIG: {
    retry: "never",
    http: 500,
    exit: 78,
    meaning: "a configuration file that cannot be used; nothing was changed",
  },
  SECRET: {
    retry: "never",
    http: 500,
    exit: 78,
    meaning: "a secret file that is missing, empty or readable by others",
  },
  JOURNAL: { retry: "later", http: 500, exit: 74, meaning: "the journal cannot be written durably; side effects stop" },
  JOURNAL_VERSION: { retry: "never", http: 500, exit: 78, meaning: "a journal written by a newer siteagent" },
  ALREADY_RUNNING: { retry: "later", http: 409, exit: 75, meaning: "another instance holds this state directory" },
  NO_AGENT: { retry: "later", http: 503, exit: 69, meaning: "no agent answers on the control socket" },
  POLICY: { retry: "never", http: 403, exit: 77, meaning: "refused by the site's policy; the rule is named" },
  UNSAFE_PATH: {
    retry: "never",
    http: 422,
    exit: 65,
    meaning: "a path that leaves its root, or a name that is not allowed",
  },
  PARAMETERS: {
    retry: "never",
    http: 422,
    exit: 65,
    meaning: "job parameters that the app does not accept; all problems are listed",
  },
  TRANSFER: { retry: "soon", http: 502, exit: 74, meaning: "a file that could not be moved; the next try may succeed" },
  TRANSFER_REFUSED: {
    retry: "never",
    http: 422,
    exit: 65,
    meaning: "a transfer that no retry will make succeed (missing source, denied, …)",
  },
  DIGEST_MISMATCH: {
    retry: "soon",
    http: 502,
    exit: 74,
    meaning: "moved bytes differ from what was promised; both digests are shown",
  },
  LAUNCH: { retry: "never", http: 500, exit: 74, meaning: "the command could not be started" },
  ALREADY_STARTED: {
    retry: "never",
    http: 409,
    exit: 70,
    meaning: "the attempt was started before; the second start was refused",
  },
  RUNNER: { retry: "soon", http: 503, exit: 69, meaning: "the runner does not answer" },
  UNSUPPORTED: {
    retry: "never",
    http: 501,
    exit: 69,
    meaning: "something that this machine or build cannot do; the hint says what is missing",
  },
  TIMEOUT: { retry: "soon", http: 504, exit: 75, meaning: "no result within the time limit" },
  CANCELLED: { retry: "never", http: 409, exit: 130, meaning: "ended by request" },
  DEFECT: { retry: "never", http: 500, exit: 70, meaning: "a fault of siteagent itself" },
} as const satisfies Record<string, FaultRow>;

export type FaultCode = keyof typeof faults;
