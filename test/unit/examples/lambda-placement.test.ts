import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { buildIndex, Depth, placeRead, summarizeDepth, windows } from "../../../examples/lambda/lib/placement.mjs";
import { encode, reverseComplement } from "../../../examples/lambda/lib/sequence.mjs";

// 60 bases in which no run of 8 occurs twice, on neither strand.
const genome = "GGGCGGCGACCTCGCGGGTTTTCGCTATTTATGAAAATTTTCCGGTTTAAGGCGTTTCCG";
const index = buildIndex(encode(genome), 8);

function place(read: string, maxMismatch = 0.1): ReturnType<typeof placeRead> {
  return placeRead(index, encode(read), { maxMismatch });
}

function changed(sequence: string, at: number, base: string): string {
  return sequence.slice(0, at) + base + sequence.slice(at + 1);
}

describe("placing a read", () => {
  const read = genome.slice(20, 44);

  it("finds every window of the genome on both strands", () => {
    for (let start = 0; start + 20 <= genome.length; start += 1) {
      const window = genome.slice(start, start + 20);
      expect(place(window)).toEqual({ kind: "placed", start, strand: "+", mismatches: 0 });
      expect(place(reverseComplement(window))).toEqual({ kind: "placed", start, strand: "-", mismatches: 0 });
    }
  });

  it("counts mismatches up to the limit and refuses more", () => {
    const one = changed(read, 20, read[20] === "A" ? "C" : "A");
    const two = changed(one, 22, one[22] === "A" ? "C" : "A");
    const three = changed(two, 10, two[10] === "A" ? "C" : "A");
    expect(place(one)).toMatchObject({ start: 20, mismatches: 1 });
    expect(place(two)).toMatchObject({ start: 20, mismatches: 2 });
    expect(place(three)).toEqual({ kind: "unplaced" });
    expect(place(three, 0.13)).toMatchObject({ start: 20, mismatches: 3 });
  });

  it("does not count unknown bases, but wants half of the read known", () => {
    expect(place(`${read.slice(0, 12)}${"N".repeat(12)}`)).toMatchObject({ start: 20, mismatches: 0 });
    expect(place(`${read.slice(0, 11)}${"N".repeat(13)}`)).toEqual({ kind: "unplaced" });
  });

  it("places nothing over the ends of the genome", () => {
    expect(place(`AC${genome.slice(0, 22)}`)).toEqual({ kind: "unplaced" });
    expect(place(`${genome.slice(-22)}AC`)).toEqual({ kind: "unplaced" });
  });

  it("calls a read ambiguous that fits two places equally, and takes the better of two unequal ones", () => {
    const unit = genome.slice(0, 20);
    const other = changed(unit, 18, unit[18] === "A" ? "C" : "A");
    const twice = buildIndex(encode(`${unit}TTTTT${unit}`), 8);
    const nearly = buildIndex(encode(`${other}TTTTT${unit}`), 8);
    expect(placeRead(twice, encode(unit), { maxMismatch: 0.1 })).toEqual({ kind: "ambiguous" });
    expect(placeRead(nearly, encode(unit), { maxMismatch: 0.1 })).toMatchObject({ start: 25, mismatches: 0 });
  });

  it("sees a read that is its own reverse complement on two strands", () => {
    const palindrome = "ACCTGATCAGGT";
    const both = buildIndex(encode(`GGGGGG${palindrome}AAAAAA`), 8);
    expect(placeRead(both, encode(palindrome), { maxMismatch: 0 })).toEqual({ kind: "ambiguous" });
  });
});

describe("coverage", () => {
  it("gives the depth of a tiny genome position by position", () => {
    const depth = new Depth(10);
    depth.add(0, 4);
    depth.add(2, 4);
    depth.add(8, 2);
    const positions = depth.positions();
    expect([...positions]).toEqual([1, 1, 2, 2, 1, 1, 0, 0, 1, 1]);
    expect(summarizeDepth(positions)).toEqual({
      min: 0,
      mean: 1,
      max: 2,
      covered_positions: 8,
      breadth: 0.8,
      breadth_5x: 0,
    });
    expect(windows(positions, encode("GGCCAATTNG"), 4)).toEqual([
      { start: 1, end: 4, min: 1, mean: 1.5, max: 2, covered: 4, gc: 1 },
      { start: 5, end: 8, min: 0, mean: 0.5, max: 1, covered: 2, gc: 0 },
      { start: 9, end: 10, min: 1, mean: 1, max: 1, covered: 2, gc: 1 },
    ]);
  });

  it("agrees with counting at every position", () => {
    const reads = fc.array(fc.tuple(fc.nat(29), fc.integer({ min: 1, max: 20 })));
    fc.assert(
      fc.property(reads, (drawn) => {
        const inside = drawn.filter(([start, length]) => start + length <= 30);
        const depth = new Depth(30);
        for (const [start, length] of inside) depth.add(start, length);
        const counted = Array.from(
          { length: 30 },
          (_, at) => inside.filter(([start, length]) => start <= at && at < start + length).length,
        );
        expect([...depth.positions()]).toEqual(counted);
      }),
    );
  });
});
