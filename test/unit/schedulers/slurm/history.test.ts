import { expect, it } from "vitest";
import { type History, IdsInTurn } from "../../../../src/schedulers/slurm/history.ts";
import type { AccountingAnswer, AccountingRow } from "../../../../src/schedulers/slurm/sacct.ts";

const ids = Array.from({ length: 1_000 }, (_, index) => String(index));

/** Accounting that can answer for so many at once, but never for the unreadable. */
function accounting(most: number, unreadable?: string): (some: readonly string[]) => Promise<AccountingAnswer> {
  return async (some) => {
    if (some.length > most || (unreadable !== undefined && some.includes(unreadable))) return { state: "too-much" };
    return { state: "answered", rows: some.map((id) => ({ id }) as AccountingRow) };
  };
}

async function told(turns: number, ask: (some: readonly string[]) => Promise<AccountingAnswer>): Promise<Set<string>> {
  const inTurn = new IdsInTurn();
  const seen = new Set<string>();
  for (let turn = 0; turn < turns; turn++) {
    let questions = 0;
    const history: History = await inTurn.ask(ids, async (some) => {
      questions++;
      return await ask(some);
    });
    expect(questions).toBeLessThanOrEqual(2);
    for (const { id } of history.rows) seen.add(id);
    for (const id of ids) expect(history.unknown.has(id) || history.rows.some((row) => row.id === id)).toBe(true);
  }
  return seen;
}

it("E18: answers that are too large make for smaller questions, at most two at a time, until all had their turn", async () => {
  expect((await told(1, accounting(1_000))).size).toBe(1_000);
  expect((await told(6, accounting(200))).size).toBe(1_000);
});

it("E18: one of whom there is more than can be read is left out, and holds up nobody else for long", async () => {
  const seen = await told(12, accounting(1_000, "700"));
  expect([...ids].filter((id) => !seen.has(id))).toEqual(["700"]);
});

it("an answer that is none stops the questions of this time", async () => {
  const inTurn = new IdsInTurn();
  const history = await inTurn.ask(ids, async () => ({ state: "unknown", why: "down" }));
  expect(history.unknown.size).toBe(1_000);
  expect(await inTurn.ask(ids, async () => ({ state: "disabled" }))).toMatchObject({ kept: false });
});
