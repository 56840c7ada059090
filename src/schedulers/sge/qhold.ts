import { orderTimeoutMs, type SchedulerCommand, smallOutputBytes } from "../command.ts";
import { type OrderAnswer, parseOrder } from "./orders.ts";

/** A hold of the user's; a running job is not touched by it. */
export function qhold(operands: readonly string[]): SchedulerCommand<ReadonlyMap<string, OrderAnswer>> {
  return {
    argv: ["qhold", ...operands],
    timeoutMs: orderTimeoutMs,
    maxOutputBytes: smallOutputBytes,
    parse: (result) => parseOrder("qhold", operands, result),
  };
}
