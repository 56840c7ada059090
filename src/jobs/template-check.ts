/** What can be told of templates without a job: syntax, unknown names, commands and URLs that a job could turn into others. */
import { quoted } from "../common/nearest.ts";
import type { App } from "./app.ts";
import {
  hasPlace,
  parseTemplate,
  templateNames,
  type TemplatePart,
  type TemplateProblem,
  type TemplateUse,
} from "./template.ts";

/**
 * What is wrong with a command as a whole: a program that a job could choose, and values inside the text of a shell or another
 * interpreter, where they would be code. Each template by itself is checked by `checkTemplate`.
 */
export function checkCommand(command: readonly string[]): readonly (TemplateProblem & { readonly index: number })[] {
  const problems: (TemplateProblem & { readonly index: number })[] = [];
  let interpreter: string | undefined;
  let codeNext = false;
  for (const [index, text] of command.entries()) {
    if (index === 0 && hasPlace(text)) {
      const message = `the program ${quoted(text)} would be chosen by the job`;
      problems.push({ index, message, value: text, allowed: "a name or path without places" });
    }
    if (codeNext && hasPlace(text)) {
      const message = `${quoted(text)} puts values of the job into the text of '${interpreter}', where they are code`;
      problems.push({
        index,
        message,
        value: text,
        allowed: `an argument of its own, as in [sh, -c, 'echo "$1"', sh, "{{x}}"]`,
      });
    }
    const word = text.slice(text.lastIndexOf("/") + 1);
    codeNext = interpreter !== undefined && /^(?:-[a-zA-Z]*[ceE]|--eval|--command)$/.test(text);
    if (interpreters.test(word)) interpreter = word;
  }
  return problems;
}

const interpreters = /^(?:(?:ba|da|k|z|a|c|tc|fi)?sh|busybox|perl|ruby|node|python[\d.]*|Rscript|lua|php|ssh|su|env)$/;

type Names = Pick<App, "parameters" | "inputs" | "outputs">;

/** Everything wrong with a template that can be told without a job: syntax, unknown names, places where a URL cannot have one. */
export function checkTemplate(
  text: string,
  use: TemplateUse,
  app: Names,
  remotes: readonly string[] = [],
): readonly TemplateProblem[] {
  const { parts, problems } = parseTemplate(text);
  const unknown = parts.flatMap((part) => ("name" in part ? (checkName(part.name, text, use, app) ?? []) : []));
  const shape = use === "source" || use === "destination" ? checkUrlShape(text, parts, use, remotes) : undefined;
  return [...problems, ...unknown, ...(shape && problems.length === 0 ? [shape] : [])];
}

/** The names that a template in this use may have for this app. */
export function namesFor(use: TemplateUse, app: Names): readonly string[] {
  const names = Object.entries(app.parameters)
    .filter(([, spec]) => use === "argument" || spec.type !== "secret")
    .map(([name]) => name);
  if (use === "argument") {
    names.push(...Object.keys(app.inputs).map((name) => `inputs.${name}`));
    const single = Object.entries(app.outputs).filter(([, output]) => output.kind !== "glob");
    names.push(...single.map(([name]) => `outputs.${name}`));
  }
  for (const [name, { uses }] of Object.entries(templateNames)) {
    if (!name.includes(".") && (uses as readonly TemplateUse[]).includes(use)) names.push(name);
  }
  return names;
}

const takers: Readonly<Record<TemplateUse, string>> = {
  argument: "commands",
  source: "sources",
  expectation: "expectations",
  destination: "destinations",
  image: "images",
};

function takesConfig(use: TemplateUse): boolean {
  return use === "source" || use === "expectation";
}

function checkName(name: string, text: string, use: TemplateUse, app: Names): TemplateProblem | undefined {
  if (/^(?:config|object)\./.test(name) && takesConfig(use)) return undefined;
  const known = namesFor(use, app);
  if (known.includes(name)) return mayBeMissing(name, use, app);
  const where = `at column ${text.indexOf(name, text.indexOf("{{")) + 1} of ${quoted(text)}`;
  if (name.startsWith("config.")) {
    const message = `'{{${name}}}' ${where}: ${takers[use]} take declared parameters only`;
    return { message, value: name.slice(7), allowed: `a parameter with from: ${name}`, known };
  }
  if (Object.hasOwn(app.parameters, name)) {
    return {
      message: `'{{${name}}}' ${where} is a secret, which enters commands only (as a file's path)`,
      value: name,
      known,
    };
  }
  const allowed = takesConfig(use) ? [...known, "config.PATH"] : known;
  return { message: `'{{${name}}}' ${where} is unknown`, value: name, known: allowed };
}

/** A place needs a value in every job: an argument cannot be left out. */
function mayBeMissing(name: string, use: TemplateUse, app: Names): TemplateProblem | undefined {
  const spec = Object.hasOwn(app.parameters, name) ? app.parameters[name] : undefined;
  if (!spec || spec.type === "secret" || takesConfig(use)) return undefined;
  if (spec.required !== false || spec.default !== undefined) return undefined;
  const message = `'{{${name}}}' may have no value: the parameter is not required and has no default`;
  return { message, value: name, allowed: "a default, or required: true" };
}

/** A URL is one place alone, or names its scheme and host in plain text before the first place. */
function checkUrlShape(
  text: string,
  parts: readonly TemplatePart[],
  use: TemplateUse,
  remotes: readonly string[],
): TemplateProblem | undefined {
  const [first] = parts;
  if (first && "name" in first && parts.length === 1) {
    if (use === "source") return undefined;
    const message = `${quoted(text)} leaves the whole destination to the job`;
    return { message, value: text, allowed: "a URL whose scheme and host are written here" };
  }
  const plain = first && "literal" in first ? first.literal : "";
  const scheme = /^([a-z][a-z0-9+._-]*):/.exec(plain)?.[1] ?? "";
  const fits = remotes.includes(scheme)
    ? /^[^:]+:\/(?!\/)/.test(plain)
    : /^(?:file:\/\/\/|[a-z][a-z0-9+.-]*:\/\/[^/?#\s]+\/)/.test(plain);
  if (fits) return undefined;
  if (/^[a-z][a-z0-9_-]+:\/(?!\/)/.test(plain) && !remotes.includes(scheme)) {
    return { message: `'${scheme}' of ${quoted(text)} is no remote of this file`, value: scheme, known: remotes };
  }
  const named = remotes.map((remote) => `${remote}:/path`);
  const allowed = [
    "https://host/path",
    "file:///path",
    ...named,
    ...(use === "source" ? ["{{config.url}} alone"] : []),
  ];
  return {
    message: `${quoted(text)} does not begin with scheme and host in plain text`,
    value: text,
    allowed: allowed.join(", "),
  };
}
