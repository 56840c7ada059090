import { orderTimeoutMs, type SchedulerCommand, smallOutputBytes } from "../command.ts";
import { type OrderAnswer, parseOrder } from "./orders.ts";

/** Takes away the user's hold; those of operator or system need somebody else. */
export function qrls(operands: readonly string[]): SchedulerCommand<ReadonlyMap<string, OrderAnswer>> {
  return {
    argv: ["qrls", ...operands],
    timeoutMs: orderTimeoutMs,
    maxOutputBytes: smallOutputBytes,
    parse: (result) => parseOrder("qrls", operands, result),
  };
}
