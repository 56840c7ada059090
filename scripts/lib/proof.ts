import type { FaultToProve } from "../../test/fault-list.ts";

const number = String.raw`(?:[A-H]\d{1,2}|BAL-\d{1,2}a?|TAP-\d{1,2})`;
const titleStart = new RegExp(String.raw`["'\`](${number}(?:, ${number})*): `, "g");

/**
 * The numbers with which titles in a test file begin (`"A4, A5: …"`).
 * @throws Error when one is not in the list: a slip, or an entry that is missing there.
 */
export function provenIn(path: string, text: string, list: readonly FaultToProve[]): ReadonlySet<string> {
  const known = new Set(list.map(({ id }) => id));
  const found = new Set([...text.matchAll(titleStart)].flatMap(([, ids = ""]) => ids.split(", ")));
  const unknown = [...found].filter((id) => !known.has(id));
  if (unknown.length > 0) throw new Error(`${path}: no fault '${unknown.join("', '")}' in test/fault-list.ts`);
  return found;
}
