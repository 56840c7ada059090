import { orderTimeoutMs, type SchedulerCommand, smallOutputBytes } from "../command.ts";
import { type OrderAnswer, parseOrder } from "./orders.ts";

/** Takes away the user's hold; those of operator or system need somebody else. */
export function qrls(ids: readonly string[]): SchedulerCommand<OrderAnswer> {
  return {
    argv: ["qrls", "-h", "u", ...ids],
    timeoutMs: orderTimeoutMs,
    maxOutputBytes: smallOutputBytes,
    parse: (result) => parseOrder("qrls", ids, result),
  };
}
