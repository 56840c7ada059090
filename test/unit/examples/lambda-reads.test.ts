import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { readFastq, readGenome, type Read } from "../../../examples/lambda/lib/formats.mjs";
import { ReadStatistics, rejection, sumQuality } from "../../../examples/lambda/lib/quality.mjs";
import { countBases, encode, gcShare, reverseComplement } from "../../../examples/lambda/lib/sequence.mjs";
import { reverseComplementCodes } from "../../../examples/lambda/lib/sequence.mjs";

let directory: string;
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "lambda-reads-"));
});
afterEach(async () => {
  await rm(directory, { recursive: true, force: true });
});

async function fileWith(content: string | Uint8Array): Promise<string> {
  const path = join(directory, "input");
  await writeFile(path, content);
  return path;
}

async function readsOf(path: string): Promise<Read[]> {
  const reads: Read[] = [];
  for await (const batch of readFastq(path)) reads.push(...batch);
  return reads;
}

describe("sequence", () => {
  it("reverses and complements, twice giving the same", () => {
    expect(reverseComplement("AACGTN")).toBe("NACGTT");
    expect(reverseComplement(reverseComplement("GATTACAN"))).toBe("GATTACAN");
    expect(reverseComplementCodes(encode("GATTACAN"))).toEqual(encode(reverseComplement("GATTACAN")));
  });

  it("takes GC among the known bases only", () => {
    expect(gcShare(countBases("GCATNNNN"))).toBe(0.5);
    expect(gcShare(countBases("NNNN"))).toBe(0);
  });
});

describe("FASTQ", () => {
  const record = "@a one\nacgtn\n+\nIIII!\n";

  it.each([
    ["plain", record],
    ["gzipped", gzipSync(record)],
    ["in two gzip members", Buffer.concat([gzipSync("@a one\nac"), gzipSync("gtn\n+\nIIII!\n")])],
    ["with carriage returns", record.replaceAll("\n", "\r\n")],
    ["without a last line end", record.trimEnd()],
    ["with blank lines at the end", `${record}\n\n`],
  ])("reads a record %s", async (_, content) => {
    expect(await readsOf(await fileWith(content))).toEqual([{ name: "a one", sequence: "ACGTN", quality: "IIII!" }]);
  });

  it("keeps all records over the borders of chunks", async () => {
    const names = Array.from({ length: 5000 }, (_, at) => `r${at}`);
    const path = await fileWith(names.map((name) => `@${name}\nACGT\n+${name}\nIIII\n`).join(""));
    expect((await readsOf(path)).map(({ name }) => name)).toEqual(names);
  });

  it.each([
    ["no header", `${record}b\nACGT\n+\nIIII\n`, "line 5 (record 2): 'b' is no FASTQ header"],
    ["FASTA", ">a\nACGT\n", "line 1 (record 1): '>a' is no FASTQ header"],
    ["a letter that is no base", `${record}@b\nACXT\n+\nIIII\n`, "line 6 (record 2): 'X' is no base"],
    ["no plus line", "@a\nACGT\nACGT\nIIII\n", "line 3 (record 1): 'ACGT' found where a line beginning with '+'"],
    ["too few qualities", "@a\nACGT\n+\nIII\n", "line 4 (record 1): 3 quality values for 4 bases"],
    ["a quality that is none", "@a\nACGT\n+\nII I\n", "line 4 (record 1): ' ' is no quality value"],
    ["an unfinished record", `${record}@b\nACGT\n`, "line 7 (record 2): the file ends after 2 of the record's 4 lines"],
    ["a blank line between records", `${record}\n${record}`, "line 5 (record 2): '' is no FASTQ header"],
    ["nothing", "", "line 1: the file holds no reads"],
  ])("refuses %s, naming file, line and record", async (_, content, message) => {
    const path = await fileWith(content);
    await expect(readsOf(path)).rejects.toMatchObject({
      exitCode: 65,
      message: expect.stringContaining(`'${path}': ${message}`) as string,
    });
  });

  it("refuses gzip data that end early", async () => {
    const whole = gzipSync(Array.from({ length: 500 }, (_, at) => `@r${at}\nACGTACGT\n+\nIIIIIIII\n`).join(""));
    const path = await fileWith(whole.subarray(0, whole.length - 20));
    await expect(readsOf(path)).rejects.toMatchObject({
      exitCode: 65,
      message: expect.stringMatching(/^'.*input': line \d+: the gzip data end early/) as string,
    });
  });

  it("refuses gzip data that are damaged", async () => {
    const broken = gzipSync(record);
    broken[broken.length - 6] = (broken[broken.length - 6] ?? 0) ^ 0xff;
    await expect(readsOf(await fileWith(broken))).rejects.toMatchObject({
      exitCode: 65,
      message: expect.stringContaining("the gzip data are damaged") as string,
    });
  });

  it("says which file is missing", async () => {
    const path = join(directory, "absent.fastq");
    await expect(readsOf(path)).rejects.toMatchObject({
      exitCode: 66,
      message: `cannot read '${path}': no such file`,
    });
  });
});

describe("FASTA", () => {
  it("joins the lines of one sequence", async () => {
    const path = await fileWith(">chr tiny genome\nACGT\nnnac\n\n");
    expect(await readGenome(path)).toEqual({ name: "chr", description: "tiny genome", sequence: "ACGTNNAC" });
  });

  it.each([
    ["two sequences", ">a\nAC\n>b\nGT\n", "line 3 (record 2): a second sequence"],
    ["no header", "ACGT\n", "line 1: 'ACGT' is no FASTA header"],
    ["no sequence", ">a\n", "line 1: the file holds no sequence"],
    ["a letter that is no base", ">a\nACGT\nAC-T\n", "line 3 (record 1): '-' is no base"],
  ])("refuses %s", async (_, content, message) => {
    const path = await fileWith(content);
    await expect(readGenome(path)).rejects.toMatchObject({
      exitCode: 65,
      message: expect.stringContaining(`'${path}': ${message}`) as string,
    });
  });
});

describe("statistics and filter of reads", () => {
  const good = { name: "good", sequence: "GGCA", quality: "IIII" }; // Phred 40 each
  const mixed = { name: "mixed", sequence: "ATN", quality: "!+5" }; // Phred 0, 10, 20

  it("adds Phred scores with offset 33", () => {
    expect(sumQuality("!+5I")).toBe(0 + 10 + 20 + 40);
  });

  it("leaves out short reads first, then those of low mean quality", () => {
    expect(rejection(mixed, { minQuality: 10, minLength: 3 })).toBeUndefined();
    expect(rejection(mixed, { minQuality: 11, minLength: 3 })).toBe("quality");
    expect(rejection(mixed, { minQuality: 11, minLength: 4 })).toBe("short");
  });

  it("gives the numbers that a hand count gives", () => {
    const statistics = new ReadStatistics();
    statistics.add(good);
    statistics.add(mixed);
    expect(statistics.summary()).toEqual({
      reads: 2,
      bases: 7,
      unknown_bases: 1,
      gc: 0.5,
      mean_quality: 27.1429, // 190 / 7
      min_length: 3,
      mean_length: 3.5,
      max_length: 4,
    });
    expect(statistics.distributions()).toEqual({
      mean_quality_by_position: [20, 25, 30, 40],
      reads_by_length: { "3": 1, "4": 1 },
      reads_by_gc_percent: { "0": 1, "75": 1 },
    });
  });
});
