import fc from "fast-check";
import { expect, test } from "vitest";
import { deepestAnswer, deepestItem, hostility, parseStrictJson } from "../../../src/central/strict-json.ts";

test("parses what JSON.stringify writes", () => {
  fc.assert(
    fc.property(fc.jsonValue(), fc.constantFrom(0, 1, 2), (value, indent) => {
      const text = JSON.stringify(value, undefined, indent);
      expect(parseStrictJson(text)).toStrictEqual(JSON.parse(text));
    }),
  );
});

test.each([
  '{"a":1,"a":2}',
  '{"a":{"b":1,"c":[{"x":0,"x":0}]}}',
  String.raw`{"a":1,"\u0061":2}`,
  '{"":1,"" :2}',
  '{"a":"x","b":"a","a":1}',
])("refuses a member named twice: %s", (text) => {
  expect(() => parseStrictJson(text)).toThrow("twice");
});

test.each([
  '{"a":"a","b":"a"}',
  '[{"a":1},{"a":1}]',
  '{"a":{"a":{"a":"\\"a\\":"}}}',
  String.raw`{"\\":"\\","a":"\\\"" }`,
])("takes the same text in other places: %s", (text) => {
  expect(parseStrictJson(text)).toStrictEqual(JSON.parse(text));
});

test("refuses deep nesting without using the stack for it", () => {
  expect(parseStrictJson("[".repeat(deepestAnswer) + "]".repeat(deepestAnswer))).toBeDefined();
  expect(() => parseStrictJson("[".repeat(deepestAnswer + 1) + "]".repeat(deepestAnswer + 1))).toThrow("deeper");
  expect(() => parseStrictJson("[".repeat(5_000_000))).toThrow("deeper");
  expect(() => parseStrictJson('{"a":'.repeat(1_000_000))).toThrow("deeper");
});

test.each(["", "{", '{"a"', '"', "nul", "{]", '["a":1]', "<html></html>"])("refuses what is no JSON: %s", (text) => {
  expect(() => parseStrictJson(text)).toThrow(SyntaxError);
});

test("names what would reach into prototypes, at any depth, and leaves the prototype alone", () => {
  expect(hostility(parseStrictJson('{"a":[{"__proto__":{"polluted":1}}]}'))).toContain("__proto__");
  expect(hostility(parseStrictJson(String.raw`{"\u005f_proto__":1}`))).toContain("__proto__");
  expect(hostility({ a: { b: ["__proto__"] } })).toBeUndefined();
  expect({}).not.toHaveProperty("polluted");
  const deep = (depth: number): unknown => JSON.parse("[".repeat(depth) + "]".repeat(depth));
  expect(hostility(deep(deepestItem))).toBeUndefined();
  expect(hostility(deep(deepestItem + 1))).toContain("nested");
});
