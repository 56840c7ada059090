import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { gunzipSync } from "node:zlib";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { data, lambda, program, run, scratch, type Ended, type Scratch } from "./lambda-run.ts";

interface Record4 {
  readonly name: string;
  readonly sequence: string;
  readonly quality: string;
}

function textOf(path: string): string {
  const content = readFileSync(path);
  return path.endsWith(".gz") ? gunzipSync(content).toString("latin1") : content.toString("utf8");
}

function recordsOf(path: string): Record4[] {
  const lines = textOf(path).trimEnd().split("\n");
  return Array.from({ length: lines.length / 4 }, (_, at) => ({
    name: (lines[at * 4] ?? "").slice(1),
    sequence: lines[at * 4 + 1] ?? "",
    quality: lines[at * 4 + 3] ?? "",
  }));
}

function rowsOf(path: string): string[][] {
  const [, ...rows] = textOf(path)
    .trimEnd()
    .split("\n")
    .filter((line) => !line.startsWith("#"));
  return rows.map((row) => row.split("\t"));
}

function meanQuality({ quality }: Record4): number {
  return Buffer.from(quality, "latin1").reduce((sum, code) => sum + code - 33, 0) / quality.length;
}

const genome = textOf(data("lambda_virus.fa.gz")).split("\n").slice(1).join("");
const steps = ["quality", "kmers", "place", "report"];

describe("readqc on phage lambda", () => {
  let directory: Scratch;
  let ended: Ended;
  let out: (name: string) => string;
  let report: unknown;

  beforeAll(async () => {
    directory = await scratch();
    out = (name) => join(directory.path, "results", name);
    ended = await readqc("1", "results");
    expect(ended.stderr).toBe("");
    report = JSON.parse(textOf(out("report.json")));
  });
  afterAll(async () => {
    await directory[Symbol.asyncDispose]();
  });

  function readqc(mate: string, results: string): Promise<Ended> {
    const input = ["--reads", data(`reads_${mate}.fastq.gz`), "--genome", data("lambda_virus.fa.gz")];
    return run([program("readqc.sh"), ...input, "--sample", `lambda_${mate}`, "--out", join(directory.path, results)]);
  }

  it("ends well, tells its steps and leaves results only", () => {
    expect(ended.code).toBe(0);
    const started = ended.stdout.split("\n").filter((line) => line.startsWith("readqc: step"));
    expect(started).toEqual(steps.map((name, at) => `readqc: step ${at + 1} of 4: ${name}`));
    expect(readdirSync(join(directory.path, "results")).toSorted()).toEqual([
      "coverage.tsv",
      "filtered.fastq.gz",
      "kmers.json",
      "kmers.tsv",
      "placement.json",
      "placements.tsv",
      "quality.json",
      "report.json",
      "spectrum.tsv",
      "summary.txt",
    ]);
  });

  it("reports the known numbers of sample and genome", () => {
    expect(report).toMatchObject({
      sample: "lambda_1",
      parameters: { kmer: 21, min_quality: 15, min_length: 30, seed: 13, max_mismatch: 0.1, window: 500 },
      genome: { name: "gi|9626243|ref|NC_001416.1|", length: 48502, gc: 0.498577 },
      reads: { reads: 3000, bases: 323058, unknown_bases: 7339, gc: 0.4986, min_length: 40, max_length: 338 },
      filter: { kept: { reads: 2375, bases: 258073 }, rejected_short: 0, rejected_quality: 625 },
      kmers: { k: 21, total: 175950, distinct: 62380, distinct_in_genome: 44824, genome_distinct: 48482 },
      placement: { reads: 2375, placed: 2167, ambiguous: 0, unplaced: 208, forward: 1085, reverse: 1082 },
      coverage: { min: 0, mean: 4.7233, max: 15, covered_positions: 47287, breadth: 0.974949 },
    });
  });

  it("prints the summary that the README shows", () => {
    expect(textOf(join(lambda, "README.md"))).toContain(`\n${textOf(out("summary.txt"))}`);
  });

  it("has the genome's length and GC as counted by letters", () => {
    const gc = genome.replaceAll(/[AT]/g, "").length / genome.length;
    expect(genome.length).toBe(48502);
    expect(report).toMatchObject({ genome: { length: genome.length, gc: Number(gc.toFixed(6)) } });
  });

  it("counts and filters the reads as a second reading of the file does", () => {
    const reads = recordsOf(data("reads_1.fastq.gz"));
    const letters = reads.map(({ sequence }) => sequence).join("");
    const known = letters.replaceAll("N", "");
    const kept = reads.filter((read) => meanQuality(read) >= 15 && read.sequence.length >= 30);
    expect(report).toMatchObject({
      reads: {
        reads: reads.length,
        bases: letters.length,
        unknown_bases: letters.length - known.length,
        gc: Number((known.replaceAll(/[AT]/g, "").length / known.length).toFixed(4)),
      },
    });
    expect(recordsOf(out("filtered.fastq.gz"))).toEqual(kept);
  });

  it("counts k-mers as a plain count over both strands does", () => {
    const pair: Readonly<Record<string, string>> = { A: "T", C: "G", G: "C", T: "A" };
    const seen = new Map<string, number>();
    for (const { sequence } of recordsOf(out("filtered.fastq.gz"))) {
      for (let at = 0; at + 21 <= sequence.length; at += 1) {
        const word = sequence.slice(at, at + 21);
        if (!word.includes("N")) seen.set(word, (seen.get(word) ?? 0) + 1);
      }
    }
    const other = (word: string): string =>
      Array.from(word, (base) => pair[base] ?? "?")
        .toReversed()
        .join("");
    // 21 is odd, so no word is its own reverse complement, and both strands simply add up.
    const times = (word: string): number => (seen.get(word) ?? 0) + (seen.get(other(word)) ?? 0);
    const rows = rowsOf(out("kmers.tsv"));
    const canonical = new Set([...seen.keys()].map((word) => (word < other(word) ? word : other(word))));
    expect(rows.length).toBe([...canonical].filter((word) => times(word) >= 2).length);
    expect(rows.filter(([word = "", count]) => times(word) !== Number(count))).toEqual([]);
    const forward = new Set(Array.from({ length: genome.length - 20 }, (_, at) => genome.slice(at, at + 21)));
    const known = (word: string): string => (forward.has(word) || forward.has(other(word)) ? "1" : "0");
    expect(rows.filter(([word = "", , flag]) => known(word) !== flag)).toEqual([]);
    expect(report).toMatchObject({ kmers: { distinct: canonical.size } });
  });

  it("places every read where Bowtie 2 places it without a gap", () => {
    const here = new Map(rowsOf(out("placements.tsv")).map(([read, start, , strand]) => [read, `${strand} ${start}`]));
    const kept = new Set(recordsOf(out("filtered.fastq.gz")).map(({ name }) => name));
    const there = rowsOf(join(import.meta.dirname, "bowtie2-reads_1.tsv")).filter(([read = ""]) => kept.has(read));
    expect(there.length).toBeGreaterThan(2000);
    expect(there.filter(([read, strand, start]) => here.get(read) !== `${strand} ${start}`)).toEqual([]);
  });

  it("derives depth, breadth and windows from the places", () => {
    const depth = Array.from({ length: genome.length }, () => 0);
    for (const [, start, end] of rowsOf(out("placements.tsv"))) {
      for (let at = Number(start) - 1; at < Number(end); at += 1) depth[at] = (depth[at] ?? 0) + 1;
    }
    const covered = depth.filter((value) => value > 0).length;
    const sum = depth.reduce((total, value) => total + value, 0);
    expect(report).toMatchObject({
      coverage: {
        mean: Number((sum / depth.length).toFixed(4)),
        max: depth.toSorted((a, b) => b - a)[0],
        covered_positions: covered,
        breadth: Number((covered / depth.length).toFixed(6)),
      },
    });
    const rows = rowsOf(out("coverage.tsv")).map((row) => row.map(Number));
    expect(rows.length).toBe(98);
    expect(rows.at(-1)?.slice(0, 2)).toEqual([48501, 48502]);
    const third = depth.slice(1000, 1500);
    expect(rows[2]?.slice(0, 4)).toEqual([
      1001,
      1500,
      Math.min(...third),
      Number((third.reduce((total, value) => total + value, 0) / 500).toFixed(4)),
    ]);
  });

  it("gives the same bytes when it runs again", async () => {
    expect((await readqc("1", "again")).code).toBe(0);
    for (const name of readdirSync(join(directory.path, "results"))) {
      expect(readFileSync(join(directory.path, "again", name)).equals(readFileSync(out(name))), name).toBe(true);
    }
  });

  it("reports the second mates of the same pairs alike", async () => {
    expect((await readqc("2", "mates")).code).toBe(0);
    expect(JSON.parse(textOf(join(directory.path, "mates/report.json")))).toMatchObject({
      sample: "lambda_2",
      reads: { reads: 3000, bases: 325012 },
      filter: { kept: { reads: 2368 } },
      placement: { placed: 2172, forward: 1125, reverse: 1047 },
      coverage: { mean: 4.7042, breadth: 0.961981 },
    });
  });
});
