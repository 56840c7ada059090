import { expect, it } from "vitest";
import { sampleOf, wholeBytes } from "../../../src/transfer/sftp/sample.ts";

it.each([wholeBytes + 1, 3_000_017, 2 ** 40 + 3])(
  "ranges of a file of %i bytes lie in it, apart, from its first byte to its last",
  (bytes) => {
    for (const random of [() => 0, () => 0.5, () => 0.999_999_999]) {
      const ranges = sampleOf(bytes, random);
      expect([ranges[0]?.offset, ranges.at(-1)?.end]).toEqual([0, bytes]);
      let before = 0;
      for (const { offset, end } of ranges) {
        expect(offset).toBeGreaterThanOrEqual(before);
        expect(end - offset).toBe(wholeBytes / ranges.length);
        before = end;
      }
    }
  },
);
