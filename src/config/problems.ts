import { Fault } from "../common/fault.ts";

/** One thing that is wrong in a configuration file. */
export interface ConfigProblem {
  readonly file: string;
  /** From 1; undefined when it belongs to no place in the text. */
  readonly line: number | undefined;
  readonly column: number | undefined;
  /** As `apps.readqc.command[2]`; empty for the whole file. */
  readonly path: string;
  /** What is wrong, the value in single quotes. */
  readonly message: string;
  /** The value as shown; never a secret. */
  readonly value?: string | undefined;
  /** What would be right. */
  readonly allowed?: string | undefined;
  /** The nearest word that would be right. */
  readonly nearest?: string | undefined;
}

/** A configuration file that cannot be used, with all its problems. */
export class ConfigProblems extends Fault {
  readonly problems: readonly ConfigProblem[];

  constructor(file: string, problems: readonly ConfigProblem[]) {
    const sorted = problems.toSorted((a, b) => (a.line ?? 0) - (b.line ?? 0) || (a.column ?? 0) - (b.column ?? 0));
    const count = sorted.length === 1 ? "1 problem" : `${sorted.length} problems`;
    super("CONFIG", `'${file}' has ${count}:\n${sorted.map((problem) => `  ${problemText(problem)}`).join("\n")}`, {
      hint: `repair the file, then check it with: siteagent validate '${file}'`,
      details: { problems: sorted.map((problem) => ({ ...problem })) },
    });
    this.problems = sorted;
  }
}

/** `site.yaml:12:5: api.poll: 'x' is not a duration; allowed: 10s, 5m; nearest: …` on one line. */
export function problemText(problem: ConfigProblem): string {
  const place = problem.line === undefined ? problem.file : `${problem.file}:${problem.line}:${problem.column ?? 1}`;
  const parts = [problem.path === "" ? problem.message : `${problem.path}: ${problem.message}`];
  if (problem.allowed !== undefined) parts.push(`allowed: ${problem.allowed}`);
  if (problem.nearest !== undefined) parts.push(`nearest: '${problem.nearest}'`);
  return `${place}: ${parts.join("; ")}`;
}

/** `apps.readqc.command[2]`. */
export function pathText(path: readonly PropertyKey[]): string {
  let text = "";
  for (const key of path) {
    if (typeof key === "number") text += `[${key}]`;
    else text += text === "" ? String(key) : `.${String(key)}`;
  }
  return text;
}
