import { orderTimeoutMs, type SchedulerCommand, smallOutputBytes } from "../command.ts";
import { type OrderAnswer, parseOrder } from "./orders.ts";

/** A hold of the user's; a running job is not touched by it. */
export function qhold(ids: readonly string[]): SchedulerCommand<OrderAnswer> {
  return {
    argv: ["qhold", "-h", "u", ...ids],
    timeoutMs: orderTimeoutMs,
    maxOutputBytes: smallOutputBytes,
    parse: (result) => parseOrder("qhold", ids, result),
  };
}
