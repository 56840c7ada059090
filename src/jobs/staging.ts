/** What a job's inputs and outputs become once templates are filled; the shapes are those that the transfer engine takes. */
import { quoted } from "../common/nearest.ts";
import type { App } from "./app.ts";
import type { ParameterProblem } from "./parameters.ts";
import { type Filled, fillText, fillUrl, type TemplateProblem, type TemplateScope } from "./template.ts";

export interface StagingItem {
  /** Name of the input or output in the app. */
  readonly name: string;
  /** In: URL or `remote:/path`. Out: path or pattern below work/. */
  readonly source: string;
  /** In: path below in/. Out: URL or `remote:/path`. */
  readonly target: string;
  readonly kind: "file" | "directory" | "glob";
  readonly required: boolean;
  readonly mode: "copy" | "link";
  readonly expectedSize: number | undefined;
  /** Lower-case hexadecimal. */
  readonly expectedSha256: string | undefined;
  readonly maxBytes: number | undefined;
  readonly include: readonly string[];
  readonly exclude: readonly string[];
}

export type Staging =
  | { readonly ok: true; readonly items: readonly StagingItem[] }
  | { readonly ok: false; readonly problems: readonly ParameterProblem[] };

/** The inputs of one job. An optional input whose source has no value in the job is left out. Never throws. */
export function fillInputs(app: Pick<App, "inputs">, scope: TemplateScope): Staging {
  const problems: ParameterProblem[] = [];
  const items: StagingItem[] = [];
  for (const [name, input] of Object.entries(app.inputs)) {
    const at = `inputs.${name}`;
    const source = fillUrl(input.from, scope);
    if (!source.ok && !input.required && source.problem.missing) continue;
    const size =
      input.size === undefined
        ? undefined
        : expected(fillText(input.size, scope), `${at}.size`, /^\d{1,15}$/, "a number of bytes", problems);
    const sha256 =
      input.sha256 === undefined
        ? undefined
        : expected(
            fillText(input.sha256, scope),
            `${at}.sha256`,
            /^[0-9a-fA-F]{64}$/,
            "64 hexadecimal digits",
            problems,
          );
    if (!source.ok) {
      problems.push(asProblem(`${at}.from`, source.problem));
      continue;
    }
    items.push({
      name,
      source: source.text,
      target: input.to,
      kind: input.kind,
      required: input.required,
      mode: input.mode,
      expectedSize: size === undefined ? undefined : Number(size),
      expectedSha256: sha256?.toLowerCase(),
      maxBytes: input.max_size,
      include: [],
      exclude: [],
    });
  }
  return problems.length === 0 ? { ok: true, items } : { ok: false, problems };
}

/** The outputs of one job that have a destination; those without go to the hub or stay where they are. Never throws. */
export function fillOutputs(app: Pick<App, "outputs">, scope: TemplateScope): Staging {
  const problems: ParameterProblem[] = [];
  const items: StagingItem[] = [];
  for (const [name, output] of Object.entries(app.outputs)) {
    if (output.to === undefined) continue;
    const target = fillUrl(output.to, scope);
    if (!target.ok) {
      problems.push(asProblem(`outputs.${name}.to`, target.problem));
      continue;
    }
    items.push({
      name,
      source: output.from,
      target: target.text,
      kind: output.kind,
      required: output.required,
      mode: "copy",
      expectedSize: undefined,
      expectedSha256: undefined,
      maxBytes: output.max_size,
      include: output.include,
      exclude: output.exclude,
    });
  }
  return problems.length === 0 ? { ok: true, items } : { ok: false, problems };
}

function expected(
  filled: Filled,
  path: string,
  pattern: RegExp,
  allowed: string,
  problems: ParameterProblem[],
): string | undefined {
  if (!filled.ok) {
    problems.push(asProblem(path, filled.problem));
    return undefined;
  }
  if (pattern.test(filled.text)) return filled.text;
  problems.push({ path, message: `${path}: ${quoted(filled.text)} does not fit; allowed: ${allowed}`, allowed });
  return undefined;
}

function asProblem(path: string, problem: TemplateProblem): ParameterProblem {
  const allowed = problem.allowed === undefined ? "" : `; allowed: ${problem.allowed}`;
  const missing = problem.missing ? problem.value : undefined;
  return { path, message: `${path}: ${problem.message}${allowed}`, allowed: problem.allowed, missing };
}
