import { readdir, readFile, rm } from "node:fs/promises";
import type { Profiler } from "node:inspector";
import { join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";

/**
 * What V8 counted in many processes, added up by source file and offset. Each process writes a report at its end (a worker
 * thread its own); thousands of them are some gigabytes, so that each is read and removed soon after it appears.
 */
export class Counts {
  readonly #directory: string;
  readonly #under: string;
  readonly #sums = new Map<string, Float64Array>();
  #reports = 0;

  /** @param directory what NODE_V8_COVERAGE names; @param sources only files below it are counted. */
  constructor(directory: string, sources: string) {
    this.#directory = directory;
    this.#under = pathToFileURL(`${sources}/`).href;
  }

  /** How many reports were added so far. */
  get reports(): number {
    return this.#reports;
  }

  /** Adds and removes the reports that are complete; one that is still being written stays for the next time. */
  async gather(): Promise<void> {
    for (const name of await readdir(this.#directory)) {
      const file = join(this.#directory, name);
      const report = parseReport(await readFile(file, "utf8"));
      if (report === undefined) continue;
      this.#reports++;
      for (const script of report.result) this.#add(script);
      await rm(file);
    }
  }

  /** The counts of a file as V8 tells them, in ranges that do not overlap; none when no process has loaded it. */
  of(path: string): readonly Profiler.FunctionCoverage[] {
    const sums = this.#sums.get(path);
    return sums === undefined ? [] : [{ functionName: "", isBlockCoverage: true, ranges: rangesOf(sums) }];
  }

  #add(script: Profiler.ScriptCoverage): void {
    if (!script.url.startsWith(this.#under)) return;
    const path = fileURLToPath(script.url);
    const counts = countsByOffset(script.functions);
    const before = this.#sums.get(path);
    const [sums, added] = before === undefined || before.length < counts.length ? [counts, before] : [before, counts];
    added?.forEach((count, offset) => {
      sums[offset] = (sums[offset] ?? 0) + count;
    });
    this.#sums.set(path, sums);
  }
}

/** The innermost range says how often an offset was reached. */
function countsByOffset(functions: readonly Profiler.FunctionCoverage[]): Float64Array {
  const ranges = functions.flatMap((one) => one.ranges);
  const outermostFirst = ranges.toSorted((one, other) => lengthOf(other) - lengthOf(one));
  const counts = new Float64Array(Math.max(0, ...ranges.map((range) => range.endOffset)));
  for (const { startOffset, endOffset, count } of outermostFirst) counts.fill(count, startOffset, endOffset);
  return counts;
}

function lengthOf(range: Profiler.CoverageRange): number {
  return range.endOffset - range.startOffset;
}

function rangesOf(sums: Float64Array): Profiler.CoverageRange[] {
  const ranges: Profiler.CoverageRange[] = [];
  for (const [offset, count] of sums.entries()) {
    const last = ranges.at(-1);
    if (last?.count === count) last.endOffset = offset + 1;
    else ranges.push({ startOffset: offset, endOffset: offset + 1, count });
  }
  return ranges;
}

function parseReport(text: string): { readonly result: readonly Profiler.ScriptCoverage[] } | undefined {
  try {
    return JSON.parse(text) as { result: Profiler.ScriptCoverage[] };
  } catch {
    return undefined;
  }
}
