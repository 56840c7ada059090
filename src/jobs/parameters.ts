/** Parameters of a job: the only way by which values from outside enter a command. Typed, bounded, all problems at once. */
import { RE2JS } from "re2js";
import { isJsonObject, type JsonObject, type JsonValue } from "../common/json.ts";
import { nearest, quoted } from "../common/nearest.ts";
import type { App, ParameterSpec, ParameterValue, ParameterValues } from "./app.ts";
import { reservedNames, textFlaw, valueAt } from "./template.ts";
import { messageOf } from "../common/fault.ts";

/** What of a job carries parameters: NMDC jobs have `config`, the hub's have `parameters` besides. */
export interface JobValues {
  readonly config?: JsonValue | undefined;
  readonly parameters?: JsonValue | undefined;
  /** The object that triggered the job: id, name, url, size, sha256. */
  readonly object?: JsonValue | undefined;
}

export interface ParameterProblem {
  /** Where the value lies in the job, as `config.sample` or `parameters.threads`. */
  readonly path: string;
  /** One sentence: the path, what is wrong, the value in single quotes, what is allowed. */
  readonly message: string;
  readonly allowed?: string | undefined;
  readonly nearest?: string | undefined;
  /** The name in `{{name}}` that has no value, when that is the problem. */
  readonly missing?: string | undefined;
}

export type Resolved =
  | { readonly ok: true; readonly values: ParameterValues }
  | { readonly ok: false; readonly problems: readonly ParameterProblem[] };

/** Longest text that any parameter may have, whatever its app says: one argument of a command. */
const maxTextBytes = 100_000;
/** Values of `parameters` that are looked at; more names than any app has are refused at once. */
const maxNames = 1000;

/**
 * The values of an app's parameters for one job, without the secrets (their files' paths are filled in at launch). `changes` (set by
 * hooks) come before the job's own. Never throws, whatever the JSON.
 */
export function resolveParameters(
  app: Pick<App, "parameters">,
  job: JobValues,
  changes: Readonly<Record<string, JsonValue>> = {},
): Resolved {
  const problems: ParameterProblem[] = [];
  const given = givenParameters(job.parameters, app, "parameters", problems);
  const changed = givenParameters(changes, app, "hook", problems);
  const values: Record<string, ParameterValue> = {};
  for (const [name, spec] of Object.entries(app.parameters)) {
    if (spec.type === "secret") continue;
    const found = pick(name, spec, job, given, changed, problems);
    if (found === undefined) continue;
    const checked = checkValue(spec, found.value);
    if ("value" in checked) values[name] = checked.value;
    else problems.push(sentence(found.path, checked));
  }
  if (problems.length === 0) return { ok: true, values };
  // Messages travel alone to central and to people: each says of which value it speaks.
  return { ok: false, problems: problems.map((one) => ({ ...one, message: `${one.path}: ${one.message}` })) };
}

type Spec = Exclude<ParameterSpec, { type: "secret" }>;

/** The named values that a job (or hook) gives; unknown names and secrets are problems. */
function givenParameters(
  json: JsonValue | undefined,
  app: Pick<App, "parameters">,
  origin: string,
  problems: ParameterProblem[],
): JsonObject {
  if (json === undefined || json === null) return {};
  if (!isJsonObject(json)) {
    problems.push({
      path: origin,
      message: `${quoted(json)} is not a mapping of names to values`,
      allowed: "{name: value}",
    });
    return {};
  }
  const names = Object.keys(json);
  const known = Object.entries(app.parameters).flatMap(([name, spec]) => (spec.type === "secret" ? [] : [name]));
  if (names.length > maxNames) {
    problems.push({ path: origin, message: `'${names.length}' parameters are given; allowed: at most ${maxNames}` });
    return {};
  }
  for (const name of names) {
    if (known.includes(name)) continue;
    const path = `${origin}.${cut(name)}`;
    if (Object.hasOwn(app.parameters, name)) {
      problems.push({ path, message: `'${name}' is a secret of the site, which no job can set` });
      continue;
    }
    const near = nearest(name, known);
    const allowed = known.length > 0 ? known.join(", ") : "none";
    const hint = near === undefined ? "" : `; nearest: '${near}'`;
    problems.push({
      path,
      message: `unknown parameter ${quoted(name)}; allowed: ${allowed}${hint}`,
      allowed,
      nearest: near,
    });
  }
  return json;
}

/** Where the value comes from; undefined when there is none (which is a problem for required ones). */
function pick(
  name: string,
  spec: Spec,
  job: JobValues,
  given: JsonObject,
  changed: JsonObject,
  problems: ParameterProblem[],
): { readonly path: string; readonly value: JsonValue } | undefined {
  const from = spec.from ?? `config.${name}`;
  const changedValue = ownValue(changed, name);
  if (changedValue !== undefined) return { path: `hook.${name}`, value: changedValue };
  const [root, ...path] = from.split(".");
  const configured = valueAt(root === "object" ? job.object : job.config, path) ?? undefined;
  const named = ownValue(given, name);
  if (configured !== undefined && named !== undefined && JSON.stringify(configured) !== JSON.stringify(named)) {
    const message = `${quoted(named)} differs from ${quoted(configured)} at '${from}'; allowed: one of them, or the same value`;
    problems.push({ path: `parameters.${name}`, message });
    return undefined;
  }
  if (configured !== undefined) return { path: from, value: configured };
  if (named !== undefined) return { path: `parameters.${name}`, value: named };
  if (spec.default !== undefined) return { path: from, value: spec.default };
  if (spec.required !== false) {
    problems.push({ path: from, message: `'${name}' is missing; allowed: ${describe(spec)}`, allowed: describe(spec) });
  }
  return undefined;
}

function ownValue(json: JsonObject, name: string): JsonValue | undefined {
  return Object.hasOwn(json, name) ? (json[name] ?? undefined) : undefined;
}

interface Misfit {
  readonly shown: string;
  readonly why: string;
  readonly allowed: string;
  readonly nearest?: string | undefined;
}

function sentence(path: string, misfit: Misfit): ParameterProblem {
  const hint = misfit.nearest === undefined ? "" : `; nearest: '${misfit.nearest}'`;
  const message = `${misfit.shown} ${misfit.why}; allowed: ${misfit.allowed}${hint}`;
  return { path, message, allowed: misfit.allowed, nearest: misfit.nearest };
}

/** One value against its specification. Numbers and booleans may come as their text (`"4"`, `"true"`), as a command line gives them. */
export function checkValue(spec: Spec, value: JsonValue): { readonly value: ParameterValue } | Misfit {
  switch (spec.type) {
    case "string":
      return checkText(spec, value);
    case "integer":
    case "number":
      return checkNumber(spec, value);
    case "boolean":
      if (typeof value === "boolean") return { value };
      if (value === "true" || value === "false") return { value: value === "true" };
      return misfit(spec, value, "is not a boolean");
  }
}

function checkText(spec: Extract<Spec, { type: "string" }>, value: JsonValue): { readonly value: string } | Misfit {
  if (typeof value !== "string") return misfit(spec, value, "is not text");
  const flaw = textFlaw(value);
  if (flaw !== undefined) return misfit(spec, value, flaw);
  if (value.length < spec.min_length) return misfit(spec, value, `has ${value.length} characters`);
  if (value.length > spec.max_length || Buffer.byteLength(value) > maxTextBytes)
    return misfit(spec, value, `has ${value.length} characters`);
  if (value.startsWith("-") && !spec.allow_leading_dash) return misfit(spec, value, "begins with '-'");
  if (spec.enum && !spec.enum.includes(value))
    return { ...misfit(spec, value, "is not one of the values"), nearest: nearest(value, spec.enum) };
  if (spec.pattern !== undefined && !matcher(spec.pattern).matches(value))
    return misfit(spec, value, "does not match the pattern");
  return { value };
}

function checkNumber(
  spec: Extract<Spec, { type: "integer" | "number" }>,
  value: JsonValue,
): { readonly value: number } | Misfit {
  const number =
    typeof value === "string" && /^-?(?:0|[1-9]\d*)(?:\.\d+)?(?:e[+-]?\d+)?$/i.test(value) ? Number(value) : value;
  if (typeof number !== "number" || !Number.isFinite(number)) return misfit(spec, value, "is not a number");
  if (spec.type === "integer" && !Number.isSafeInteger(number)) return misfit(spec, value, "is not a whole number");
  const low = spec.minimum ?? 0;
  if (number < low || number > (spec.maximum ?? Infinity)) return misfit(spec, value, "is out of range");
  if (spec.type === "integer" && spec.enum && !spec.enum.includes(number))
    return misfit(spec, value, "is not one of the values");
  return { value: number === 0 ? 0 : number };
}

function misfit(spec: Spec, value: JsonValue, why: string): Misfit {
  return { shown: quoted(value), why, allowed: describe(spec) };
}

/** What a parameter takes, in words; for messages, `submit --help` and forms. */
export function describe(spec: ParameterSpec): string {
  switch (spec.type) {
    case "string": {
      if (spec.enum) return spec.enum.map((word) => `'${word}'`).join(", ");
      const parts = [`text of ${spec.min_length} to ${spec.max_length} characters`];
      if (!spec.allow_leading_dash) parts.push("not beginning with '-'");
      if (spec.pattern !== undefined) parts.push(`matching '${spec.pattern}'`);
      return parts.join(", ");
    }
    case "integer":
    case "number": {
      const kind = spec.type === "integer" ? "a whole number" : "a number";
      if (spec.type === "integer" && spec.enum) return spec.enum.join(", ");
      const low = spec.minimum ?? 0;
      return spec.maximum === undefined ? `${kind} of at least ${low}` : `${kind} from ${low} to ${spec.maximum}`;
    }
    case "boolean":
      return "true, false";
    case "secret":
      return "nothing: the site sets it";
  }
}

const matchers = new Map<string, RE2JS>();

/** Compiled once for each pattern; patterns come from the site file only, so the number is bounded by it. */
function matcher(pattern: string): RE2JS {
  const known = matchers.get(pattern);
  if (known) return known;
  const compiled = RE2JS.compile(pattern);
  matchers.set(pattern, compiled);
  return compiled;
}

function cut(name: string): string {
  return quoted(name, 40).slice(1, -1);
}

export interface SpecProblem {
  /** Path below `parameters`. */
  readonly at: readonly string[];
  readonly message: string;
  readonly value?: string | undefined;
  readonly allowed?: string | undefined;
}

/** What is wrong with the declarations themselves: reserved names, patterns, bounds, defaults that do not fit. */
export function checkParameters(parameters: Readonly<Record<string, ParameterSpec>>): readonly SpecProblem[] {
  return Object.entries(parameters).flatMap(([name, spec]) => {
    const problems: SpecProblem[] = [];
    if (reservedNames.includes(name)) {
      problems.push({
        at: [name],
        message: `'${name}' has a meaning of its own in templates`,
        value: name,
        allowed: "another name",
      });
    }
    if (spec.type === "secret") return problems;
    const flaw = spec.type === "string" && spec.pattern !== undefined ? patternFlaw(spec.pattern) : undefined;
    if (flaw !== undefined && spec.type === "string") {
      problems.push({
        at: [name, "pattern"],
        message: `'${spec.pattern}' is not a pattern: ${flaw}`,
        value: spec.pattern,
        allowed: "RE2 syntax, without look-around and back-references",
      });
      return problems;
    }
    problems.push(...checkBounds(name, spec));
    if (spec.default === undefined || problems.length > 0) return problems;
    const checked = checkValue(spec, spec.default);
    if ("why" in checked)
      problems.push({ at: [name, "default"], message: `${checked.shown} ${checked.why}`, allowed: checked.allowed });
    return problems;
  });
}

function patternFlaw(pattern: string): string | undefined {
  try {
    matcher(pattern);
    return undefined;
  } catch (error) {
    return messageOf(error);
  }
}

function checkBounds(name: string, spec: Spec): readonly SpecProblem[] {
  if (spec.type === "boolean") return [];
  const [low, high] =
    spec.type === "string" ? [spec.min_length, spec.max_length] : [spec.minimum ?? 0, spec.maximum ?? Infinity];
  if (low <= high) return [];
  const key = spec.type === "string" ? "max_length" : "maximum";
  return [
    { at: [name, key], message: `'${high}' is below the least value`, value: String(high), allowed: `at least ${low}` },
  ];
}
