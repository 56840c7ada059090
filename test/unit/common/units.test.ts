import fc from "fast-check";
import { expect, it } from "vitest";
import { isToken, newToken } from "../../../src/common/token.ts";
import { formatDuration, formatSize, parseDuration, parseSize } from "../../../src/common/units.ts";

it.each<[string, number | undefined]>([
  ["250ms", 250],
  ["10s", 10_000],
  ["1h30m", 5_400_000],
  ["1.5h", 5_400_000],
  ["2d", 172_800_000],
  ["1-02:00:00", 93_600_000],
  ["00:00:30", 30_000],
  ["90", undefined],
  ["", undefined],
  ["1 parsec", undefined],
  ["-5s", undefined],
  ["1:2:3", undefined],
])("reads the duration '%s' as %s ms", (text, ms) => {
  expect(parseDuration(text)).toBe(ms);
});

it.each<[string, number | undefined]>([
  ["512", 512],
  ["8KiB", 8192],
  ["8k", 8192],
  ["1.5 GB", 1_500_000_000],
  ["2GiB", 2 * 2 ** 30],
  ["1e3", undefined],
  ["-1", undefined],
  ["5 stone", undefined],
  ["9999999999 TiB", undefined],
])("reads the size '%s' as %s bytes", (text, bytes) => {
  expect(parseSize(text)).toBe(bytes);
});

it("reads back what it formats, to the precision that is shown", () => {
  fc.assert(
    fc.property(fc.nat({ max: 2 ** 31 - 1 }), fc.nat({ max: 4 * 2 ** 40 }), (ms, bytes) => {
      expect(Math.abs((parseDuration(formatDuration(ms)) ?? NaN) - ms)).toBeLessThanOrEqual(Math.max(500, ms / 24));
      expect(Math.abs((parseSize(formatSize(bytes)) ?? NaN) - bytes)).toBeLessThanOrEqual(bytes / 100);
    }),
  );
  for (const text of ["1h 5m", "12s", "340ms", "3d 2h"]) expect(formatDuration(parseDuration(text) ?? 0)).toBe(text);
});

it("never throws, and gives whole numbers or nothing", () => {
  fc.assert(
    fc.property(fc.string(), (text) => {
      for (const value of [parseDuration(text), parseSize(text)]) {
        if (value !== undefined) expect(Number.isSafeInteger(value) && value >= 0).toBe(true);
      }
    }),
  );
});

it("makes tokens that schedulers and paths take", () => {
  const tokens = new Set(Array.from({ length: 1000 }, () => newToken()));
  expect(tokens.size).toBe(1000);
  for (const token of tokens) expect(isToken(token)).toBe(true);
  for (const text of ["", "1abcdefghijklmn", "abcdefghijklmn", "abcdefghijklmnoP", "../abcdefghijkl"])
    expect(isToken(text)).toBe(false);
});
