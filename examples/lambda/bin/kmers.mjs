#!/usr/bin/env node
// Step 2: which words of k bases the reads contain, how often, and how many of them the genome knows.
import { join } from "node:path";
import { requireDirectory, runStep, say } from "../lib/command.mjs";
import { tsv, writeJson, writeText } from "../lib/files.mjs";
import { readFastq, readGenome } from "../lib/formats.mjs";
import { countKmers, frequentKmers, spectrum } from "../lib/kmers.mjs";
import { rounded } from "../lib/sequence.mjs";

const usage = `Usage: kmers.mjs --reads FILE --genome FILE [--out DIR] [--kmer N] [--min-count N]

Counts canonical k-mers of reads (a word and its reverse complement are one; words with N do not count).

  --reads FILE      FASTQ, plain or gzipped
  --genome FILE     FASTA with one sequence, plain or gzipped
  --out DIR         where kmers.json, kmers.tsv and spectrum.tsv go (default: .)
  --kmer N          bases of a word, 3 to 63 (default: 21)
  --min-count N     list the words seen at least N times in kmers.tsv (default: 2)

Exit codes: 0 done, 64 wrong options, 65 bad data, 66 no such input, 74 output cannot be written.
`;

const options = {
  reads: {},
  genome: {},
  out: { default: "." },
  kmer: { integer: true, range: [3, 63], default: "21" },
  "min-count": { integer: true, range: [1, 1000000], default: "2" },
};

function add(rows, from, key) {
  return rows.reduce((sum, row) => sum + (row.times >= from ? key(row) : 0), 0);
}

async function main(values) {
  await requireDirectory(values.out);
  const { kmer: k, "min-count": minCount } = values;
  const genomeKmers = countKmers((await readGenome(values.genome)).sequence, k);
  const counts = new Map();
  for await (const batch of readFastq(values.reads)) {
    for (const read of batch) countKmers(read.sequence, k, counts);
  }
  const rows = spectrum(counts, genomeKmers);
  const frequent = frequentKmers(counts, minCount);
  const distinctInGenome = add(rows, 1, (row) => row.inGenome);
  const result = {
    k,
    total: add(rows, 1, (row) => row.times * row.distinct),
    distinct: counts.size,
    seen_once: rows.find((row) => row.times === 1)?.distinct ?? 0,
    most_frequent: rows.at(-1)?.times ?? 0,
    distinct_in_genome: distinctInGenome,
    repeated: add(rows, 2, (row) => row.distinct),
    repeated_in_genome: add(rows, 2, (row) => row.inGenome),
    genome_distinct: genomeKmers.size,
    genome_share_seen: genomeKmers.size === 0 ? 0 : rounded(distinctInGenome / genomeKmers.size, 6),
  };
  await writeText(
    join(values.out, "kmers.tsv"),
    tsv(
      ["kmer", "count", "in_genome"],
      frequent.map(([kmer, times]) => [kmer, times, genomeKmers.has(kmer) ? 1 : 0]),
    ),
  );
  await writeText(
    join(values.out, "spectrum.tsv"),
    tsv(
      ["times_seen", "distinct_kmers", "of_them_in_genome"],
      rows.map((row) => [row.times, row.distinct, row.inGenome]),
    ),
  );
  await writeJson(join(values.out, "kmers.json"), result);
  say("kmers", `${result.total} words of ${k} bases, ${result.distinct} different, ${distinctInGenome} of the genome`);
}

await runStep("kmers", usage, options, main);
