import { type Clock, isoTime } from "../common/clock.ts";
import { type Fault, isFault } from "../common/fault.ts";
import type { Problems } from "./problems.ts";

/** What is known of the connection to central, for status. Nothing is decided by it: each loop has its own backoff. */
export class Contact {
  readonly #clock: Clock;
  reachable = false;
  /** ISO 8601. */
  since: string;
  lastError: string | undefined;
  lastSyncAt: string | undefined;
  nextSyncAt: string | undefined;

  constructor(clock: Clock) {
    this.#clock = clock;
    this.since = isoTime(clock.now());
  }

  /** A call was answered (`undefined`), or was not. */
  note(fault: Fault | undefined, problems: Problems): void {
    const reachable = fault === undefined || !isFault(fault, "UNREACHABLE", "UNAUTHENTICATED", "FORBIDDEN");
    if (reachable !== this.reachable) this.since = isoTime(this.#clock.now());
    this.reachable = reachable;
    this.lastError = fault?.message;
    if (reachable) problems.clear("api");
    else {
      const hint = fault?.hint ?? "running jobs go on; reports are kept and sent when it returns";
      problems.set("api", `central does not answer: ${fault?.message ?? ""}`, hint);
    }
  }

  /** A round of the sync loop ended. */
  round({ at, nextAt }: { readonly at: string; readonly nextAt: string | undefined }): void {
    this.lastSyncAt = at;
    this.nextSyncAt = nextAt;
  }
}
