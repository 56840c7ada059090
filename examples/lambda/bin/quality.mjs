#!/usr/bin/env node
// Step 1: statistics of the reads as they come, and the reads that are good enough for the next steps.
import { join } from "node:path";
import { requireDirectory, runStep, say } from "../lib/command.mjs";
import { ExitError, exitCodes, writeGzip, writeJson } from "../lib/files.mjs";
import { readFastq } from "../lib/formats.mjs";
import { ReadStatistics, rejection } from "../lib/quality.mjs";

const usage = `Usage: quality.mjs --reads FILE [--reads FILE]… [--out DIR] [--min-quality N] [--min-length N]

Counts, GC content, lengths and qualities of FASTQ reads (plain or gzipped), and a filter.

  --reads FILE      FASTQ with Phred+33 qualities; may be given several times
  --out DIR         where quality.json and filtered.fastq.gz go (default: .)
  --min-quality N   leave out reads with a mean Phred score below N, 0 to 60 (default: 15)
  --min-length N    leave out reads shorter than N bases (default: 30)

Exit codes: 0 done, 64 wrong options, 65 bad data, 66 no such input, 74 output cannot be written.
`;

const options = {
  reads: { multiple: true },
  out: { default: "." },
  "min-quality": { integer: true, range: [0, 60], default: "15" },
  "min-length": { integer: true, range: [1, 100000], default: "30" },
};

async function main(values) {
  await requireDirectory(values.out);
  const limits = { minQuality: values["min-quality"], minLength: values["min-length"] };
  const all = new ReadStatistics();
  const kept = new ReadStatistics();
  const rejected = { short: 0, quality: 0 };

  async function* filtered() {
    for (const path of values.reads) {
      for await (const batch of readFastq(path)) {
        let text = "";
        for (const read of batch) {
          all.add(read);
          const reason = rejection(read, limits);
          if (reason === undefined) {
            kept.add(read);
            text += `@${read.name}\n${read.sequence}\n+\n${read.quality}\n`;
          } else {
            rejected[reason] += 1;
          }
        }
        if (text !== "") yield text;
      }
    }
  }

  await writeGzip(join(values.out, "filtered.fastq.gz"), filtered());
  if (kept.summary().reads === 0) {
    const wanted = `mean quality of ${limits.minQuality} and more, ${limits.minLength} bases and more`;
    throw new ExitError(
      exitCodes.data,
      `'${values.reads.join("', '")}': none of the reads passes the filter (${wanted})`,
    );
  }
  const result = {
    min_quality: limits.minQuality,
    min_length: limits.minLength,
    all: all.summary(),
    kept: kept.summary(),
    rejected_short: rejected.short,
    rejected_quality: rejected.quality,
    distributions: all.distributions(),
  };
  await writeJson(join(values.out, "quality.json"), result);
  say("quality", `${result.all.reads} reads, ${result.all.bases} bases; ${result.kept.reads} reads kept`);
}

await runStep("quality", usage, options, main);
