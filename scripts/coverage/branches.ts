import { readFile } from "node:fs/promises";
import type { Profiler } from "node:inspector";
import { stripTypeScriptTypes } from "node:module";
import { pathToFileURL } from "node:url";
import convert from "ast-v8-to-istanbul";
import { parseAst } from "vitest/node";

/** One way that the code can go on. */
export interface Branch {
  /** 1-based. */
  readonly line: number;
  readonly column: number;
  /** `if`, `switch`, `cond-expr`, `binary-expr`, `default-arg`, and which of its ways: "if 2" is the `else`, written or not. */
  readonly way: string;
  readonly taken: boolean;
}

/**
 * The branches of a source file by counts of V8. Node runs TypeScript with its types blanked out, so that offsets, lines
 * and columns are those of the source.
 */
export async function branchesOf(
  path: string,
  functions: readonly Profiler.FunctionCoverage[],
): Promise<readonly Branch[]> {
  const code = stripTypeScriptTypes(await readFile(path, "utf8"));
  const coverage = { url: pathToFileURL(path).href, functions: [...functions] };
  const converted = await convert({ code, ast: parseAst(code), coverage });
  return Object.values(converted).flatMap((file) => {
    const { branchMap, b } = "data" in file ? file.data : file;
    return Object.entries(branchMap).flatMap(([id, { type, loc, locations }]) =>
      (b[id] ?? []).map((count, way) => {
        const { line, column } = placeOf(locations[way]) ?? loc.start;
        return { line, column: column + 1, way: `${type} ${way + 1}`, taken: count > 0 };
      }),
    );
  });
}

/** An `else` that is not written has no place of its own. */
function placeOf(
  location: { readonly start: { readonly line: number | undefined; readonly column: number } } | undefined,
) {
  return location?.start.line === undefined ? undefined : { line: location.start.line, column: location.start.column };
}
