import { expect, test } from "vitest";
import { retryAfterMs, utcMs } from "../../../src/central/times.ts";

const noon = Date.UTC(2026, 2, 1, 12);

test.each([
  ["2026-03-01T10:00:00.123456Z", Date.UTC(2026, 2, 1, 10, 0, 0, 123)],
  ["2026-03-01T10:00:00.123000", Date.UTC(2026, 2, 1, 10, 0, 0, 123)],
  ["2021-09-09T00:00:00", Date.UTC(2021, 8, 9)],
  ["2026-03-01T10:00:00.123456+00:00", Date.UTC(2026, 2, 1, 10, 0, 0, 123)],
  ["2026-03-01T10:00:00+02:00", Date.UTC(2026, 2, 1, 8)],
  ["2026-03-01 10:00:00", Date.UTC(2026, 2, 1, 10)],
  ["yesterday", undefined],
  ["", undefined],
  ["2026-13-01T10:00:00", undefined],
])("reads the time '%s' as UTC", (text, expected) => {
  expect(utcMs(text)).toBe(expected);
});

test.each([
  ["120", 120_000],
  ["0", 1_000],
  ["Sun, 01 Mar 2026 12:02:00 GMT", 120_000],
  ["1000000000", 900_000],
  ["99999999999999999999999999999999", 900_000],
  ["Sun, 01 Mar 2099 12:02:00 GMT", 900_000],
  ["Sun, 01 Mar 2026 11:00:00 GMT", undefined],
  ["-1", undefined],
  ["1e9", undefined],
  ["1.5", undefined],
  ["soon", undefined],
  ["", undefined],
  [undefined, undefined],
])("reads Retry-After '%s'", (header, expected) => {
  expect(retryAfterMs(header, noon, () => 0)).toBe(expected);
});

test("adds up to a fifth, so that not all come back at once", () => {
  expect(retryAfterMs("120", noon, () => 0.999999)).toBe(144_000);
  expect(retryAfterMs("120", noon, () => 0.5)).toBe(132_000);
});
