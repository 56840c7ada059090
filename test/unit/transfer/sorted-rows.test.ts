import { readdir } from "node:fs/promises";
import * as fc from "fast-check";
import { expect, test } from "vitest";
import { SortedRows } from "../../../src/transfer/sorted-rows.ts";
import { Tape } from "../../../src/transfer/tape.ts";
import { temporaryDirectory } from "../../helpers/temporary.ts";
import { fuzz } from "../../helpers/fuzz.ts";

interface Row {
  readonly key: string;
  readonly number: number;
}

async function all<Row>(rows: AsyncIterable<Row>): Promise<Row[]> {
  const list: Row[] = [];
  for await (const row of rows) list.push(row);
  return list;
}

test("rows of any keys come back sorted, equal ones as they came, however many fit into memory", async () => {
  await using directory = await temporaryDirectory();
  const keys = fc.array(fc.oneof(fc.string({ unit: "binary" }), fc.constantFrom("", "a", "a/b", "é\n")), {
    maxLength: 60,
  });
  await fc.assert(
    fc.asyncProperty(keys, fc.integer({ min: 1, max: 70 }), async (given, atOnce) => {
      const options = { directory: directory.path, signal: new AbortController().signal, atOnce };
      await using rows = new SortedRows<Row>(({ key }) => key, options);
      const list = given.map((key, number) => ({ key, number }));
      for (const row of list) await rows.add(row);
      const sorted = list.toSorted((a, b) => (a.key < b.key ? -1 : a.key > b.key ? 1 : a.number - b.number));
      expect([rows.count, await all(rows.sorted())]).toEqual([list.length, sorted]);
    }),
    fuzz(30),
  );
});

test("a tape gives back each stretch, from memory and from its file, which has no name", async () => {
  await using directory = await temporaryDirectory();
  await using tape = new Tape<string>(directory.join("lists"));
  const rows = Array.from({ length: 3_000 }, (_, n) => `${n} ${"é\n".repeat(n % 70)}`);
  for (const row of rows.slice(0, 1_000)) await tape.add(row);
  const middle = tape.mark;
  for (const row of rows.slice(1_000)) await tape.add(row);
  expect(await all(tape.read({ begin: 0, end: middle }))).toEqual(rows.slice(0, 1_000));
  expect(await all(tape.read({ begin: middle, end: tape.mark }))).toEqual(rows.slice(1_000));
  expect(await readdir(directory.join("lists"))).toEqual([]);
});

test("few rows need no file, nor a directory", async () => {
  await using directory = await temporaryDirectory();
  await using tape = new Tape<number>(directory.join("lists"));
  for (let n = 0; n < 1_000; n++) await tape.add(n);
  expect(await all(tape.read({ begin: 0, end: tape.mark }))).toHaveLength(1_000);
  expect(await readdir(directory.path)).toEqual([]);
});

test("sorting ends with the run", async () => {
  await using directory = await temporaryDirectory();
  const stopped = AbortSignal.abort();
  await using rows = new SortedRows<string>(String, { directory: directory.path, signal: stopped, atOnce: 2 });
  await rows.add("a");
  await expect(rows.add("b")).rejects.toMatchObject({ code: "CANCELLED" });
});
