import { inChunks } from "../../common/chunks.ts";
import type { AccountingAnswer, AccountingRow } from "./sacct.ts";

/**
 * In one command. Ids: slurmdbd looks them up by its index, so that all jobs that an agent follows are one question; more would not fit into one
 * argument (128 KiB on Linux, ids have eleven characters at most with their comma). Names it has to search for.
 */
export const mostAtOnce = { ids: 10_000, names: 200 } as const;

export interface History {
  readonly rows: readonly AccountingRow[];
  /** False: this cluster keeps no accounting, or its command is not here. */
  readonly kept: boolean;
  /** Of which items nothing was learned, and why. */
  readonly unknown: ReadonlyMap<string, string>;
}

/** Asks accounting for all items in pieces, smaller ones where the answer is too large. After a piece without an answer it asks no more. */
export async function askHistory(
  items: readonly string[],
  most: number,
  ask: (items: readonly string[]) => Promise<AccountingAnswer>,
): Promise<History> {
  const rows: AccountingRow[] = [];
  const unknown = new Map<string, string>();
  const pieces = inChunks([...new Set(items)], most).toReversed();
  let why: string | undefined;
  for (let piece = pieces.pop(); piece !== undefined; piece = pieces.pop()) {
    const answer: AccountingAnswer = why === undefined ? await ask(piece) : { state: "unknown", why };
    if (answer.state === "answered") {
      rows.push(...answer.rows);
    } else if (answer.state === "disabled") {
      return { rows: [], kept: false, unknown: new Map() };
    } else if (answer.state === "too-much" && piece.length > 1) {
      const half = Math.ceil(piece.length / 2);
      pieces.push(piece.slice(half), piece.slice(0, half));
    } else if (answer.state === "too-much") {
      for (const item of piece) unknown.set(item, "accounting has more on it than can be read");
    } else {
      why = answer.why;
      for (const item of piece) unknown.set(item, why);
    }
  }
  return { rows, kept: true, unknown };
}
