#!/usr/bin/env node
// Step 3: where the reads lie on the genome, and how often each position is covered.
import { join } from "node:path";
import { requireDirectory, runStep, say } from "../lib/command.mjs";
import { tsv, writeJson, writeText } from "../lib/files.mjs";
import { readFastq, readGenome } from "../lib/formats.mjs";
import { buildIndex, Depth, placeRead, summarizeDepth, windows } from "../lib/placement.mjs";
import { countBases, encode, gcShare, rounded } from "../lib/sequence.mjs";

const usage = `Usage: place.mjs --reads FILE --genome FILE [--out DIR] [--seed N] [--max-mismatch SHARE] [--window N]

Places reads on both strands of a genome by seed and extension without gaps, and measures coverage.

  --reads FILE          FASTQ, plain or gzipped
  --genome FILE         FASTA with one sequence, plain or gzipped
  --out DIR             where placement.json, placements.tsv and coverage.tsv go (default: .)
  --seed N              bases that must match exactly somewhere in the read, 8 to 15 (default: 13)
  --max-mismatch SHARE  share of a read's known bases that may differ, 0 to 0.5 (default: 0.1)
  --window N            positions in a row of coverage.tsv (default: 500)

Exit codes: 0 done, 64 wrong options, 65 bad data, 66 no such input, 74 output cannot be written.
`;

const options = {
  reads: {},
  genome: {},
  out: { default: "." },
  seed: { integer: true, range: [8, 15], default: "13" },
  "max-mismatch": { number: true, range: [0, 0.5], default: "0.1" },
  window: { integer: true, range: [1, 1000000], default: "500" },
};

async function placeAll(path, index, maxMismatch) {
  const depth = new Depth(index.genome.length);
  const counts = { placed: 0, ambiguous: 0, unplaced: 0 };
  const totals = { forward: 0, reverse: 0, bases: 0, mismatches: 0 };
  const rows = [];
  for await (const batch of readFastq(path)) {
    for (const read of batch) {
      const place = placeRead(index, encode(read.sequence), { maxMismatch });
      counts[place.kind] += 1;
      if (place.kind !== "placed") continue;
      const { length } = read.sequence;
      depth.add(place.start, length);
      totals[place.strand === "+" ? "forward" : "reverse"] += 1;
      totals.bases += length;
      totals.mismatches += place.mismatches;
      rows.push([read.name.split(/\s/)[0], place.start + 1, place.start + length, place.strand, place.mismatches]);
    }
  }
  return { depth: depth.positions(), counts, totals, rows };
}

async function main(values) {
  await requireDirectory(values.out);
  const genome = await readGenome(values.genome);
  const bases = encode(genome.sequence);
  const found = await placeAll(values.reads, buildIndex(bases, values.seed), values["max-mismatch"]);
  const { counts, totals } = found;
  const reads = counts.placed + counts.ambiguous + counts.unplaced;
  const coverage = summarizeDepth(found.depth);
  await writeText(
    join(values.out, "placements.tsv"),
    tsv(["read", "start", "end", "strand", "mismatches"], found.rows),
  );
  await writeText(
    join(values.out, "coverage.tsv"),
    tsv(
      ["start", "end", "min", "mean", "max", "covered", "gc"],
      windows(found.depth, bases, values.window).map(Object.values),
    ),
  );
  await writeJson(join(values.out, "placement.json"), {
    genome: {
      name: genome.name,
      description: genome.description,
      length: bases.length,
      gc: rounded(gcShare(countBases(genome.sequence)), 6),
    },
    seed: values.seed,
    max_mismatch: values["max-mismatch"],
    window: values.window,
    reads,
    ...counts,
    placed_share: rounded(counts.placed / reads, 6),
    forward: totals.forward,
    reverse: totals.reverse,
    placed_bases: totals.bases,
    mismatches: totals.mismatches,
    coverage,
  });
  say("place", `${counts.placed} of ${reads} reads placed, mean depth ${coverage.mean}, breadth ${coverage.breadth}`);
}

await runStep("place", usage, options, main);
