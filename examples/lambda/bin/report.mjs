#!/usr/bin/env node
// Step 4: the numbers of the three steps before in one file for programs and one for people.
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { requireDirectory, runStep, say } from "../lib/command.mjs";
import { ExitError, exitCodes, writeJson, writeText } from "../lib/files.mjs";

const usage = `Usage: report.mjs --sample NAME [--in DIR] [--out DIR]

Joins quality.json, kmers.json and placement.json of one sample into report.json and summary.txt.

  --sample NAME   letters, digits, '_', '.' and '-', at most 64
  --in DIR        where the three files are (default: .)
  --out DIR       where the report goes (default: .)

Exit codes: 0 done, 64 wrong options, 65 bad data, 66 no such input, 74 output cannot be written.
`;

const options = {
  sample: { pattern: /^[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}$/ },
  in: { default: "." },
  out: { default: "." },
};

async function readStep(directory, name) {
  const path = join(directory, name);
  let text;
  try {
    text = await readFile(path, "utf8");
  } catch (error) {
    throw new ExitError(
      exitCodes.noInput,
      `cannot read '${path}': ${error.code === "ENOENT" ? "no such file" : error.message}`,
    );
  }
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new ExitError(exitCodes.data, `'${path}': not JSON: ${error.message}`);
  }
}

function percent(share) {
  return `${(share * 100).toFixed(2)} %`;
}

function summary({ sample, genome, reads, filter, kmers, placement, coverage }) {
  const lines = [
    ["sample", sample],
    ["genome", `${genome.name}, ${genome.length} bases, GC ${percent(genome.gc)}`],
    ["reads", `${reads.reads} with ${reads.bases} bases, length ${reads.min_length} to ${reads.max_length}`],
    ["quality", `mean ${reads.mean_quality}, GC ${percent(reads.gc)}, ${reads.unknown_bases} bases unknown`],
    [
      "kept",
      `${filter.kept.reads} (left out: ${filter.rejected_quality} by quality, ${filter.rejected_short} by length)`,
    ],
    [
      "k-mers",
      `${kmers.distinct} different of ${kmers.k} bases; ${percent(kmers.genome_share_seen)} of the genome's were seen`,
    ],
    [
      "placed",
      `${placement.placed} of ${placement.reads} (${placement.forward} forward, ${placement.reverse} reverse)`,
    ],
    ["depth", `min ${coverage.min}, mean ${coverage.mean}, max ${coverage.max}`],
    ["breadth", `${percent(coverage.breadth)} covered, ${percent(coverage.breadth_5x)} five times or more`],
  ];
  return lines.map(([name, text]) => `${name.padEnd(8)} ${text}\n`).join("");
}

async function main(values) {
  await requireDirectory(values.out);
  const quality = await readStep(values.in, "quality.json");
  const kmers = await readStep(values.in, "kmers.json");
  const { genome, seed, max_mismatch, window, coverage, ...placement } = await readStep(values.in, "placement.json");
  const { min_quality, min_length, all, kept, rejected_short, rejected_quality } = quality;
  const report = {
    program: "readqc",
    version: "1.0.0",
    sample: values.sample,
    parameters: { kmer: kmers.k, min_quality, min_length, seed, max_mismatch, window },
    genome,
    reads: all,
    filter: { kept, rejected_short, rejected_quality },
    kmers,
    placement,
    coverage,
  };
  await writeText(join(values.out, "summary.txt"), summary(report));
  await writeJson(join(values.out, "report.json"), report);
  say("report", `${values.sample} is done`);
}

await runStep("report", usage, options, main);
