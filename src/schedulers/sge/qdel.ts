import { orderTimeoutMs, type SchedulerCommand, smallOutputBytes } from "../command.ts";
import { type OrderAnswer, parseOrder } from "./orders.ts";

/** At once with KILL, unless the queue or `-notify` says otherwise. Never with `-f`: it gives up a job whose processes may live. */
export function qdel(operands: readonly string[]): SchedulerCommand<ReadonlyMap<string, OrderAnswer>> {
  return {
    argv: ["qdel", ...operands],
    timeoutMs: orderTimeoutMs,
    maxOutputBytes: smallOutputBytes,
    parse: (result) => parseOrder("qdel", operands, result),
  };
}
