import { expect, test } from "vitest";
import { isFault } from "../../../src/common/fault.ts";
import { longestPattern, packRegex, regexTest } from "../../../src/hub/filter/regex.ts";

test("finds anywhere, with the options", () => {
  expect(regexTest(packRegex("b", ""), "abc")).toBe(true);
  expect(regexTest(packRegex("^B$", ""), "b")).toBe(false);
  expect(regexTest(packRegex("^B$", "i"), "b")).toBe(true);
  expect(regexTest(packRegex("^b$", ""), "a\nb")).toBe(false);
  expect(regexTest(packRegex("^b$", "m"), "a\nb")).toBe(true);
  expect(regexTest(packRegex("a.b", ""), "a\nb")).toBe(false);
  expect(regexTest(packRegex("a.b", "s"), "a\nb")).toBe(true);
  expect(regexTest(packRegex("a b # why\n c[ #]", "x"), "abc#")).toBe(true);
  expect(regexTest(packRegex("a/b", "i"), "A/B")).toBe(true);
});

test("what is not linear, too long or too large is refused", () => {
  const bad = ["(", "(?=a)", "(a)\\1", "a".repeat(longestPattern + 1), "((a{100}){100}){100}", "(?:x{1000}){1000}"];
  for (const source of bad) {
    expect(() => packRegex(source, ""), source.slice(0, 30)).toThrow(expect.objectContaining({ code: "BAD_FILTER" }));
  }
  expect(() => packRegex("a", "q")).toThrow(/'q'/);
  try {
    packRegex("(", "");
  } catch (error) {
    expect(isFault(error, "BAD_FILTER") && error.hint).toMatch(/RE2/);
  }
});

test("time grows with the length of the text, not faster", () => {
  const packed = packRegex("^(([a-z])+.)+[A-Z]([a-z])+$", "");
  const started = performance.now();
  expect(regexTest(packed, "a".repeat(20_000))).toBe(false);
  expect(performance.now() - started).toBeLessThan(2_000);
});
