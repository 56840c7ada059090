import { describe, expect, test } from "vitest";
import { compilePattern, patternProblem } from "../../../src/common/path-pattern.ts";

describe("patterns of files", () => {
  test.each([
    ["*.log", ["a.log", "x/y/b.log"], ["a.log.gz", "log"]],
    ["logs/*.txt", ["logs/a.txt"], ["a.txt", "x/logs/a.txt", "logs/x/a.txt"]],
    ["**/*.bam", ["a.bam", "x/y/a.bam"], ["a.bai"]],
    [
      "re:.*/sample_[0-9]{3}\\.vcf",
      ["x/sample_001.vcf", "x/y/sample_999.vcf"],
      ["sample_001.vcf", "x/sample_1.vcf", "x/sample_001.vcf.gz"],
    ],
    ["re:a|b", ["a", "b"], ["ab", "x/a"]],
  ])("'%s' means the whole path, or the name where it is a glob without '/'", (pattern, taken, left) => {
    expect(patternProblem(pattern)).toBeUndefined();
    const matches = compilePattern(pattern);
    expect(taken.filter((path) => !matches(path))).toEqual([]);
    expect(left.filter(matches)).toEqual([]);
  });

  test.each(["re:(", "re:[z-a]", "re:(?=x)", String.raw`re:(a)\1`])("'%s' is no expression", (pattern) => {
    expect(patternProblem(pattern)).toMatch(/\w/);
  });

  test("an expression takes linear time", () => {
    const matches = compilePattern("re:(a*)*b");
    const before = performance.now();
    expect(matches("a".repeat(3_000))).toBe(false);
    // Backtracking would need more years than there are.
    expect(performance.now() - before).toBeLessThan(10_000);
  });
});
