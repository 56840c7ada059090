import fc from "fast-check";
import { expect, it } from "vitest";
import { editDistance, nearest, quoted } from "../../../src/common/nearest.ts";

it.each([
  ["comand", "command"],
  ["retrry", "retry"],
  ["tragets", "targets"],
  ["Polcy", "policy"],
  ["x", undefined],
  ["completely-different", undefined],
])("finds for '%s' the word '%s'", (word, expected) => {
  expect(nearest(word, ["command", "retry", "targets", "policy"])).toBe(expected);
});

it("counts a swap of neighbours as one step, and is the same both ways", () => {
  expect(editDistance("ab", "ba")).toBe(1);
  expect(editDistance("", "abc")).toBe(3);
  const word = fc.string({ maxLength: 12 });
  fc.assert(
    fc.property(word, word, (a, b) => {
      expect(editDistance(a, b)).toBe(editDistance(b, a));
      expect(editDistance(a, b) === 0).toBe(a === b);
      expect(editDistance(a, b)).toBeLessThanOrEqual(Math.max(a.length, b.length));
    }),
  );
});

it("puts any value on one short line without signs that a terminal obeys", () => {
  expect(quoted("a\u001b[31m\nb")).toBe("'a\\u001b[31m\\u000ab'");
  expect(quoted("x".repeat(500))).toBe(`'${"x".repeat(80)}…'`);
  expect(quoted({ a: 1 })).toBe(`'{"a":1}'`);
  fc.assert(
    fc.property(fc.string({ unit: "binary" }), (text) => {
      expect(quoted(text)).not.toMatch(/\p{Cc}|\p{Cs}|\u202e/u);
    }),
  );
});
