import { expect, test } from "vitest";
import { complainAbout, complaintText } from "../../../src/hub/filter/python-json.ts";

/** What CPython's json.loads says of each. */
const known: readonly (readonly [string, string])[] = [
  ["", "Expecting value: line 1 column 1 (char 0)"],
  ["{", "Expecting property name enclosed in double quotes: line 1 column 2 (char 1)"],
  ["{'a': 1}", "Expecting property name enclosed in double quotes: line 1 column 2 (char 1)"],
  ['{"a"}', "Expecting ':' delimiter: line 1 column 5 (char 4)"],
  ['{"a": }', "Expecting value: line 1 column 7 (char 6)"],
  ['{"a": 1,}', "Expecting property name enclosed in double quotes: line 1 column 9 (char 8)"],
  ['{"a": 1 "b"}', "Expecting ',' delimiter: line 1 column 9 (char 8)"],
  ['{"a": 1}{"b": 2}', "Extra data: line 1 column 9 (char 8)"],
  ["[1, 2", "Expecting ',' delimiter: line 1 column 6 (char 5)"],
  ["[1,]", "Expecting value: line 1 column 4 (char 3)"],
  ['"abc', "Unterminated string starting at: line 1 column 1 (char 0)"],
  ['"a\\x"', "Invalid \\escape: line 1 column 3 (char 2)"],
  ['"a\\u12g4"', "Invalid \\uXXXX escape: line 1 column 4 (char 3)"],
  ['{"a": "x\ny"}', "Invalid control character at: line 1 column 9 (char 8)"],
  ['{\n  "a": 1,\n  b\n}', "Expecting property name enclosed in double quotes: line 3 column 3 (char 14)"],
  ['["🧬", x]', "Expecting value: line 1 column 7 (char 6)"],
  ["01", "Extra data: line 1 column 2 (char 1)"],
];

test.each(known)("%j", (text, complaint) => {
  expect(complaintText(text)).toBe(complaint);
});

test("text nested without end gets an answer, too", () => {
  expect(complainAbout("[".repeat(100_000)).message).toBe("Expecting value");
});
