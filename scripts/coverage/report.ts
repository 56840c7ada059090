import { readdir } from "node:fs/promises";
import { join, relative } from "node:path";
import { type Branch, branchesOf } from "./branches.ts";
import type { Counts } from "./counts.ts";

/** The parts whose promises are proven, by the beginnings of their paths. In each `goal` of all branches must be taken by tests. */
export const areas: Readonly<Record<string, readonly string[]>> = {
  jobs: ["src/jobs/"],
  journal: ["src/journal/"],
  runner: ["src/runner/"],
  lifecycle: ["src/agent/"],
  policy: [
    "src/transfer/policy.ts",
    "src/transfer/addresses.ts",
    "src/transfer/urls.ts",
    "src/transfer/paths.ts",
    "src/config/urls.ts",
  ],
};

/** Share of the branches of each area. */
export const goal = 0.9;

export interface FileBranches {
  /** Relative to the repository. */
  readonly path: string;
  readonly branches: readonly Branch[];
}

/** Every TypeScript file below `src`, also those that no process has loaded. */
export async function measure(root: string, counts: Counts): Promise<readonly FileBranches[]> {
  const entries = await readdir(join(root, "src"), { recursive: true, withFileTypes: true });
  const paths = entries.flatMap((entry) =>
    entry.isFile() && entry.name.endsWith(".ts") ? [join(entry.parentPath, entry.name)] : [],
  );
  return Promise.all(
    paths.toSorted().map(async (path) => ({
      path: relative(root, path),
      branches: await branchesOf(path, counts.of(path)),
    })),
  );
}

export interface Area {
  readonly name: string;
  readonly taken: number;
  readonly total: number;
  readonly enough: boolean;
  /** Not taken, in lines `path:line:column way`. */
  readonly missing: readonly string[];
}

/** The areas, and `src` as a whole last: it has no goal and lists nothing. */
export function summarize(files: readonly FileBranches[]): readonly Area[] {
  const named = Object.entries(areas).map(([name, paths]) => {
    const inside = files.filter((file) => paths.some((path) => file.path.startsWith(path)));
    const { taken, total } = countOf(inside);
    return { name, taken, total, enough: taken >= goal * total, missing: inside.flatMap(missingIn) };
  });
  return [...named, { name: "all of src", ...countOf(files), enough: true, missing: [] }];
}

function countOf(files: readonly FileBranches[]): { taken: number; total: number } {
  const branches = files.flatMap((file) => file.branches);
  return { taken: branches.filter((branch) => branch.taken).length, total: branches.length };
}

function missingIn({ path, branches }: FileBranches): readonly string[] {
  return branches
    .filter((branch) => !branch.taken)
    .toSorted((one, other) => one.line - other.line || one.column - other.column)
    .map(({ line, column, way }) => `${path}:${line}:${column} ${way}`);
}

export function formatAreas(summary: readonly Area[]): string {
  const lines = summary.flatMap(({ name, missing }) =>
    missing.length === 0 ? [] : [`${name}: branches that no process took`, ...missing.map((line) => `  ${line}`), ""],
  );
  const rows = summary.map(({ name, taken, total, enough }) => {
    const percent = total === 0 ? "-" : `${((100 * taken) / total).toFixed(1)} %`;
    return `${name.padEnd(12)} ${`${taken}/${total}`.padStart(11)} ${percent.padStart(8)}${enough ? "" : `  below ${100 * goal} %`}`;
  });
  return [...lines, `${"area".padEnd(12)} ${"branches".padStart(11)}`, ...rows, ""].join("\n");
}
