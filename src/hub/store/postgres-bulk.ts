/** Many rows as one statement with one parameter: a JSON list that PostgreSQL reads by the table's own types. */
import { CompiledQuery, type Transaction } from "kysely";
import { eventLock } from "./events.ts";
import type { HubDatabase } from "./tables.ts";
import type { BulkRow, BulkTable } from "./types.ts";

/** Rows per statement: some megabytes of JSON. */
const rowsPerStatement = 2_000;

/** See `Tx.insert`. */
export async function insertRows(
  db: Transaction<HubDatabase>,
  table: BulkTable,
  rows: readonly BulkRow[],
): Promise<readonly number[]> {
  const [first] = rows;
  if (!first) return [];
  const columns = Object.keys(first).join(", ");
  const numbered = table === "jobs";
  // Numbers of events are drawn when the lock is had, and not before.
  const lock = table === "events" ? `(SELECT pg_advisory_xact_lock(${eventLock})) AS locked CROSS JOIN ` : "";
  const text = `INSERT INTO ${table} (${columns}) SELECT ${columns}
    FROM ${lock}json_populate_recordset(NULL::${table}, $1::json)`;
  const numbers = new Map<string, number>();
  for (let start = 0; start < rows.length; start += rowsPerStatement) {
    const list = JSON.stringify(rows.slice(start, start + rowsPerStatement));
    const query = CompiledQuery.raw(numbered ? `${text} RETURNING id, n` : text, [list]);
    const answer = await db.executeQuery<{ id: string; n: number }>(query);
    for (const { id, n } of answer.rows) numbers.set(id, n);
  }
  return numbered ? rows.map((row) => numbers.get(String(row["id"])) ?? 0) : [];
}

/** See `Tx.update`. */
export async function updateRows(
  db: Transaction<HubDatabase>,
  table: "jobs" | "operations",
  rows: readonly (BulkRow & { readonly id: string })[],
): Promise<void> {
  const [first] = rows;
  if (!first) return;
  const set = Object.keys(first)
    .filter((column) => column !== "id")
    .map((column) => `${column} = change.${column}`);
  const text = `UPDATE ${table} SET ${set.join(", ")} FROM json_populate_recordset(NULL::${table}, $1::json) AS change
    WHERE ${table}.id = change.id`;
  for (let start = 0; start < rows.length; start += rowsPerStatement) {
    await db.executeQuery(CompiledQuery.raw(text, [JSON.stringify(rows.slice(start, start + rowsPerStatement))]));
  }
}
