/** The bytes of an answer, as far as they can be trusted. */
import type { CallContext } from "../../common/context.ts";
import { Fault } from "../../common/fault.ts";
import { throwIfStopped } from "../errors.ts";
import { type HttpAnswer, networkFault } from "./client.ts";
import { contentLength, DigestCheck } from "./headers.ts";

/** The bytes of an answer after the first `skip`, with its promised length and digests checked. `idleMs`: longest time for a trickle. */
export async function* bodyOf(
  url: string,
  what: string,
  answer: HttpAnswer,
  { skip, idleMs }: { readonly skip: number; readonly idleMs: number },
  context: CallContext,
): AsyncGenerator<Uint8Array> {
  const promised = contentLength(answer.headers);
  const check = new DigestCheck(answer.headers, answer.status === 200);
  const pace = new Pace(idleMs, context);
  let received = 0;
  try {
    for await (const chunk of answer.body as AsyncIterable<Uint8Array>) {
      throwIfStopped(context.signal);
      pace.check(what, chunk.byteLength);
      check.update(chunk);
      const from = Math.max(0, skip - received);
      received += chunk.byteLength;
      if (from < chunk.byteLength) yield from === 0 ? chunk : chunk.subarray(from);
    }
  } catch (error) {
    throwIfStopped(context.signal);
    throw networkFault(error, url);
  }
  if (promised !== undefined && received !== promised) {
    throw new Fault("TRANSFER", `${what} ended after ${received} of ${promised} bytes`);
  }
  check.finish(what);
}

/** Least bytes in one idle time: a server that trickles holds a slot for ever otherwise. */
const leastBytes = 1024;

/** Notices a body that comes drop by drop; silence is noticed by the client's idle limit. */
class Pace {
  readonly #windowMs: number;
  readonly #context: CallContext;
  #since: number;
  #bytes = 0;

  constructor(windowMs: number, context: CallContext) {
    this.#windowMs = windowMs;
    this.#context = context;
    this.#since = context.clock.monotonic();
  }

  /** Throws TRANSFER. */
  check(what: string, bytes: number): void {
    this.#bytes += bytes;
    const now = this.#context.clock.monotonic();
    if (this.#bytes >= leastBytes) {
      this.#bytes = 0;
      this.#since = now;
    } else if (now - this.#since > this.#windowMs) {
      throw new Fault(
        "TRANSFER",
        `${what} sends less than ${leastBytes} bytes in ${Math.round(this.#windowMs / 1000)} s`,
      );
    }
  }
}
