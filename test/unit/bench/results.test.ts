import { describe, expect, it } from "vitest";
import { median, quantile } from "../../../bench/lib/bench.ts";
import { withSection } from "../../../bench/lib/results.ts";

describe("the results page", () => {
  const page = "# Results\n\nWords.\n\n## one\n\nold\n\n## two\n\nkept\n";

  it("has a section replaced at its place", () => {
    expect(withSection(page, "one", "## one\n\nnew")).toBe("# Results\n\nWords.\n\n## one\n\nnew\n\n## two\n\nkept\n");
  });

  it("has a new section added at the end", () => {
    expect(withSection("# Results\n\nWords.\n", "one", "## one\n\nnew")).toBe("# Results\n\nWords.\n\n## one\n\nnew\n");
  });
});

describe("quantiles", () => {
  it("are nearest ranks", () => {
    const values = Array.from({ length: 100 }, (_, index) => 100 - index);
    expect([quantile(values, 0.99), median(values), quantile(values, 0), quantile(values, 1)]).toEqual([
      99, 50, 1, 100,
    ]);
    expect(() => median([])).toThrow(RangeError);
  });
});
