import { type Arbitrary, array, assert, bigInt, integer, property, record, string } from "fast-check";
import { describe, expect, it } from "vitest";
import type { Token } from "../../../src/common/token.ts";
import {
  clockOf,
  directiveWord,
  inRanges,
  kibibytes,
  nativeProblems,
  secondsOf,
  unquotable,
} from "../../../src/schedulers/directive-words.ts";
import { directivesOf as pbsDirectives } from "../../../src/schedulers/pbs/directives.ts";
import { directivesOf as sgeDirectives } from "../../../src/schedulers/sge/directives.ts";
import type { SubmitRequest } from "../../../src/schedulers/types.ts";
import { fuzz } from "../../helpers/fuzz.ts";

/** As qsub of OpenPBS and of Grid Engine split a directive. */
function split(line: string): readonly string[] {
  return [...line.matchAll(/(?:'[^']*'|"[^"]*"|[^\s'"])+/g)].map(([word]) =>
    word.replaceAll(/'([^']*)'|"([^"]*)"/g, "$1$2"),
  );
}

describe("words of directives", () => {
  it("arrive as they are, whatever they hold, or are said to be impossible", () => {
    const word = string({ unit: "grapheme", minLength: 1 }).filter(
      (text) => !/[\n\r]/.test(text) && text.trim() === text,
    );
    assert(
      property(array(word, { minLength: 1, maxLength: 4 }), (words) => {
        if (unquotable(words, "pbs").length > 0) return;
        expect(split(words.map(directiveWord).join(" "))).toEqual(words);
      }),
      fuzz(200),
    );
    expect(unquotable([`'"`, "'", '"', 3, undefined], "pbs")).toHaveLength(1);
    expect(unquotable([`'"`, "'", '"', 3, undefined], "sge")).toHaveLength(3);
  });

  it("of the administrator must be options, and none of ours", () => {
    expect(nativeProblems(["-p", "1", "-N", "x"], /^-N$/)).toEqual([
      "the native option '-N' is set by the agent itself",
    ]);
    expect(nativeProblems(["x"], /^-N$/)).toEqual(["the native option 'x' does not begin with '-'"]);
    expect(nativeProblems([], /^-N$/)).toEqual([]);
  });
});

describe("units of directives", () => {
  it("a walltime is never shorter than asked for, and less than a second longer", () => {
    assert(
      property(integer({ min: 1, max: 100_000_000 }), (ms) => {
        const text = clockOf(ms / 1000);
        expect(text).toMatch(/^\d{2,}:[0-5]\d:[0-5]\d$/);
        expect((secondsOf(text) ?? 0) * 1000).toBeGreaterThanOrEqual(ms);
        expect((secondsOf(text) ?? 0) * 1000).toBeLessThan(ms + 1000);
      }),
      fuzz(200),
    );
  });

  it("memory is never less than asked for, and less than a kibibyte more", () => {
    assert(
      property(bigInt({ min: 1n, max: 2n ** 50n }), (size) => {
        const bytes = kibibytes(Number(size)) * 1024;
        expect(bytes).toBeGreaterThanOrEqual(Number(size));
        expect(bytes).toBeLessThan(Number(size) + 1024);
      }),
      fuzz(200),
    );
  });

  const some = (max: number): Arbitrary<number> => integer({ min: 1, max });
  const anyRequest = record({ nodes: some(64), ranks: some(64), threads: some(16), memory: some(2 ** 42) }).map(
    ({ nodes, ranks, threads, memory }): SubmitRequest => ({
      token: "abcdefghijklmno" as Token,
      tasks: 1,
      resources: { nodes, ranks_per_node: ranks, threads_per_rank: threads, gpus: 0, memory },
      walltimeS: undefined,
      placement: { native: [], parallelEnvironment: "mpi" },
      directory: "/d",
      log: "/l",
      body: "",
    }),
  );
  const numbers = (lines: readonly string[], pattern: RegExp): number[] =>
    (pattern.exec(lines.join("\n")) ?? []).slice(1).map(Number);

  it("cores and memory are those of all nodes together, whatever the scheduler counts them by", () => {
    assert(
      property(anyRequest, (asked) => {
        const { nodes, ranks_per_node: ranks, threads_per_rank: threads, memory = 0 } = asked.resources;
        const [chunks = 0, ncpus = 0, mem = 0] = numbers(
          pbsDirectives({ ...asked, placement: { native: [] } }, "openpbs"),
          /select=(\d+):ncpus=(\d+):.*:mem=(\d+)kb/,
        );
        expect([chunks, ncpus]).toEqual([nodes, ranks * threads]);
        const torque = pbsDirectives({ ...asked, placement: { native: [] } }, "torque");
        expect(numbers(torque, /nodes=(\d+):ppn=(\d+)/)).toEqual([nodes, ranks * threads]);
        const [whole = 0] = numbers(torque, /-l mem=(\d+)kb/);
        const sge = sgeDirectives(asked);
        const slots = numbers(sge, /-pe mpi (\d+)/)[0] ?? 1;
        expect(slots).toBe(nodes * ranks * threads);
        const [each = 0] = numbers(sge, /h_vmem=(\d+)K/);
        for (const kibs of [chunks * mem, whole, slots * each]) {
          expect(kibs * 1024).toBeGreaterThanOrEqual(nodes * memory);
          expect(kibs * 1024).toBeLessThan(nodes * memory + slots * 1025);
        }
      }),
      fuzz(200),
    );
  });

  it("ranges of tasks", () => {
    expect([0, 1, 2, 3, 4, 5].filter((index) => inRanges("0-1,3", index))).toEqual([0, 1, 3]);
    expect([0, 1, 2, 3, 4, 5].filter((index) => inRanges("1-5:2", index))).toEqual([1, 3, 5]);
    for (const odd of [undefined, "", "-", "a", "1-2-3"]) expect(inRanges(odd, 1)).toBe(false);
    expect(inRanges("0-3:0", 2)).toBe(true);
  });
});
