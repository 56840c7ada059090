/**
 * `{{name}}` places in the templates of an app. A place fills exactly one argument or one part of a URL: a filled argument is still
 * one argument, a value cannot add `/`, `?`, `#`, `@` or `..` to a URL. Templates are checked when the site file is compiled, filled
 * when a job is there. `{{{{` stands for `{{`. Ids of jobs are no names: they never enter an argument, a path or a URL.
 */
import type { JsonValue } from "../common/json.ts";
import { isJsonObject } from "../common/json.ts";
import { quoted } from "../common/nearest.ts";
import type { ParameterValue } from "./app.ts";
import { objectReference } from "./object-reference.ts";

/** Where a template stands; decides its names and how values are written. */
export type TemplateUse = "argument" | "source" | "expectation" | "destination" | "image";

/** Names besides parameters, with what they stand for; `docs/configuration.md` lists them. */
export const templateNames = {
  "inputs.NAME": { uses: ["argument"], meaning: "absolute path of that input below the job's in/ directory" },
  "outputs.NAME": { uses: ["argument"], meaning: "absolute path of that output below work/ (not for kind glob)" },
  in: { uses: ["argument"], meaning: "absolute path of the job's in/ directory" },
  work: { uses: ["argument"], meaning: "absolute path of the job's work/ directory, where the command runs" },
  attempt: { uses: ["argument", "destination"], meaning: "number of the attempt: 1, 2, …" },
  token: { uses: ["argument", "source", "destination"], meaning: "the job's token on this site, 15 characters" },
  "config.PATH": { uses: ["source", "expectation"], meaning: "a value of the job's config, as config.reads.url" },
  "object.PATH": {
    uses: ["source", "expectation"],
    meaning: "of the object that triggered the job: object.url, object.name, object.size, object.sha256, object.id",
  },
} as const satisfies Record<string, { uses: readonly TemplateUse[]; meaning: string }>;

/** Names that no parameter can have. */
export const reservedNames: readonly string[] = [
  "in",
  "work",
  "attempt",
  "token",
  "inputs",
  "outputs",
  "config",
  "object",
];

export interface TemplateProblem {
  readonly message: string;
  readonly value?: string | undefined;
  readonly allowed?: string | undefined;
  readonly known?: readonly string[] | undefined;
  /** True when the job has no such value. */
  readonly missing?: boolean;
}

export type TemplatePart = { readonly literal: string } | { readonly name: string };

const namePattern = /^[A-Za-z][A-Za-z0-9_-]*(?:\.[A-Za-z0-9_-]+)*$/;

/** The parts of a template; problems of its syntax name the column in the text, from 1. */
export function parseTemplate(text: string): {
  readonly parts: readonly TemplatePart[];
  readonly problems: readonly TemplateProblem[];
} {
  const parts: TemplatePart[] = [];
  const problems: TemplateProblem[] = [];
  let literal = "";
  let position = 0;
  while (position < text.length) {
    const open = text.indexOf("{{", position);
    literal += text.slice(position, open === -1 ? undefined : open);
    if (open === -1) break;
    if (text.startsWith("{{{{", open)) {
      literal += "{{";
      position = open + 4;
      continue;
    }
    const close = text.indexOf("}}", open);
    if (close === -1) {
      problems.push({
        message: `'{{' at column ${open + 1} of ${quoted(text)} has no '}}'`,
        value: text,
        allowed: "{{name}}; {{{{ stands for {{",
      });
      break;
    }
    const name = text.slice(open + 2, close).trim();
    if (namePattern.test(name)) {
      if (literal !== "") parts.push({ literal });
      literal = "";
      parts.push({ name });
    } else {
      problems.push({
        message: `${quoted(name)} at column ${open + 3} of ${quoted(text)} is not a name`,
        value: name,
        allowed: "{{name}}, {{inputs.name}}",
      });
    }
    position = close + 2;
  }
  if (literal !== "") parts.push({ literal });
  return { parts, problems };
}

/** True when a job fills some of the text. */
export function hasPlace(text: string): boolean {
  return parseTemplate(text).parts.some((part) => "name" in part);
}

/** What places stand for in one job. */
export interface TemplateScope {
  readonly values: Readonly<Record<string, ParameterValue>>;
  /** The job's `config`. */
  readonly config?: JsonValue | undefined;
  /** The object that triggered the job: id, name, url, size, sha256. */
  readonly object?: JsonValue | undefined;
  readonly token?: string | undefined;
  readonly attempt?: number | undefined;
  /** Absolute. */
  readonly in?: string | undefined;
  readonly work?: string | undefined;
  /** Absolute paths by name. */
  readonly inputs?: Readonly<Record<string, string>> | undefined;
  readonly outputs?: Readonly<Record<string, string>> | undefined;
  /** Absolute paths of the files that hold secrets, by parameter. */
  readonly secrets?: Readonly<Record<string, string>> | undefined;
}

export type Filled =
  | { readonly ok: true; readonly text: string }
  | { readonly ok: false; readonly problem: TemplateProblem };

/** A filled template: one argument, one environment value, one expected size or digest. Never throws. */
export function fillText(template: string, scope: TemplateScope): Filled {
  return fill(template, scope, (value) => value);
}

/**
 * A filled URL. A template that is one place alone takes a whole URL from the job (policy judges it later); elsewhere each value is
 * percent-encoded as one part, and cannot be empty, `.` or `..`. Never throws.
 */
export function fillUrl(template: string, scope: TemplateScope): Filled {
  const { parts } = parseTemplate(template);
  const whole = parts.length === 1 && parts[0] !== undefined && "name" in parts[0];
  const filled = fill(template, scope, (value) => (whole ? value : encodePart(value)));
  if (!filled.ok) return filled;
  const flaw = whole ? wholeUrlFlaw(filled.text) : partsFlaw(filled.text);
  if (flaw === undefined) return filled;
  return {
    ok: false,
    problem: {
      message: `${quoted(filled.text)} from '${template}' ${flaw}`,
      value: filled.text,
      allowed: "a complete URL; values that are one part of it",
    },
  };
}

function fill(template: string, scope: TemplateScope, write: (value: string) => string): Filled {
  const { parts, problems } = parseTemplate(template);
  if (problems[0]) return { ok: false, problem: problems[0] };
  let text = "";
  for (const part of parts) {
    if ("literal" in part) {
      text += part.literal;
      continue;
    }
    const value = lookUp(part.name, scope);
    if (value === undefined) return { ok: false, problem: missing(part.name, template) };
    const flaw = textFlaw(value);
    if (flaw)
      return {
        ok: false,
        problem: {
          message: `${quoted(value)} for '{{${part.name}}}' ${flaw}`,
          value,
          allowed: "plain text on one line",
        },
      };
    text += write(value);
  }
  return { ok: true, text };
}

function missing(name: string, template: string): TemplateProblem {
  const what = name.startsWith("config.")
    ? `the job's config has no text or number at '${name}'`
    : `'${name}' has no value`;
  return { message: `${what}, which '${template}' needs`, value: name, missing: true };
}

function lookUp(name: string, scope: TemplateScope): string | undefined {
  const [head = "", ...rest] = name.split(".");
  const inner = rest.join(".");
  if (rest.length > 0) {
    if (head === "config") return scalarText(valueAt(scope.config, rest));
    if (head === "object") return scalarText(valueAt(scope.object, rest));
    if (head === "inputs") return own(scope.inputs, inner);
    return head === "outputs" ? own(scope.outputs, inner) : undefined;
  }
  switch (name) {
    case "in":
      return scope.in;
    case "work":
      return scope.work;
    case "token":
      return scope.token;
    case "attempt":
      return scope.attempt === undefined ? undefined : String(scope.attempt);
    default:
      return own(scope.secrets, name) ?? scalarText(own(scope.values, name));
  }
}

function own<Value>(record: Readonly<Record<string, Value>> | undefined, name: string): Value | undefined {
  return record && Object.hasOwn(record, name) ? record[name] : undefined;
}

/** The value at a path of names (and list positions) in JSON; undefined when there is none. */
export function valueAt(json: JsonValue | undefined, path: readonly string[]): JsonValue | undefined {
  let value = json;
  for (const step of path) {
    if (Array.isArray(value))
      value = /^\d{1,9}$/.test(step) ? (value as readonly JsonValue[])[Number(step)] : undefined;
    else value = isJsonObject(value) ? own(value, step) : undefined;
  }
  return value;
}

function scalarText(value: JsonValue | undefined): string | undefined {
  if (typeof value === "string") return value;
  return typeof value === "number" || typeof value === "boolean" ? String(value) : undefined;
}

/** Why a value can be no argument and no part of a URL; undefined when it can. */
export function textFlaw(value: string): string | undefined {
  if (!value.isWellFormed()) return "is not well-formed Unicode";
  return /\p{Cc}/u.test(value) ? "holds a control character" : undefined;
}

/** RFC 3986 unreserved characters stay, all others become %XX. */
function encodePart(value: string): string {
  return encodeURIComponent(value).replace(/[!'()*]/g, (sign) => `%${sign.charCodeAt(0).toString(16).toUpperCase()}`);
}

function wholeUrlFlaw(text: string): string | undefined {
  if (text.length > 4096) return "is longer than 4096 characters";
  if (/\s/.test(text)) return "holds a blank";
  if (objectReference(text)) return undefined;
  return /^[a-z][a-z0-9+._-]*:\/?/i.test(text) ? undefined : "is not a URL";
}

function partsFlaw(text: string): string | undefined {
  const path = text.replace(/^[^:/?#]+:\/{0,2}/, "").split(/[?#]/, 1)[0] ?? "";
  const steps = path.split("/");
  if (steps.some((step) => /^(?:\.|%2e){1,2}$/i.test(step))) return "would leave its directory";
  if (steps.slice(1, -1).includes("")) return "has an empty part";
  return undefined;
}
