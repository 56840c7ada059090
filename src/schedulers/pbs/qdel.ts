import { orderTimeoutMs, type SchedulerCommand, smallOutputBytes } from "../command.ts";
import { type OrderAnswer, parseOrder } from "./orders.ts";

/**
 * TERM, `kill_delay` of the server, KILL. Never with `-x`, which would remove the exit status, too, nor with `-W suppress_email=-1`: then
 * OpenPBS 23.06 sends the server an empty list first, which is never answered. Who deletes his own jobs gets no mail for it.
 */
export function qdel(ids: readonly string[]): SchedulerCommand<OrderAnswer> {
  return {
    argv: ["qdel", ...ids],
    timeoutMs: orderTimeoutMs,
    maxOutputBytes: smallOutputBytes,
    parse: (result) => parseOrder("qdel", ids, result),
  };
}
