import { describe, expect, it } from "vitest";
import { formatSummary, summarize, type VitestReport } from "../../../scripts/testing/summary.ts";
import { type EngineProbes, engineNames } from "../../helpers/engines/registry.ts";

const root = "/repository";
const skipped = { status: "skipped", meta: { missingEngines: ["postgres"] as const } };
const available = Object.fromEntries(
  engineNames.map((name) => [name, { ok: true, version: "1" }]),
) as unknown as EngineProbes;

function report(files: Record<string, VitestReport["testResults"][number]["assertionResults"]>): VitestReport {
  const testResults = Object.entries(files).map(([name, assertionResults]) => ({
    name: `${root}/${name}`,
    status: assertionResults.some((test) => test.status === "failed") ? "failed" : "passed",
    assertionResults,
  }));
  return { testResults };
}

describe("summarize", () => {
  it("counts, and tells which files a missing engine kept from running", () => {
    const files = { "a.test.ts": [{ status: "passed" }, skipped, skipped], "b.test.ts": [{ status: "failed" }] };
    const summary = summarize(report(files), { exitCode: 1, filtered: false, root });
    expect(summary).toEqual({
      passed: 1,
      failed: 1,
      skipped: 2,
      notRun: [{ engine: "postgres", file: "a.test.ts", tests: 2 }],
      notes: [],
    });
  });

  it("counts any other skip, but not what a name filter left out", () => {
    const files = { "a.test.ts": [{ status: "skipped" }, { status: "todo" }, skipped] };
    const summary = summarize(report(files), { exitCode: 0, filtered: false, root });
    expect(summary.skipped).toBe(3);
    expect(formatSummary(summary, available)).toContain("Skipped by the test file itself:\n    a.test.ts (2 tests)\n");
    expect(summarize(report(files), { exitCode: 0, filtered: true, root }).skipped).toBe(1);
  });

  it("counts a file that fails outside of its tests as failed", () => {
    const testResults = [
      { name: `${root}/a.test.ts`, status: "failed", message: "no such module\nat x", assertionResults: [] },
    ];
    const summary = summarize({ testResults }, { exitCode: 1, filtered: false, root });
    expect(summary.failed).toBe(1);
    expect(summary.notes).toEqual(["a.test.ts failed outside of its tests: no such module"]);
  });

  it("never says '0 failed' of a run that ended with an error", () => {
    const green = report({ "a.test.ts": [{ status: "passed" }] });
    expect(summarize(green, { exitCode: 1, filtered: false, root })).toMatchObject({ passed: 1, failed: 1 });
    expect(summarize(undefined, { exitCode: 1, filtered: false, root })).toMatchObject({
      failed: 1,
      notes: ["vitest ended without a report"],
    });
  });
});

describe("formatSummary", () => {
  const green = { passed: 12, failed: 0, skipped: 0, notRun: [], notes: [] };

  it("ends with one plain line", () => {
    expect(formatSummary(green, available)).toBe("\n12 passed, 0 failed, 0 skipped\n");
  });

  it("lists missing engines by name with what did not run", () => {
    const probes: EngineProbes = {
      ...available,
      postgres: { ok: false, reason: "no initdb" },
      mount: { ok: false, reason: "it is not allowed" },
    };
    const summary = { ...green, skipped: 2, notRun: [{ engine: "postgres", file: "a.test.ts", tests: 2 }] as const };
    expect(formatSummary(summary, probes).split("\n")).toEqual([
      "",
      "Not available here, and what did not run because of it:",
      "  postgres: no initdb (Debian: postgresql)",
      "    a.test.ts (2 tests)",
      "  mount: it is not allowed",
      "    nothing: no selected test needs it",
      "",
      "12 passed, 0 failed, 2 skipped",
      "",
    ]);
  });
});
