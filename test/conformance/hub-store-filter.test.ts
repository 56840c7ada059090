import fc from "fast-check";
import { expect, test } from "vitest";
import type { JsonObject } from "../../src/common/json.ts";
import { isFault } from "../../src/common/fault.ts";
import { collections } from "../../src/hub/filter/collections.ts";
import { matches } from "../../src/hub/filter/match.ts";
import { parseFilter, parseQuery } from "../../src/hub/filter/query.ts";
import { compileQuery } from "../../src/hub/filter/sql.ts";
import type { Query } from "../../src/hub/filter/tree.ts";
import { claimColumns, claimRows } from "../../src/hub/jobs/rows.ts";
import type { JobClaim } from "../../src/hub/jobs/document.ts";
import type { Store } from "../../src/hub/store/types.ts";
import { oracle } from "./hub-store-oracle.ts";
import { describeStores } from "./hub-stores.ts";
import { fuzz, fuzzing } from "../helpers/fuzz.ts";

type Doc = Parameters<typeof oracle>[0];

const words = ["", "a", "b", "B", "ä", "0", "nmdc:x", "%", "_", "'", '"', "\\", "x\ny", "🧬", "\uffff", "$date"];
const numbers = [0, 1, -1, 2, 3, 0.5, -2.5, 50, 9007199254740991, 1e21, 1e-7];
const dates = [0, 1_600_000_000_123, 1_772_359_200_000].map((ms) => ({ $date: ms }));

const scalar = fc.oneof(
  fc.constantFrom<Doc[string][]>(null, true, false),
  fc.constantFrom(...numbers),
  fc.constantFrom(...words),
  fc.constantFrom(...dates),
);
const keys = ["a", "b", "0", "1", "site_id"];
const value = fc.letrec((tie) => ({
  any: fc.oneof(
    { depthSize: "small", withCrossShrink: true },
    { weight: 4, arbitrary: scalar },
    { weight: 2, arbitrary: fc.array(tie("any"), { maxLength: 3 }) },
    { weight: 3, arbitrary: fc.dictionary(fc.constantFrom(...keys), tie("any"), { maxKeys: 3 }) },
  ),
})).any as fc.Arbitrary<Doc[string]>;

const claim = fc.record(
  {
    op_id: fc.constantFrom("o1", "o2", "o3"),
    site_id: fc.constantFrom("a", "b", "c"),
    done: fc.boolean(),
    cancelled: fc.option(fc.boolean()),
  },
  { requiredKeys: ["op_id", "site_id"] },
);
const jobDocument = fc.record(
  {
    workflow: fc.record({ id: fc.constantFrom(...words) }),
    config: fc.dictionary(fc.constantFrom("a", "b", "object_id"), value, { maxKeys: 3 }),
    created_at: fc.constantFrom(...dates),
    name: fc.option(fc.constantFrom(...words)),
    claims: fc.array(claim, { maxLength: 3 }),
  },
  { requiredKeys: ["workflow", "config", "created_at"] },
) as fc.Arbitrary<Doc>;

const path = fc.oneof(
  {
    weight: 1,
    arbitrary: fc.constantFrom(
      "id",
      "workflow.id",
      "claims",
      "claims.site_id",
      "claims.op_id",
      "claims.cancelled",
      "claims.0.site_id",
      "claims.1",
      "name",
      "created_at",
      "config.object_id",
      "config",
      "nothing",
    ),
  },
  {
    weight: 2,
    arbitrary: fc
      .array(fc.constantFrom(...keys), { minLength: 1, maxLength: 3 })
      .map((parts) => ["config", ...parts].join(".")),
  },
);

const regexes = ["", "a", "^a", "b$", "^$", ".", "[0-9]", "A|B", "x.y", "\\\\", "(a|b)+c?"];
const bound = fc.oneof(
  fc.constantFrom(...numbers),
  fc.constantFrom(...words),
  fc.constantFrom(...dates),
  fc.boolean(),
  fc.constant(null),
);
/** What a test of a plain value may be; `$date` as a key of a query means a date, so objects with it are left out. */
const operand = value.filter((one) => !JSON.stringify(one).includes('"$date":')) as fc.Arbitrary<Doc[string]>;

const simpleTest: fc.Arbitrary<Doc> = fc.oneof(
  fc.record({ $eq: operand }),
  fc.record({ $ne: operand }),
  fc.record({ $in: fc.array(operand, { maxLength: 3 }) }),
  fc.record({ $nin: fc.array(operand, { maxLength: 3 }) }),
  fc.record({ $gt: bound }),
  fc.record({ $gte: bound }),
  fc.record({ $lt: bound }),
  fc.record({ $lte: bound }),
  fc.record({ $gt: bound, $lt: bound }),
  fc.record({ $exists: fc.boolean() }),
  fc.record({ $size: fc.nat({ max: 3 }) }),
  fc.record({ $type: fc.constantFrom("string", "number", "bool", "null", "object", "array", "date") }),
  fc.record({ $mod: fc.tuple(fc.constantFrom(2, 3), fc.constantFrom(0, 1, -1)) }).map((one) => one as unknown as Doc),
  fc.record({ $regex: fc.constantFrom(...regexes) }),
  fc.record({ $regex: fc.constantFrom(...regexes), $options: fc.constantFrom("", "i", "s", "m") }),
) as fc.Arbitrary<Doc>;

const query = fc.letrec((tie) => ({
  query: fc.oneof(
    { depthSize: "small", withCrossShrink: true },
    { weight: 6, arbitrary: fc.tuple(path, tie("condition")).map(([name, condition]) => ({ [name]: condition })) },
    { weight: 1, arbitrary: fc.record({ $and: fc.array(tie("query"), { minLength: 1, maxLength: 3 }) }) },
    { weight: 1, arbitrary: fc.record({ $or: fc.array(tie("query"), { minLength: 1, maxLength: 3 }) }) },
    { weight: 1, arbitrary: fc.record({ $nor: fc.array(tie("query"), { minLength: 1, maxLength: 2 }) }) },
  ),
  inner: fc
    .tuple(fc.constantFrom(...keys, "op_id", "cancelled"), tie("condition"))
    .map(([name, condition]) => ({ [name]: condition })),
  condition: fc.oneof(
    { depthSize: "small", withCrossShrink: true },
    { weight: 3, arbitrary: operand },
    { weight: 6, arbitrary: simpleTest },
    { weight: 1, arbitrary: fc.record({ $not: simpleTest }) },
    { weight: 2, arbitrary: fc.record({ $elemMatch: fc.oneof(tie("inner"), simpleTest) }) },
    { weight: 1, arbitrary: fc.record({ $not: fc.record({ $elemMatch: tie("inner") }) }) },
    { weight: 1, arbitrary: fc.record({ $all: fc.array(operand, { maxLength: 2 }) }) },
  ),
})).query as fc.Arbitrary<Doc>;

/** Writes the documents as jobs, columns and rows beside in step, in place of those before. */
async function fill(store: Store, documents: readonly Doc[]): Promise<void> {
  await store.transaction(async (tx) => {
    await tx.db.deleteFrom("jobs").execute();
    await tx.db.deleteFrom("job_claims").execute();
    for (const document of documents) {
      const id = document["id"] as string;
      const objectId = (document["config"] as JsonObject)["object_id"];
      const claims = document["claims"] as unknown as JobClaim[] | undefined;
      await tx.db
        .insertInto("jobs")
        .values({
          id,
          doc: JSON.stringify(document),
          workflow_id: (document["workflow"] as { id: string }).id,
          created_at: 0,
          object_id: typeof objectId === "string" ? objectId : null,
          odd_object: Array.isArray(objectId) ? 1 : 0,
          ...claimColumns(claims),
          state: "READY",
          phase: "none",
          status: "PENDING",
          state_since: 0,
          updated_at: 0,
          claims_policy: "nmdc",
          attempt: 0,
          epoch: 0,
          bound: 0,
          report_seq: 0,
          tags: "{}",
          parents: "[]",
          priority: 0,
        })
        .execute();
      const rows = claimRows(id, claims ?? []);
      if (rows.length > 0) await tx.db.insertInto("job_claims").values(rows).execute();
    }
  });
}

async function idsOf(store: Store, parsed: Query): Promise<string[]> {
  const { where, exact } = compileQuery(parsed, collections.jobs, store.kind);
  const rows = await store.db.selectFrom("jobs").select(["id", "doc"]).where(where).orderBy("id").execute();
  return rows.filter((row) => exact || matches(parsed, JSON.parse(row.doc) as JsonObject)).map((row) => row.id);
}

describeStores("filters", (place) => {
  test("compiled SQL finds what the rules say, for any documents and queries", fuzzing, async () => {
    await using store = await place().open();
    const run = fc.asyncProperty(
      fc.array(jobDocument, { minLength: 4, maxLength: 10 }),
      fc.array(query, { minLength: 10, maxLength: 30 }),
      async (bodies, queries) => {
        const documents = bodies.map((body, index) => ({ id: `j${index}`, ...body }));
        await fill(store, documents);
        for (const one of queries) {
          const expected = documents.filter((document) => oracle(one, document)).map((document) => document.id);
          const parsed = parseQuery(one as JsonObject);
          expect(await idsOf(store, parsed), JSON.stringify(one)).toEqual(expected);
          const inProcess = documents.filter((document) => matches(parsed, document as unknown as JsonObject));
          expect(
            inProcess.map((document) => document.id),
            JSON.stringify(one),
          ).toEqual(expected);
        }
      },
    );
    await fc.assert(run, { ...fuzz(100), endOnFailure: true });
  });

  test("a mangled filter is refused with BAD_FILTER, or finds what it says", fuzzing, async () => {
    await using store = await place().open();
    const noise = fc.constantFrom(
      "{",
      "}",
      "[",
      "]",
      ",",
      ":",
      '"',
      "$",
      "$or",
      "$where",
      "$expr",
      ".",
      "null",
      "-1",
      "1e999",
      "\\u0000",
      "\ud800",
      "__proto__",
    );
    const edit = fc.tuple(
      fc.nat({ max: 400 }),
      fc.nat({ max: 6 }),
      fc.oneof(noise, fc.string({ unit: "binary", maxLength: 3 })),
    );
    const run = fc.asyncProperty(
      fc.array(jobDocument, { minLength: 2, maxLength: 4 }),
      fc.array(fc.tuple(query, fc.array(edit, { maxLength: 2 })), { minLength: 10, maxLength: 20 }),
      async (bodies, mangled) => {
        const documents = bodies.map((body, index) => ({ id: `j${index}`, ...body }));
        await fill(store, documents);
        for (const [one, edits] of mangled) {
          let text = JSON.stringify(one);
          for (const [at, cut, put] of edits)
            text = text.slice(0, at % text.length) + put + text.slice((at % text.length) + cut);
          let parsed: Query | undefined;
          try {
            parsed = parseFilter(text);
          } catch (error) {
            expect(isFault(error, "BAD_FILTER"), `${text}: ${String(error)}`).toBe(true);
          }
          if (parsed === undefined) continue;
          const asked = parsed;
          const expected = documents
            .filter((document) => matches(asked, document as unknown as JsonObject))
            .map(({ id }) => id);
          expect(await idsOf(store, asked), text).toEqual(expected);
        }
      },
    );
    await fc.assert(run, { ...fuzz(40), endOnFailure: true });
  });

  test("no text in a filter becomes SQL", async () => {
    await using store = await place().open();
    await fill(store, [{ id: "j0", workflow: { id: "w" }, config: { a: "'; DROP TABLE jobs; --" } }]);
    const nasty = ["'; DROP TABLE jobs; --", '"; --', "$1", "?", "\\", "'||'", "%", "a') OR (1=1"];
    for (const text of nasty) {
      const found = await idsOf(store, parseQuery({ "config.a": text }));
      expect(found).toEqual(text === "'; DROP TABLE jobs; --" ? ["j0"] : []);
      for (const filter of [
        { [text]: 1 },
        { [`config.${text}`]: 1 },
        { config: { [text]: 1 } },
        { a: { $regex: text } },
      ]) {
        try {
          expect(await idsOf(store, parseQuery(filter))).toEqual([]);
        } catch (error) {
          expect(isFault(error, "BAD_FILTER"), String(error)).toBe(true);
        }
      }
    }
  });

  test("a pattern that would keep a backtracking engine busy for ever takes no time", async () => {
    await using store = await place().open();
    await fill(store, [{ id: "j0", workflow: { id: "w" }, config: { a: "a".repeat(30_000) } }]);
    const started = performance.now();
    const parsed = parseFilter('{"config.a": {"$regex": "^(a+)+$"}, "workflow.id": {"$regex": "(w*)*$"}}');
    expect(parsed && (await idsOf(store, parsed))).toEqual(["j0"]);
    expect(await idsOf(store, parseQuery({ "config.a": { $regex: "^(a+)+b$" } }))).toEqual([]);
    expect(performance.now() - started).toBeLessThan(5_000);
  });
});
