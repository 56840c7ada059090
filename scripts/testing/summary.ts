import { relative } from "node:path";
import type { EngineName, EngineProbes } from "../../test/helpers/engines/registry.ts";
import { engineNames, engines } from "../../test/helpers/engines/registry.ts";

/** What of vitest's JSON report is used. */
export interface VitestReport {
  readonly testResults: readonly {
    /** Absolute path of the test file. */
    readonly name: string;
    readonly status: string;
    readonly message?: string;
    readonly assertionResults: readonly {
      readonly status: string;
      readonly meta?: { readonly missingEngines?: readonly EngineName[] };
    }[];
  }[];
}

export interface NotRun {
  /** Undefined: skipped by the test file itself. */
  readonly engine: EngineName | undefined;
  readonly file: string;
  readonly tests: number;
}

export interface Summary {
  readonly passed: number;
  readonly failed: number;
  readonly skipped: number;
  /** By engine and file, what a missing engine kept from running. */
  readonly notRun: readonly NotRun[];
  /** Failures that belong to no test. */
  readonly notes: readonly string[];
}

/**
 * Counts a run. What failed outside of any test (a file that cannot be imported, an unhandled error) counts as failed,
 * so that the last line never says "0 failed" of a run that ended with an error. Tests that a name filter left out are
 * no skips; any other skip is one, whatever its cause.
 */
export function summarize(
  report: VitestReport | undefined,
  run: { readonly exitCode: number; readonly filtered: boolean; readonly root: string },
): Summary {
  const counts = { passed: 0, failed: 0, skipped: 0 };
  const notRun = new Map<string, NotRun>();
  const notes: string[] = [];
  for (const file of report?.testResults ?? []) {
    const path = relative(run.root, file.name);
    for (const test of file.assertionResults) {
      const missing = test.meta?.missingEngines ?? [];
      if (test.status === "passed") counts.passed++;
      else if (test.status === "failed") counts.failed++;
      else if (missing.length > 0 || !run.filtered) {
        counts.skipped++;
        for (const engine of missing.length > 0 ? missing : [undefined]) {
          const key = `${engine} ${path}`;
          notRun.set(key, { engine, file: path, tests: (notRun.get(key)?.tests ?? 0) + 1 });
        }
      }
    }
    if (file.status === "failed" && !file.assertionResults.some((test) => test.status === "failed")) {
      counts.failed++;
      notes.push(`${path} failed outside of its tests: ${file.message?.split("\n")[0] ?? ""}`);
    }
  }
  if (report === undefined) notes.push("vitest ended without a report");
  if (run.exitCode !== 0 && counts.failed === 0) {
    counts.failed++;
    if (report !== undefined) notes.push(`vitest ended with ${run.exitCode} because of an error outside of any test`);
  }
  return { ...counts, notRun: [...notRun.values()], notes };
}

/** The end of `npm test`: notes, what the machine lacks, what did not run because of that, and the one line of numbers. */
export function formatSummary(summary: Summary, probes: EngineProbes): string {
  const lines = [...summary.notes];
  const missing = engineNames.filter((name) => !probes[name].ok);
  if (missing.length > 0) lines.push("", "Not available here, and what did not run because of it:");
  for (const name of missing) {
    lines.push(`  ${name}: ${describeMissing(name, probes)}`);
    const files = listNotRun(summary, name);
    lines.push(...(files.length > 0 ? files : ["    nothing: no selected test needs it"]));
  }
  const others = listNotRun(summary, undefined);
  if (others.length > 0) lines.push("", "Skipped by the test file itself:", ...others);
  lines.push("", `${summary.passed} passed, ${summary.failed} failed, ${summary.skipped} skipped`);
  return `${lines.join("\n")}\n`;
}

function listNotRun(summary: Summary, engine: EngineName | undefined): readonly string[] {
  const entries = summary.notRun.filter((entry) => entry.engine === engine);
  return entries.map(({ file, tests }) => `    ${file} (${tests} ${tests === 1 ? "test" : "tests"})`);
}

/** Why an engine cannot be used, and what would bring it. */
export function describeMissing(name: EngineName, probes: EngineProbes): string {
  const probe = probes[name];
  const packages: readonly string[] = engines[name].debianPackages;
  const reason = probe.ok ? probe.version : probe.reason;
  return packages.length === 0 ? reason : `${reason} (Debian: ${packages.join(" ")})`;
}
