import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { countKmers, frequentKmers, spectrum } from "../../../examples/lambda/lib/kmers.mjs";

const complement: Readonly<Record<string, string>> = { A: "T", C: "G", G: "C", T: "A", N: "N" };

function reversed(sequence: string): string {
  return Array.from(sequence)
    .toReversed()
    .map((base) => complement[base] ?? "?")
    .join("");
}

/** The definition, word for word: every window without N, under the smaller of itself and its reverse complement. */
function countedPlainly(sequence: string, k: number): Map<string, number> {
  const counts = new Map<string, number>();
  for (let start = 0; start + k <= sequence.length; start += 1) {
    const word = sequence.slice(start, start + k);
    if (word.includes("N")) continue;
    const canonical = [word, reversed(word)].toSorted()[0] ?? word;
    counts.set(canonical, (counts.get(canonical) ?? 0) + 1);
  }
  return counts;
}

const sequences = fc
  .array(fc.constantFrom("A", "C", "G", "T", "A", "C", "G", "T", "N"), { maxLength: 60 })
  .map((bases) => bases.join(""));

describe("counting k-mers", () => {
  it("counts a word and its reverse complement as one", () => {
    // Windows AAC, ACG, CGT, GTT; GTT is AAC and CGT is ACG read on the other strand.
    expect(countKmers("AACGTT", 3)).toEqual(
      new Map([
        ["AAC", 2],
        ["ACG", 2],
      ]),
    );
  });

  it("leaves out words with an unknown base", () => {
    expect([...countKmers("AAANCCC", 3)]).toEqual([
      ["AAA", 1],
      ["CCC", 1],
    ]);
    expect(countKmers("AANAA", 3).size).toBe(0);
  });

  it("finds nothing in a sequence shorter than k", () => {
    expect(countKmers("ACG", 4).size).toBe(0);
  });

  it("agrees with the definition and does not see the strand", () => {
    fc.assert(
      fc.property(sequences, fc.integer({ min: 3, max: 9 }), (sequence, k) => {
        const counts = countKmers(sequence, k);
        expect(counts).toEqual(countedPlainly(sequence, k));
        expect(countKmers(reversed(sequence), k)).toEqual(counts);
      }),
    );
  });
});

describe("spectrum", () => {
  it("groups words by how often they were seen and asks the genome for each", () => {
    const counts = new Map([
      ["AAA", 3],
      ["AAC", 1],
      ["AAG", 1],
      ["ACA", 3],
    ]);
    expect(
      spectrum(
        counts,
        new Map([
          ["AAA", 1],
          ["AAC", 9],
        ]),
      ),
    ).toEqual([
      { times: 1, distinct: 2, inGenome: 1 },
      { times: 3, distinct: 2, inGenome: 1 },
    ]);
    expect(frequentKmers(counts, 2)).toEqual([
      ["AAA", 3],
      ["ACA", 3],
    ]);
  });
});
