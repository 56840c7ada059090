import type { Clock } from "./clock.ts";
import type { Logger } from "./logger.ts";

/** What every call into an adapter carries. */
export interface CallContext {
  /** Shutdown, cancel or deadline. */
  readonly signal: AbortSignal;
  /** Job ids already bound. */
  readonly log: Logger;
  readonly clock: Clock;
}
