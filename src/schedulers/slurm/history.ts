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

/** Questions for ids at one time: more than one only where an answer was too large. */
const mostQuestions = 2;

/**
 * Asks accounting for ids. All at once as a rule; after an answer that was too large in smaller pieces, some of them each time, in turn. An id of which
 * accounting has more than can be read is asked for no more.
 */
export class IdsInTurn {
  #size: number = mostAtOnce.ids;
  /** Asked for last. */
  #last: string | undefined;
  readonly #unreadable = new Set<string>();

  async ask(
    items: readonly string[],
    question: (items: readonly string[]) => Promise<AccountingAnswer>,
  ): Promise<History> {
    const unknown = new Map<string, string>();
    const rows: AccountingRow[] = [];
    const all = [...new Set(items)];
    for (const id of all) if (this.#unreadable.has(id)) unknown.set(id, "accounting has more on it than can be read");
    let left = this.#inTurn(all.filter((id) => !this.#unreadable.has(id)));
    if (left.length <= this.#size) this.#size = mostAtOnce.ids;
    let why = "accounting is asked for it soon";
    for (let asked = 0; asked < mostQuestions && left.length > 0; asked++) {
      const piece = left.slice(0, this.#size);
      const answer = await question(piece);
      if (answer.state === "disabled") return { rows: [], kept: false, unknown: new Map() };
      if (answer.state === "too-much") {
        this.#tooMuch(piece);
        continue;
      }
      if (answer.state === "unknown") {
        ({ why } = answer);
        break;
      }
      rows.push(...answer.rows);
      this.#last = piece.at(-1);
      left = left.slice(piece.length);
    }
    for (const id of left) unknown.set(id, why);
    return { rows, kept: true, unknown };
  }

  /** From behind the one that was asked for last. */
  #inTurn(ids: readonly string[]): readonly string[] {
    const next = this.#last === undefined ? 0 : ids.indexOf(this.#last) + 1;
    return [...ids.slice(next), ...ids.slice(0, next)];
  }

  #tooMuch(piece: readonly string[]): void {
    const [first, ...others] = piece;
    if (first !== undefined && others.length === 0) this.#unreadable.add(first);
    this.#size = others.length === 0 ? mostAtOnce.ids : Math.ceil(piece.length / 2);
  }
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
