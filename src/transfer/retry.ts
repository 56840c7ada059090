import { Fault } from "../common/fault.ts";
import { type Backoff, backoffMs, transferBackoff } from "../common/retry.ts";
import { formatDuration } from "../common/units.ts";
import type { TransferContext } from "./types.ts";
import { hasAdvanced, isFull, needsPerson, throwIfStopped, transferFault } from "./errors.ts";

export interface RetryOptions {
  /** Tries in all, at least 1. */
  readonly tries: number;
  readonly backoff: Backoff;
  /** A server's Retry-After above this ends the run (TRANSFER), so that its slot is not held. Milliseconds. */
  readonly longestWaitMs: number;
  /** In [0, 1). */
  readonly random: () => number;
}

export const defaultRetry: RetryOptions = {
  tries: 5,
  backoff: transferBackoff,
  longestWaitMs: 300_000,
  random: Math.random,
};

/**
 * Runs `attempt` until it succeeds. Faults that the table calls "soon" are tried again with backoff, a wrong digest once only, a
 * full disk never, a host that waits for a person neither; a try that brought further begins the count anew. Then the last fault is
 * thrown, as TRANSFER when it may pass later. Tries that only found that a remote does not answer, as all know by now, do not count:
 * the next one waits until it does. `what` names the file.
 */
export async function withRetries<Value>(
  what: string,
  context: TransferContext,
  options: RetryOptions,
  attempt: (last: Fault | undefined) => Promise<Value>,
): Promise<Value> {
  let last: Fault | undefined;
  let mismatches = 0;
  for (let tries = 1; ; tries++) {
    throwIfStopped(context.signal);
    try {
      await context.remote?.begin();
      const value = await attempt(last);
      context.remote?.done();
      return value;
    } catch (error) {
      throwIfStopped(context.signal);
      last = transferFault(error, what);
    }
    if (context.remote?.failed(last) === true) {
      tries--;
      continue;
    }
    if (last.code === "DIGEST_MISMATCH" && ++mismatches > 1) throw last;
    if (last.row.retry !== "soon" || isFull(last)) throw last;
    if (needsPerson(last)) throw exhausted(what, last, tries);
    if (hasAdvanced(last)) tries = 1;
    if (tries >= options.tries) throw exhausted(what, last, tries);
    const waitMs = waitBefore(last, tries, options);
    if (waitMs > options.longestWaitMs) throw exhausted(what, last, tries);
    context.log.info({ err: last, file: what, tries, waitMs: Math.round(waitMs) }, "transfer will be tried again");
    await context.clock.sleep(waitMs, context.signal);
  }
}

/** A server's own wish wins over the backoff, spread by up to a fifth so that not all come back at once. */
function waitBefore(fault: Fault, failures: number, options: RetryOptions): number {
  const wait = backoffMs(options.backoff, failures, options.random);
  const asked = fault.details?.["retry_after_ms"];
  return typeof asked === "number" ? Math.max(wait, asked * (1 + 0.2 * options.random())) : wait;
}

function exhausted(what: string, last: Fault, tries: number): Fault {
  if (last.code === "DIGEST_MISMATCH") return last;
  const asked = last.details?.["retry_after_ms"];
  const wish = typeof asked === "number" ? `; the server asks for ${formatDuration(asked)} of patience` : "";
  return new Fault(
    "TRANSFER",
    `${what} could not be moved in ${tries} ${tries === 1 ? "try" : "tries"}: ${last.message}${wish}`,
    {
      ...(last.hint === undefined ? {} : { hint: last.hint }),
      details: { ...last.details, tries, last: last.code },
      cause: last,
    },
  );
}
