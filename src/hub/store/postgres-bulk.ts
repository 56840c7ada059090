/** Many rows as one statement with one parameter: a JSON list that PostgreSQL reads by the table's own types. */
import { CompiledQuery } from "kysely";
import { eventLock } from "./events.ts";
import type { PostgresTransaction } from "./postgres-transaction.ts";
import { type BulkRow, type BulkTable, columnsToSet, keyColumns, type Write } from "./types.ts";

/** Rows per statement: some megabytes of JSON. */
const rowsPerStatement = 2_000;

/** See `Tx.insert`. */
export async function insertRows(
  transaction: PostgresTransaction,
  table: BulkTable,
  rows: readonly BulkRow[],
): Promise<readonly number[]> {
  if (table !== "jobs") {
    writeRows(transaction, [{ insert: table, rows }]);
    return [];
  }
  const numbers = new Map<string, number>();
  for (let start = 0; start < rows.length; start += rowsPerStatement) {
    const some = rows.slice(start, start + rowsPerStatement);
    const text = `${textOf({ insert: table, rows: some }, "$1", [])} RETURNING id, n`;
    const answer = await transaction.executeQuery<{ id: string; n: number }>(
      CompiledQuery.raw(text, [JSON.stringify(some)]),
    );
    for (const { id, n } of answer.rows) numbers.set(id, n);
  }
  return rows.map((row) => numbers.get(String(row["id"])) ?? 0);
}

/** See `Tx.write`. Done with the next query of the transaction, or with its end. */
export function writeRows(transaction: PostgresTransaction, writes: readonly Write[]): void {
  const parts = writes.filter(({ rows }) => rows.length > 0);
  // The lock of events is asked for last: until the commit all other writers of events wait for it.
  parts.sort(
    (one, other) =>
      Number("insert" in one && one.insert === "events") - Number("insert" in other && other.insert === "events"),
  );
  const last = parts.at(-1);
  if (!last) return;
  if (parts.some(({ rows }) => rows.length > rowsPerStatement)) {
    for (const part of parts) writeInPieces(transaction, part);
    return;
  }
  const before = parts.slice(0, -1).map((part, at) => `part${at} AS (${textOf(part, `$${at + 1}`, [])} RETURNING 1)`);
  const names = before.map((_, at) => `part${at}`);
  const main = textOf(last, `$${parts.length}`, names);
  const text = before.length === 0 ? main : `WITH ${before.join(", ")} ${main}`;
  transaction.defer({ text, parameters: parts.map(({ rows }) => JSON.stringify(rows)) });
}

function writeInPieces(transaction: PostgresTransaction, part: Write): void {
  for (let start = 0; start < part.rows.length; start += rowsPerStatement) {
    const rows = part.rows.slice(start, start + rowsPerStatement);
    transaction.defer({ text: textOf({ ...part, rows } as Write, "$1", []), parameters: [JSON.stringify(rows)] });
  }
}

/** The statement for rows with these columns. `after`: parts of the same statement that must be done before events get their numbers. */
function textOf(
  part: Write | { readonly insert: "jobs"; readonly rows: readonly BulkRow[] },
  parameter: string,
  after: readonly string[],
): string {
  const columns = Object.keys(part.rows[0] ?? {});
  if ("insert" in part) {
    const list = columns.join(", ");
    // Numbers of events are drawn when the lock is had, and not before.
    const lock = part.insert === "events" ? `${lockAfter(after)} AS locked CROSS JOIN ` : "";
    return `INSERT INTO ${part.insert} (${list}) SELECT ${list}
      FROM ${lock}json_populate_recordset(NULL::${part.insert}, ${parameter}::json)`;
  }
  const table = part.update;
  const set = columnsToSet(table, part.rows[0] ?? {}).map((column) => `${column} = change.${column}`);
  // By the whole key, and with the number of rows: while PostgreSQL has no statistics it expects many rows of a part of a key, and 100
  // of any function, and reads the whole table for so many. The number is not in the text: one plan serves any (`queryOften`).
  const same = keyColumns[table].map((column) => `${table}.${column} = change.${column}`);
  return `UPDATE ${table} SET ${set.join(", ")} 
    FROM (SELECT * FROM json_populate_recordset(NULL::${table}, ${parameter}::json) LIMIT json_array_length(${parameter}::json)) AS change
    WHERE ${same.join(" AND ")}`;
}

function lockAfter(parts: readonly string[]): string {
  const counts = parts.map((name) => `(SELECT count(*) FROM ${name})`).join(" + ");
  return `(SELECT pg_advisory_xact_lock(${eventLock})${counts === "" ? "" : ` WHERE ${counts} >= 0`})`;
}
