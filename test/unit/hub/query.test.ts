import { expect, test } from "vitest";
import { parseFilter, parseQuery } from "../../../src/hub/filter/query.ts";
import { matches } from "../../../src/hub/filter/match.ts";
import { collections } from "../../../src/hub/filter/collections.ts";
import { compileQuery } from "../../../src/hub/filter/sql.ts";

test("no filter, an empty one, and one with blanks around it", () => {
  expect(parseFilter(undefined)).toBeUndefined();
  expect(parseFilter("")).toBeUndefined();
  expect(parseFilter(" {} \n")).toEqual({ op: "and", of: [] });
});

test.each([
  ["[]", "The given `filter` is not a valid JSON object, which must start with '{' and end with '}'."],
  ["  ", "The given `filter` is not a valid JSON object, which must start with '{' and end with '}'."],
  ['{"a": }', "Given `filter` is not valid JSON: Expecting value: line 1 column 7 (char 6)"],
])("%j is refused in the contract's words", (text, words) => {
  expect(() => parseFilter(text)).toThrow(expect.objectContaining({ code: "BAD_FILTER", message: words }));
});

test.each([
  [{ "a.b": null }, { a: [{}, { b: 1 }] }, true],
  [{ "a.b": null }, { a: [1, 2] }, false],
  [{ "a.b": null }, { a: 1 }, true],
  [{ "a.0": 1 }, { a: [1, 2] }, true],
  [{ a: { $date: "2026-01-01T00:00:00Z" } }, { a: { $date: Date.parse("2026-01-01") } }, true],
  [{ a: { $gt: { $date: 0 } } }, { a: "2026-01-01" }, false],
  [{ a: { $in: [{ $regex: "^b" }] } }, { a: "bc" }, true],
  [{ a: { $not: { $regex: "^b" } } }, { a: "bc" }, false],
  [{ a: { $regularExpression: { pattern: "B", options: "i" } } }, { a: ["b"] }, true],
  [{ a: { $numberLong: "5" } }, { a: 5 }, true],
  [{ $comment: "x" }, {}, true],
  [{ a: { x: 1, y: 2 } }, { a: { y: 2, x: 1 } }, true],
])("%j on %j: %s", (query, document, expected) => {
  expect(matches(parseQuery(query), document)).toBe(expected);
});

test("what the known clients ask often is decided by columns alone", () => {
  const production = {
    $and: [
      { "workflow.id": { $in: ["a", "b"] } },
      { $or: [{ claims: { $size: 0 } }, { claims: { $not: { $elemMatch: { cancelled: { $ne: true } } } } }] },
    ],
  };
  const asked = [
    production,
    { "claims.site_id": { $ne: "lab-a" } },
    { id: "x" },
    { "workflow.id": { $regex: "^a" } },
    { "claims.op_id": "x" },
  ];
  for (const query of asked) {
    const { where, exact, columnsOnly } = compileQuery(parseQuery(query), collections.jobs, "sqlite");
    const text = JSON.stringify(where.toOperationNode());
    expect([exact, columnsOnly]).toEqual([true, true]);
    expect(text).not.toMatch(/json_each|json_type|\bdoc\b/);
  }
});

test("a regular expression narrows on PostgreSQL and is left to the process", () => {
  const query = parseQuery({ "config.a": { $regex: "x" } });
  expect(compileQuery(query, collections.jobs, "postgres").exact).toBe(false);
  expect(compileQuery(query, collections.jobs, "sqlite").exact).toBe(true);
});
