import type { RunResult } from "../../hosts/types.ts";
import { wordsOf } from "../text.ts";
import type { OrderResult } from "../types.ts";
import { whyOf } from "../words.ts";
import { kindOfWords } from "./errors.ts";
import { idIn } from "./ids.ts";

/** By the ids of the order. */
export type OrderAnswer = ReadonlyMap<string, OrderResult>;

/**
 * qdel, qhold and qrls take many ids, name on stderr those with which something is wrong, and give back the last error's number. An id
 * that is not named was taken if every complaint names one.
 */
export function parseOrder(name: string, ids: readonly string[], result: RunResult): OrderAnswer {
  const whole = !result.timedOut && !result.truncated && result.signal === undefined;
  const lines = result.stderr.split("\n").filter((line) => line.trim() !== "");
  const named = new Map<string, OrderResult>();
  let unexplained = !whole || (result.exitCode !== 0 && lines.length === 0);
  for (const line of lines) {
    const id = idIn(line);
    const about = id === undefined ? undefined : ids.find((each) => each === id || each.split(".")[0] === id);
    const meaning = meaningOf(name, line, result);
    if (about !== undefined && meaning !== undefined) named.set(about, meaning);
    else if (result.exitCode !== 0) unexplained = true;
  }
  const rest: OrderResult = unexplained ? { state: "unknown", why: whyOf(name, result) } : { state: "requested" };
  return new Map(ids.map((id) => [id, named.get(id) ?? rest]));
}

function meaningOf(name: string, line: string, result: RunResult): OrderResult | undefined {
  switch (kindOfWords(line)) {
    case "unknown-job":
    case "finished":
      return { state: "over" };
    case "request":
    case "limit":
      return { state: "refused", reason: wordsOf(line) };
    // Exiting or in transit: what is asked next tells.
    case "state":
      return name === "qdel" ? { state: "requested" } : { state: "refused", reason: wordsOf(line) };
    case "trouble":
    case "no-history":
      return { state: "unknown", why: whyOf(name, result) };
    default:
      return undefined;
  }
}
