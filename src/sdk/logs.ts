import { systemClock } from "../common/clock.ts";
import { Fault, isFault } from "../common/fault.ts";
import { backoffMs, syncBackoff } from "../common/retry.ts";
import type { LogStream } from "../wire/agent-api.ts";
import { logHeaders } from "../wire/user-api.ts";
import { type HubHttp, part, readBytes } from "./http.ts";
import { api } from "./paths.ts";

export interface LogOptions {
  readonly stream?: LogStream | undefined;
  /** Number of the attempt; default: the latest; with `follow` also the later ones. */
  readonly attempt?: number | undefined;
  /** First attempt shown, when `attempt` is not given; unlike that, `follow` goes on into later ones. */
  readonly start?: number | undefined;
  /** Number of a claim of the job (`epoch`): each holder counts its attempts from 1. Default: the present one, with `follow` also later ones. */
  readonly claim?: number | undefined;
  /** First byte wanted (of the first attempt shown); default 0. */
  readonly offset?: number | undefined;
  /** ISO 8601; instead of `offset`: from the first bytes (of the first attempt shown) that the hub got since then, to the minute. */
  readonly since?: string | undefined;
  /** Go on until the log is complete (the job has ended and its log with it). */
  readonly follow?: boolean | undefined;
  readonly signal?: AbortSignal | undefined;
  /** Pause between two looks at a log that did not grow, milliseconds; default 1 000. */
  readonly pollMs?: number | undefined;
}

export interface LogPiece {
  readonly attempt: number;
  /** Whose log it is: the number of the claim. Undefined at a hub that does not tell. */
  readonly claim: number | undefined;
  /** Claims of the job that have a log, and the present one, earliest first. */
  readonly claims: readonly number[];
  /** Of the first byte of `bytes` in the attempt's log. */
  readonly offset: number;
  readonly bytes: Uint8Array;
}

interface LogAnswer extends LogPiece {
  readonly latestAttempt: number;
  /** Nothing follows in this attempt. */
  readonly complete: boolean;
  /** The job has ended too: no further attempt. */
  readonly ended: boolean;
  readonly size: number;
}

const pageBytes = 1024 * 1024;

/**
 * The bytes of a job's log in order. Continues by offset after a lost connection, so that no byte is missing or doubled.
 * @throws Fault NOT_FOUND, UNAUTHENTICATED, FORBIDDEN; UNREACHABLE without `follow`, which waits for the hub instead.
 */
export async function* logs(http: HubHttp, job: string, options: LogOptions = {}): AsyncGenerator<LogPiece> {
  const { signal } = options;
  let attempt = options.attempt ?? options.start;
  let offset = options.offset ?? 0;
  let { since } = options;
  let { claim } = options;
  let failures = 0;
  while (!signal?.aborted) {
    let answer: LogAnswer;
    try {
      answer = await readPiece(
        http,
        job,
        { claim, attempt, ...(since === undefined ? { offset } : { since }) },
        options,
      );
      failures = 0;
    } catch (error) {
      if (signal?.aborted) return;
      if (!options.follow || !isFault(error, "UNREACHABLE", "STORE", "RATE_LIMITED", "TIMEOUT")) throw error;
      await systemClock.sleep(backoffMs(syncBackoff, ++failures), signal);
      continue;
    }
    claim ??= answer.claim;
    attempt ??= answer.attempt > 0 ? answer.attempt : undefined;
    if (answer.bytes.length > 0) {
      const { claims, bytes } = answer;
      yield { attempt: answer.attempt, offset: answer.offset, claim: answer.claim, claims, bytes };
    }
    if (since !== undefined || answer.bytes.length > 0) offset = answer.offset + answer.bytes.length;
    if (answer.attempt > 0) since = undefined;
    if (offset < answer.size) continue;
    if (!options.follow) return;
    const latestClaim = answer.claims.at(-1);
    if (answer.complete && claim !== undefined && latestClaim !== undefined && latestClaim > claim) {
      if (options.claim !== undefined || options.attempt !== undefined) return;
      // The job went to another holder: its log begins anew.
      claim = latestClaim;
      attempt = undefined;
      offset = 0;
    } else if (
      answer.complete &&
      options.attempt === undefined &&
      attempt !== undefined &&
      answer.latestAttempt > attempt
    ) {
      attempt++;
      offset = 0;
    } else if (answer.complete && (answer.ended || options.attempt !== undefined)) return;
    else if (answer.bytes.length === 0) await systemClock.sleep(options.pollMs ?? 1_000, signal);
  }
}

async function readPiece(
  http: HubHttp,
  job: string,
  place: {
    readonly claim: number | undefined;
    readonly attempt: number | undefined;
    readonly offset?: number;
    readonly since?: string;
  },
  options: LogOptions,
): Promise<LogAnswer> {
  const response = await http.raw(`${api}/jobs/${part(job)}/logs/${options.stream ?? "stdout"}`, {
    query: { ...place, limit: pageBytes },
    headers: { accept: "application/octet-stream" },
    signal: options.signal,
  });
  const bytes = await readBytes(response, options.signal);
  const number = (name: string): number => {
    const value = Number(response.headers[name] ?? Number.NaN);
    if (!Number.isSafeInteger(value)) throw new Fault("UNREACHABLE", `the answer has no header '${name}'`);
    return value;
  };
  const header = (name: string): string => String(response.headers[name] ?? "");
  const claim = header(logHeaders.claim);
  return {
    claim: claim === "" ? undefined : Number(claim),
    claims: header(logHeaders.claims).split(",").filter(Boolean).map(Number),
    attempt: number(logHeaders.attempt),
    latestAttempt: number(logHeaders.latestAttempt),
    offset: number(logHeaders.offset),
    size: number(logHeaders.size),
    complete: header(logHeaders.complete) !== "false",
    ended: header(logHeaders.ended) !== "false",
    bytes,
  };
}
