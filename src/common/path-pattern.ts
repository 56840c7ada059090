/** Patterns that choose files by their relative path: globs, and regular expressions that take linear time whatever they are matched with. */
import { matchesGlob } from "node:path/posix";
import { RE2JS } from "re2js";

const expressionPrefix = "re:";

/** What is wrong with a pattern; undefined when nothing is. */
export function patternProblem(pattern: string): string | undefined {
  if (!pattern.startsWith(expressionPrefix)) return undefined;
  try {
    RE2JS.compile(pattern.slice(expressionPrefix.length));
    return undefined;
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}

/**
 * A test of relative paths with `/`. `re:` and an expression (RE2) has to match the whole path; a glob without `/` means the last component at
 * any depth. @throws Error for an expression that is none (`patternProblem` says so before)
 */
export function compilePattern(pattern: string): (path: string) => boolean {
  if (pattern.startsWith(expressionPrefix)) {
    const expression = RE2JS.compile(pattern.slice(expressionPrefix.length));
    return (path) => expression.matches(path);
  }
  if (pattern.includes("/")) return (path) => matchesGlob(path, pattern);
  return (path) => matchesGlob(path.slice(path.lastIndexOf("/") + 1), pattern);
}
