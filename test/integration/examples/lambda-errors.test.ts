import { existsSync } from "node:fs";
import { mkdir, readdir, readFile, truncate, writeFile, copyFile } from "node:fs/promises";
import { describe, expect, it } from "vitest";
import { data, program, run, scratch, type Ended } from "./lambda-run.ts";

const genome = data("lambda_virus.fa.gz");
const reads = data("reads_1.fastq.gz");

function readqc(out: string, options: Record<string, string>): Promise<Ended> {
  const all = { "--reads": reads, "--genome": genome, "--sample": "s", "--out": out, ...options };
  return run([program("readqc.sh"), ...Object.entries(all).flat()]);
}

describe("readqc with bad input", () => {
  it("refuses a file that is not FASTQ, naming line and record, and leaves nothing behind", async () => {
    await using directory = await scratch();
    await writeFile(directory.at("reads.fq"), "@a\nACGT\n+\nIIII\n@b\nACGT\nIIII\n@c\n");
    const ended = await readqc(directory.at("out"), { "--reads": directory.at("reads.fq") });
    expect(ended.code).toBe(65);
    expect(ended.stderr).toBe(
      `readqc quality: '${directory.at("reads.fq")}': line 7 (record 2): 'IIII' found where a line beginning with '+' is expected\n`,
    );
    expect(await readdir(directory.at("out"))).toEqual([]);
  });

  it("refuses a truncated gzip file", async () => {
    await using directory = await scratch();
    const cut = directory.at("reads.fastq.gz");
    await copyFile(reads, cut);
    await truncate(cut, 200_000);
    const ended = await readqc(directory.at("out"), { "--reads": cut });
    expect(ended.code).toBe(65);
    expect(ended.stderr).toContain(`'${cut}': line `);
    expect(ended.stderr).toContain("the gzip data end early, the file is truncated");
    expect(await readdir(directory.at("out"))).toEqual([]);
  });

  it.each([
    ["--reads", "quality"],
    ["--genome", "kmers"],
  ])("names a missing file of %s", async (option, step) => {
    await using directory = await scratch();
    const ended = await readqc(directory.at("out"), { [option]: directory.at("absent") });
    expect(ended.code).toBe(66);
    expect(ended.stderr).toBe(`readqc ${step}: cannot read '${directory.at("absent")}': no such file\n`);
    expect(await readdir(directory.at("out"))).toEqual([]);
  });

  it("refuses a filter that leaves nothing", async () => {
    await using directory = await scratch();
    const ended = await readqc(directory.at("out"), { "--min-quality": "60" });
    expect(ended.code).toBe(65);
    expect(ended.stderr).toContain(`'${reads}': none of the reads passes the filter`);
  });

  it.each([
    [{ "--kmer": "two" }, "readqc kmers: --kmer: 'two' is not an integer from 3 to 63"],
    [{ "--min-quality": "99" }, "readqc quality: --min-quality: '99' is not an integer from 0 to 60"],
    [{ "--sample": "../up" }, "readqc: --sample: '../up' has other characters than"],
    [{ "--genome": "" }, "readqc: --genome is missing"],
    [{ "--colour": "red" }, "readqc: unknown option '--colour'"],
  ])("refuses the option %o", async (options, message) => {
    await using directory = await scratch();
    const ended = await readqc(directory.at("out"), options);
    expect(ended.code).toBe(64);
    expect(ended.stderr).toContain(message);
  });

  it("names all wrong options of a step at once", async () => {
    const ended = await run([process.execPath, program("place.mjs"), "--seed", "99", "--window", "0"]);
    expect(ended.code).toBe(64);
    expect(ended.stderr).toBe(
      "readqc place: --reads is missing; --genome is missing; --seed: '99' is not an integer from 8 to 15; " +
        "--window: '0' is not an integer from 1 to 1000000 (--help shows the options)\n",
    );
  });

  it("says that there is no Node", async () => {
    await using directory = await scratch();
    const ended = await readqc(directory.at("out"), { "--node": directory.at("no-node") });
    expect(ended.code).toBe(69);
    expect(ended.stderr).toContain(`cannot run '${directory.at("no-node")}': no such program`);
  });

  it("keeps the results of an earlier run when a later one fails", async () => {
    await using directory = await scratch();
    await mkdir(directory.at("out"));
    await writeFile(directory.at("out/report.json"), "earlier\n");
    expect((await readqc(directory.at("out"), { "--genome": directory.at("absent") })).code).toBe(66);
    expect(await readdir(directory.at("out"))).toEqual(["report.json"]);
    expect(await readFile(directory.at("out/report.json"), "utf8")).toBe("earlier\n");
  });

  it("takes paths with spaces, quotes and leading dashes as they are", async () => {
    await using directory = await scratch();
    const odd = directory.at("-o 'ne\" $(touch pwned)");
    await mkdir(odd);
    await copyFile(reads, `${odd}/-reads 1.gz`);
    const ended = await readqc(`${odd}/out dir`, { "--reads": `${odd}/-reads 1.gz` });
    expect(ended.stderr).toBe("");
    expect(ended.code).toBe(0);
    expect(existsSync(`${odd}/out dir/report.json`)).toBe(true);
  });

  it("joins several read files", async () => {
    await using directory = await scratch();
    const both = ["--reads", reads, "--reads", data("reads_2.fastq.gz")];
    const step = [process.execPath, program("quality.mjs"), ...both, "--out", directory.path];
    expect((await run(step)).stdout).toBe("readqc quality: 6000 reads, 648070 bases; 4743 reads kept\n");
    const whole = [program("readqc.sh"), ...both, "--genome", genome, "--sample", "pairs", "--out", directory.path];
    expect((await run(whole)).code).toBe(0);
    const report: unknown = JSON.parse(await readFile(directory.at("report.json"), "utf8"));
    expect(report).toMatchObject({ reads: { reads: 6000 }, placement: { placed: 2167 + 2172 } });
  });
});

describe("usage", () => {
  it.each(["readqc.sh", "flaky.sh", "slow.sh"])("%s --help explains itself", async (name) => {
    const ended = await run([program(name), "--help"]);
    expect(ended).toMatchObject({ code: 0, stderr: "" });
    expect(ended.stdout).toContain(`Usage: ${name} `);
  });

  it.each(["quality.mjs", "kmers.mjs", "place.mjs", "report.mjs"])("%s --help explains itself", async (name) => {
    const ended = await run([process.execPath, program(name), "--help"]);
    expect(ended).toMatchObject({ code: 0, stderr: "" });
    expect(ended.stdout).toContain(`Usage: ${name} `);
  });
});
