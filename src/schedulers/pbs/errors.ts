/**
 * What an error of PBS means. The exit status of every PBS command is the low byte of the last error's number
 * (`pbs_error.h` of OpenPBS), but Torque numbers the same errors otherwise, so that the server's words are looked at first and the number
 * only for OpenPBS and PBS Pro.
 */
export type PbsErrorKind =
  /** The server does not know the job. */
  | "unknown-job"
  /** It is in the history: ended. */
  | "finished"
  /** Not in this state of the job (in transit, exiting). */
  | "state"
  /** Not accepted for a limit or lack of the moment. */
  | "limit"
  /** Not accepted, and never will be as it is. */
  | "request"
  /** The server does not keep a history. */
  | "no-history"
  /** Nobody could be asked, or the answer is not to be relied on. */
  | "trouble";

interface PbsError {
  /** PBSE number of OpenPBS. */
  readonly number: number;
  readonly words: RegExp;
  readonly kind: PbsErrorKind;
}

const errors: readonly PbsError[] = [
  { number: 15001, words: /unknown job id|nonexistent job id/i, kind: "unknown-job" },
  { number: 15139, words: /job has finished/i, kind: "finished" },
  { number: 15159, words: /request invalid for finished array subjob/i, kind: "finished" },
  { number: 15050, words: /job already in exit state/i, kind: "state" },
  { number: 15016, words: /request invalid for state of job/i, kind: "state" },
  { number: 15085, words: /delete already in progress/i, kind: "state" },
  { number: 15140, words: /not configured to maintain job history/i, kind: "no-history" },
  { number: 15010, words: /system error|cannot connect to server|couldn't connect to/i, kind: "trouble" },
  { number: 15011, words: /server internal error/i, kind: "trouble" },
  { number: 15019, words: /invalid credential/i, kind: "trouble" },
  { number: 15020, words: /expired credential/i, kind: "trouble" },
  { number: 15031, words: /batch protocol error|premature end of/i, kind: "trouble" },
  { number: 15033, words: /no free connections/i, kind: "trouble" },
  { number: 15034, words: /no server specified/i, kind: "trouble" },
  { number: 15060, words: /server shutting down/i, kind: "trouble" },
  { number: 15070, words: /server could not connect to mom/i, kind: "trouble" },
  { number: 15117, words: /server connection table full/i, kind: "trouble" },
  { number: 15161, words: /failed to save job/i, kind: "trouble" },
  { number: 15208, words: /try again|retry this request|too busy/i, kind: "trouble" },
  { number: 15046, words: /maximum number of jobs already in queue/i, kind: "limit" },
  { number: 15142, words: /would exceed .*(limit|max_queued|max_run)/i, kind: "limit" },
  { number: 15143, words: /would exceed .*(limit|resource)/i, kind: "limit" },
  { number: 15044, words: /resources? temporarily unavailable/i, kind: "limit" },
  { number: 15021, words: /queue is (not enabled|currently not available)/i, kind: "limit" },
  { number: 15007, words: /unauthorized request/i, kind: "request" },
  { number: 15008, words: /access from host not allowed/i, kind: "request" },
  { number: 15014, words: /illegal attribute or resource value/i, kind: "request" },
  { number: 15018, words: /unknown queue/i, kind: "request" },
  { number: 15022, words: /access to queue is denied/i, kind: "request" },
  { number: 15023, words: /bad uid for job execution/i, kind: "request" },
  { number: 15029, words: /no support for requested service/i, kind: "request" },
  { number: 15032, words: /bad attribute list/i, kind: "request" },
  { number: 15035, words: /unknown resource/i, kind: "request" },
  { number: 15036, words: /job (violates queue and\/or server|exceeds queue) resource limits/i, kind: "request" },
  { number: 15037, words: /no default queue specified/i, kind: "request" },
  { number: 15039, words: /rejected by all possible destinations/i, kind: "request" },
  { number: 15045, words: /bad gid for job execution/i, kind: "request" },
  { number: 15048, words: /resource limit exceeds allowable/i, kind: "request" },
  { number: 15049, words: /invalid account/i, kind: "request" },
  { number: 15062, words: /unknown node /i, kind: "request" },
  { number: 15089, words: /node\(s\) specification error/i, kind: "request" },
  { number: 15107, words: /array job exceeds server or queue size limit|bad job array request/i, kind: "request" },
  { number: 15108, words: /resource invalid in "select"/i, kind: "request" },
  { number: 15109, words: /cannot be used with "select" or "place"/i, kind: "request" },
  { number: 15144, words: /attribute value is out of range/i, kind: "request" },
  { number: 15175, words: /jobscript size exceeded/i, kind: "request" },
];

/** A hook of the site that broke or took too long says nothing of the request; one that says no does. */
const brokenHook = /encountered an exception|alarm call while running|hook .* (timed out|failed)/i;
const hookNumber = 15136;

const byExitCode: ReadonlyMap<number, PbsErrorKind> = new Map(
  errors.map(({ number, kind }) => [number & 0xff, kind] as const),
);

/** By one line of stderr; undefined when nothing is recognised in it. */
export function kindOfWords(line: string): PbsErrorKind | undefined {
  return errors.find(({ words }) => words.test(line))?.kind;
}

/** By the exit status of a command of OpenPBS or PBS Pro; statuses below 3 come from the command itself, not from the server. */
export function kindOfExitCode(exitCode: number | undefined): PbsErrorKind | undefined {
  return exitCode === undefined || exitCode < 3 ? undefined : byExitCode.get(exitCode);
}

export function isBrokenHook(stderr: string): boolean {
  return brokenHook.test(stderr);
}

export function isHookRejection(exitCode: number | undefined): boolean {
  return exitCode === (hookNumber & 0xff);
}
