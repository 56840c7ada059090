import { expect, test } from "vitest";
import { naive, parseDateTime, utc } from "../../../src/hub/nmdc/times.ts";

test("the three shapes", () => {
  const ms = Date.parse("2026-03-01T10:00:00.123Z");
  expect(utc(ms)).toBe("2026-03-01T10:00:00.123000Z");
  expect(utc(ms - 123)).toBe("2026-03-01T10:00:00.000000Z");
  expect(naive(ms)).toBe("2026-03-01T10:00:00.123000");
  expect(naive(ms - 123)).toBe("2026-03-01T10:00:00");
});

const good: readonly (readonly [unknown, string, string])[] = [
  ["2026-03-01T10:00:00Z", "2026-03-01T10:00:00Z", "2026-03-01T10:00:00.000Z"],
  ["2026-03-01T10:00:00.5Z", "2026-03-01T10:00:00.500000Z", "2026-03-01T10:00:00.500Z"],
  ["2026-03-01T10:00:00.1234567z", "2026-03-01T10:00:00.123456Z", "2026-03-01T10:00:00.123Z"],
  ["2026-03-01T12:00:00+02:00", "2026-03-01T12:00:00+02:00", "2026-03-01T10:00:00.000Z"],
  ["2026-03-01 12:00:00-0230", "2026-03-01T12:00:00-02:30", "2026-03-01T14:30:00.000Z"],
  ["2026-03-01T12:00:00+00:00", "2026-03-01T12:00:00Z", "2026-03-01T12:00:00.000Z"],
  ["2026-03-01T12:00", "2026-03-01T12:00:00", "2026-03-01T12:00:00.000Z"],
  ["2026-03-01", "2026-03-01T00:00:00", "2026-03-01T00:00:00.000Z"],
  [1_772_359_200, "2026-03-01T10:00:00Z", "2026-03-01T10:00:00.000Z"],
  [1_772_359_200_500, "2026-03-01T10:00:00.500000Z", "2026-03-01T10:00:00.500Z"],
  ["1772359200", "2026-03-01T10:00:00Z", "2026-03-01T10:00:00.000Z"],
];

test.each(good)("reads %j", (value, text, iso) => {
  const parsed = parseDateTime(value);
  expect(parsed).toEqual({ text, at: Date.parse(iso) });
});

test.each([["yesterday"], ["2026-13-01"], ["2026-02-30"], ["2026-03-01T25:00:00Z"], [""], [Number.NaN]])(
  "refuses %j",
  (value) => {
    expect(parseDateTime(value)).toMatchObject({ type: "datetime_from_date_parsing" });
  },
);

test.each([[true], [null], [[]], [{}]])("refuses the type of %j", (value) => {
  expect(parseDateTime(value)).toMatchObject({ type: "datetime_type" });
});
