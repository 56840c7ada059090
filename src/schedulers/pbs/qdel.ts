import { orderTimeoutMs, type SchedulerCommand, smallOutputBytes } from "../command.ts";
import { type OrderAnswer, parseOrder } from "./orders.ts";
import type { Flavour } from "./version.ts";

/** TERM, `kill_delay` of the server, KILL. Without mail to the owner; never with `-x`, which would remove the exit status, too. */
export function qdel(ids: readonly string[], flavour: Flavour): SchedulerCommand<OrderAnswer> {
  const noMail = flavour === "openpbs" ? ["-Wsuppress_email=-1"] : [];
  return {
    argv: ["qdel", ...noMail, ...ids],
    timeoutMs: orderTimeoutMs,
    maxOutputBytes: smallOutputBytes,
    parse: (result) => parseOrder("qdel", ids, result),
  };
}
