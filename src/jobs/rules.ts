import type { AttemptEnd, EndCause, Failure } from "./states.ts";

export const hookNames = ["preprocess", "postprocess", "handle_error", "handle_timeout"] as const;
export type HookName = (typeof hookNames)[number];

export const archivePolicies = ["always", "on_success", "on_failure", "never"] as const;
export type ArchivePolicy = (typeof archivePolicies)[number];

/** Signals that a program may be warned with before its time limit. */
export const warningSignals = ["SIGHUP", "SIGINT", "SIGTERM", "SIGUSR1", "SIGUSR2"] as const;

/** When an attempt that exited by itself counts as success. */
export interface SuccessRule {
  readonly exit_codes: readonly number[];
  /** True: an attempt ended by its own time limit counts as done (programs that write checkpoints until they are stopped). */
  readonly on_timeout: boolean;
}

/** However often it doubles. */
export const longestRetryDelayMs = 3_600_000;

/**
 * When the next attempt is allowed. `on` holds causes (`timeout`, `node`, `exit`, `signal`, `oom`, `launch`, `status-lost`) or a
 * cause with its value (`exit:75`, `signal:SIGKILL`). `infrastructure` is always retried and is no try.
 */
export interface RetryPolicy {
  /** Tries in all, 1 … 1000; 1 = no retry. */
  readonly attempts: number;
  readonly on: readonly string[];
  /** Wait before the next attempt, milliseconds; doubled for each further one, up to an hour. */
  readonly delay_ms: number;
}

export interface JobRules {
  readonly success: SuccessRule;
  readonly retry: RetryPolicy;
  readonly archive: ArchivePolicy;
  /** Hooks that the app has. */
  readonly hooks: readonly HookName[];
}

export const defaultRules: JobRules = {
  success: { exit_codes: [0], on_timeout: false },
  retry: { attempts: 1, on: [], delay_ms: 0 },
  archive: "on_success",
  hooks: [],
};

/** RUN_DONE, RUN_ERROR or RUN_TIMEOUT for an attempt's proven end. Without an exit code there is no success. */
export function classifyEnd(end: AttemptEnd, rule: SuccessRule): "RUN_DONE" | "RUN_ERROR" | "RUN_TIMEOUT" {
  if (end.cause === "timeout") return "RUN_TIMEOUT";
  if (end.cause === "exit" && end.exit_code !== undefined && rule.exit_codes.includes(end.exit_code)) return "RUN_DONE";
  return "RUN_ERROR";
}

/** True when the policy allows another attempt after `end`; `tries` counts the ended one unless its cause is `infrastructure`. */
export function mayRetry(end: AttemptEnd, tries: number, policy: RetryPolicy): boolean {
  if (end.cause === "infrastructure") return true;
  if (end.cause === "cancelled" || tries >= policy.attempts) return false;
  return policy.on.some((entry) => retryEntryMatches(entry, end));
}

/** Milliseconds to wait before try number `tries + 1`. */
export function retryDelayMs(tries: number, policy: RetryPolicy): number {
  return Math.min(policy.delay_ms * 2 ** Math.max(0, Math.min(tries - 1, 20)), longestRetryDelayMs);
}

function retryEntryMatches(entry: string, end: AttemptEnd): boolean {
  const [cause, value] = entry.split(":", 2);
  if (cause !== end.cause) return false;
  if (value === undefined) return true;
  return value === String(end.exit_code) || value === end.signal;
}

const categoryOf: Record<EndCause, Failure["category"]> = {
  exit: "user",
  signal: "user",
  timeout: "user",
  oom: "user",
  node: "site",
  launch: "site",
  infrastructure: "site",
  cancelled: "user",
  "status-lost": "site",
};

/** The failure that a final attempt's end stands for. */
export function failureOf(end: AttemptEnd): Failure {
  const values = { exit_code: end.exit_code, signal: end.signal };
  return { code: codeOf(end), category: categoryOf[end.cause], message: end.message ?? sentenceOf(end), ...values };
}

function codeOf(end: AttemptEnd): string {
  return end.cause === "exit" ? "EXIT_CODE" : end.cause.toUpperCase().replace("-", "_");
}

function sentenceOf(end: AttemptEnd): string {
  switch (end.cause) {
    case "exit":
      return `the command exited with ${end.exit_code ?? "an unknown code"}`;
    case "signal":
      return `the command was ended by ${end.signal ?? "a signal"}`;
    case "timeout":
      return "the attempt reached its time limit";
    case "oom":
      return "the attempt ran out of memory";
    case "node":
      return "the machine that ran the attempt went away";
    case "launch":
      return "the attempt could not be started";
    case "infrastructure":
      return "the allocation of the attempt was lost";
    case "cancelled":
      return "the attempt was ended by an order";
    case "status-lost":
      return "the attempt is gone and left no exit record";
  }
}
