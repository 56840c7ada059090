/** How a recorded answer and a real one are compared; see test/fixtures/nmdc-runtime/README.md. */
export type Json = null | boolean | number | string | Json[] | { [key: string]: Json };
export type JsonMap = { [key: string]: Json };

export interface Step {
  readonly name?: string;
  readonly request: {
    readonly method: string;
    readonly path: string;
    readonly query?: Readonly<Record<string, Json>>;
    readonly headers?: Readonly<Record<string, string | null>>;
    readonly json?: Json;
    readonly form?: Readonly<Record<string, string>>;
    readonly raw?: string;
    readonly auth?: string | null;
    readonly basic?: readonly [string, string];
  };
  readonly save?: Readonly<Record<string, string>>;
  readonly needs?: readonly string[];
  readonly poll?: { readonly until?: string };
  readonly response: {
    readonly status: number;
    readonly headers?: Readonly<Record<string, string>>;
    readonly json?: Json;
    readonly text?: string;
  };
  readonly unordered?: readonly string[];
  readonly superset?: readonly string[];
  readonly absent?: readonly string[];
  readonly checks?: readonly JsonMap[];
  readonly fault?: boolean;
}

export interface Answer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly text: string;
  readonly json: Json | undefined;
}

/** Texts as they are, other values as JSON. */
function shown(value: Json | undefined): string {
  return typeof value === "string" ? value : JSON.stringify(value ?? null);
}

/** Variables filled in, deep. */
export function substitute(value: Json | Readonly<Record<string, string>>, vars: ReadonlyMap<string, Json>): Json {
  if (typeof value === "string") {
    return value.replaceAll(/\$\{(\w+)(\|pct)?\}/g, (whole, name: string, pct: string | undefined) => {
      const found = vars.get(name);
      if (found === undefined) return whole;
      return pct ? encodeURIComponent(shown(found)) : shown(found);
    });
  }
  if (Array.isArray(value)) return value.map((item: Json) => substitute(item, vars));
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(
    Object.entries(value).map(([key, inner]) => [substitute(key, vars) as string, substitute(inner, vars)]),
  );
}

export function pointed(value: Json | undefined, pointer: string): Json | undefined {
  if (pointer === "" || pointer === "/") return value;
  let at = value;
  for (const part of pointer.slice(1).split("/")) {
    if (typeof at !== "object" || at === null) return undefined;
    at = Array.isArray(at) ? at[Number(part)] : Object.hasOwn(at, part) ? at[part] : undefined;
  }
  return at;
}

export function collect(value: Json | undefined, pointer: string): Json | undefined {
  const [before = "", after] = pointer.split("/*", 2);
  if (after === undefined) return pointed(value, pointer);
  const list = pointed(value, before);
  return Array.isArray(list) ? list.map((item) => pointed(item, after) ?? null) : undefined;
}

export function compareHeaders(step: Step, answer: Answer, vars: Map<string, Json>, differences: string[]): void {
  for (const [name, recorded] of Object.entries(step.response.headers ?? {})) {
    const wanted = substitute(recorded, vars) as string;
    const got = answer.headers[name];
    const same =
      name === "content-type"
        ? mediaType(got) === mediaType(wanted)
        : name === "allow"
          ? words(wanted).every((word) => words(got ?? "").includes(word))
          : name === "location"
            ? got !== undefined && placeholderMatches(wanted, new URL(got, vars.get("base") as string).href)
            : got !== undefined && placeholderMatches(wanted, got);
    if (!same) differences.push(`header ${name} is '${got ?? ""}' instead of '${wanted}'`);
  }
}

function mediaType(text: string | undefined): string {
  return (text ?? "").split(";")[0]?.trim() ?? "";
}

function words(text: string): string[] {
  return text.split(",").map((word) => word.trim());
}

const placeholders: readonly (readonly [RegExp, string])[] = [
  [/^<id:object>/, "[A-Za-z0-9._~-]+"],
  [/^<id:client>/, "[^\\s/'\":]+"],
  [/^<id:minted:(\w+)>/, "nmdc:$1-11-[^\\s/'\"]+"],
  [/^<id(?::\w+)?>/, "[^\\s/'\"]+"],
  [/^<datetime:Z>/, "\\d{4}-\\d\\d-\\d\\dT\\d\\d:\\d\\d:\\d\\d(?:\\.\\d{1,6})?Z"],
  [/^<datetime:naive>/, "\\d{4}-\\d\\d-\\d\\dT\\d\\d:\\d\\d:\\d\\d(?:\\.\\d{1,6})?"],
  [/^<token>|^<version>/, "\\S+"],
  [/^<secret>/, ".{8,}"],
  [/^<text>/, "[^]*"],
];

/** True when `text` is `recorded` with its placeholders standing for what they mean. */
function placeholderMatches(recorded: string, text: string): boolean {
  if (!recorded.includes("<")) return recorded === text;
  let pattern = "";
  for (let rest = recorded; rest !== "";) {
    const known = placeholders.find(([start]) => start.test(rest));
    const match = known?.[0].exec(rest);
    if (known && match) {
      pattern += known[1].replace("$1", match[1] ?? "");
      rest = rest.slice(match[0].length);
    } else {
      pattern += rest.charAt(0).replaceAll(/[.*+?^${}()|[\]\\]/g, String.raw`\$&`);
      rest = rest.slice(1);
    }
  }
  return new RegExp(`^${pattern}$`).test(text);
}

/** Wording that a client should not depend on: a text `detail`, and these parts of a validation entry. */
const wording = /^\/detail$|^\/detail\/\d+\/(?:msg|input|ctx)(?:\/|$)/;

export class Comparison {
  readonly #step: Step;
  readonly #vars: Map<string, Json>;
  readonly #differences: string[];

  constructor(step: Step, vars: Map<string, Json>, differences: string[]) {
    this.#step = step;
    this.#vars = vars;
    this.#differences = differences;
  }

  compare(recorded: Json, got: Json | undefined, at: string): void {
    const count = this.#differences.length;
    this.#compare(recorded, got, at);
    // Wording: both are texts (or both not), that is enough.
    if (wording.test(at) && typeof recorded === typeof got) this.#differences.length = count;
  }

  #compare(recorded: Json, got: Json | undefined, at: string): void {
    if (recorded === "<array>" || recorded === "<object>") {
      const right =
        recorded === "<array>" ? Array.isArray(got) : typeof got === "object" && got !== null && !Array.isArray(got);
      if (!right) this.#differs(at, recorded, got);
    } else if (typeof recorded === "string") {
      const wanted = substitute(recorded, this.#vars) as string;
      if (typeof got !== "string" || !placeholderMatches(wanted, got)) this.#differs(at, wanted, got);
    } else if (Array.isArray(recorded)) {
      this.#list(recorded, got, at);
    } else if (typeof recorded === "object" && recorded !== null) {
      if (typeof got !== "object" || got === null || Array.isArray(got)) return this.#differs(at, recorded, got);
      for (const [rawKey, value] of Object.entries(recorded)) {
        const key = substitute(rawKey, this.#vars) as string;
        if (!Object.hasOwn(got, key)) this.#differs(`${at}/${key}`, value, undefined);
        else this.compare(value, got[key], `${at}/${key}`);
      }
    } else if (recorded !== got) {
      this.#differs(at, recorded, got);
    }
  }

  #list(recorded: Json[], got: Json | undefined, at: string): void {
    if (!Array.isArray(got)) return this.#differs(at, recorded, got);
    const here = at === "" ? "/" : at;
    const superset = this.#step.superset?.includes(here) ?? false;
    if (!superset && got.length !== recorded.length)
      return this.#differs(`${at} (${recorded.length} elements)`, recorded, got);
    if (!superset && !(this.#step.unordered?.includes(here) ?? false)) {
      for (const [index, item] of recorded.entries()) this.compare(item, got[index], `${at}/${index}`);
      return;
    }
    const left = [...got];
    for (const item of recorded) {
      const index = left.findIndex((candidate, position) => this.#fits(item, candidate, `${at}/${position}`));
      if (index < 0) this.#differs(`${at} (any order)`, item, got);
      else left.splice(index, 1);
    }
  }

  #fits(recorded: Json, got: Json, at: string): boolean {
    const trial: string[] = [];
    new Comparison(this.#step, this.#vars, trial).compare(recorded, got, at);
    return trial.length === 0;
  }

  #differs(at: string, recorded: Json, got: Json | undefined): void {
    this.#differences.push(
      `${at === "" ? "/" : at} is ${JSON.stringify(got)?.slice(0, 300)} instead of ${JSON.stringify(recorded).slice(0, 300)}`,
    );
  }
}

export function failures(check: JsonMap, body: Json | undefined, vars: Map<string, Json>): string[] {
  const at = typeof check["at"] === "string" ? check["at"] : "";
  const value = pointed(body, at);
  const by = typeof check["by"] === "string" ? check["by"] : "";
  const keys = Array.isArray(value) ? value.map((item) => pointed(item, by)) : [];
  const fail = (why: string): string[] => [`check ${shown(check["check"])} at '${at}': ${why}`];
  switch (check["check"]) {
    case "sorted":
      return keys.every((key, i) => i === 0 || shown(keys[i - 1]) <= shown(key)) ? [] : fail(JSON.stringify(keys));
    case "length":
      return Array.isArray(value) && value.length === check["is"]
        ? []
        : fail(JSON.stringify(value)?.slice(0, 200) ?? "missing");
    case "includes":
    case "excludes": {
      const wanted = substitute(check["values"] ?? [], vars) as Json[];
      const bad = wanted.filter((one) => keys.includes(one) !== (check["check"] === "includes"));
      return bad.length === 0 ? [] : fail(JSON.stringify(bad));
    }
    case "union":
      return sameSet(flatten(check["of"], vars), flatten(check["is"], vars)) ? [] : fail("other elements");
    case "ascending": {
      const all = flatten(check["of"] ?? check["vars"], vars);
      return all.every((one, i) => i === 0 || shown(all[i - 1]) <= shown(one)) ? [] : fail(JSON.stringify(all));
    }
    case "distinct": {
      const all = flatten(check["vars"], vars);
      return new Set(all).size === all.length ? [] : fail(JSON.stringify(all));
    }
    case "matches":
      return typeof value === "string" && new RegExp(`^(?:${shown(check["pattern"])})$`).test(value)
        ? []
        : fail(JSON.stringify(value) ?? "missing");
    case "days_ahead":
      return daysAhead(value, Number(check["days"])) ? [] : fail(JSON.stringify(value) ?? "missing");
    default:
      return fail("this runner does not know it");
  }
}

function flatten(names: Json | undefined, vars: Map<string, Json>): Json[] {
  return (Array.isArray(names) ? names : []).flatMap((name) => vars.get(shown(name)) ?? null);
}

function sameSet(a: readonly Json[], b: readonly Json[]): boolean {
  return a.length === b.length && a.every((one) => b.includes(one));
}

function daysAhead(value: Json | undefined, days: number): boolean {
  if (typeof value !== "string") return false;
  const ms = Date.parse(value.endsWith("Z") ? value : `${value}Z`);
  return Math.abs(ms - Date.now() - days * 86_400_000) < 120_000;
}
