import type { AppView, ParameterView } from "../../wire/apps.ts";
import type { CliContext } from "../context.ts";
import { shellQuoted } from "../../common/shell.ts";
import { type Column, tableText } from "./table.ts";
import { manyLines, oneLine, wrap } from "./text.ts";

/** A site that serves a workflow; without `app` it told no more than that. */
export interface Serving {
  readonly site: string;
  readonly app: AppView | undefined;
}

/** Sites that take the same of a job. */
export interface AppGroup {
  readonly sites: readonly string[];
  /** False: these sites said only that they serve it. */
  readonly told: boolean;
  readonly description: string | null;
  readonly parameters: AppView["parameters"];
  readonly inputs: readonly string[];
}

/** Sites with the same parameters and inputs together, those that told most first. */
export function groupsOf(served: readonly Serving[]): readonly AppGroup[] {
  const groups = new Map<string, AppGroup>();
  for (const { site, app } of served) {
    const key = JSON.stringify(app === undefined ? null : [app.description, sorted(app.parameters), app.inputs]);
    const before = groups.get(key);
    groups.set(key, {
      sites: [...(before?.sites ?? []), site],
      told: app !== undefined,
      description: app?.description ?? null,
      parameters: app?.parameters ?? {},
      inputs: app?.inputs ?? [],
    });
  }
  return [...groups.values()].toSorted((a, b) => Number(b.told) - Number(a.told));
}

function sorted(parameters: AppView["parameters"]): readonly unknown[] {
  return Object.entries(parameters)
    .toSorted(([a], [b]) => (a < b ? -1 : 1))
    .map(([name, view]) => [name, Object.entries(view).toSorted(([a], [b]) => (a < b ? -1 : 1))]);
}

/** What a workflow takes, for people. */
export function appText(context: CliContext, workflow: string, groups: readonly AppGroup[]): string {
  const parts: string[] = [`${context.out.style("bold", oneLine(workflow))}\n`];
  for (const group of groups) parts.push(groupText(context, workflow, group, groups.length > 1));
  return parts.join("\n");
}

function groupText(context: CliContext, workflow: string, group: AppGroup, several: boolean): string {
  const sites = `${group.sites.length === 1 ? "site" : "sites"} ${group.sites.map((site) => oneLine(site)).join(", ")}`;
  const lines = [`Served by ${sites}.`];
  if (!group.told) return `${lines[0]} Nothing is known of its parameters there.\n`;
  if (group.description !== null) lines.push(...wrap(manyLines(group.description), Math.min(context.out.columns, 100)));
  const rows = Object.entries(group.parameters).map(([name, view]) => ({ name, view }));
  lines.push("");
  if (rows.length === 0) lines.push("It takes no parameters.");
  else {
    const options = { header: true, dropEmpty: true, ellipsis: context.symbols.ellipsis };
    lines.push(tableText(rows, columns, context.out, options).trimEnd());
  }
  const inputs = group.inputs.map((field) => oneLine(field)).join(", ");
  if (group.inputs.length > 0) lines.push("", `Its inputs are found by these values of the job: ${inputs}`);
  lines.push("", "Example:", `  ${oneLine(exampleOf(workflow, group, several))}`);
  return `${lines.join("\n")}\n`;
}

interface Row {
  readonly name: string;
  readonly view: ParameterView;
}

const columns: readonly Column<Row>[] = [
  { key: "name", title: "PARAMETER", value: ({ name }) => name },
  { key: "type", title: "TYPE", value: ({ view }) => view.type },
  { key: "needed", title: "NEEDED", value: ({ view }) => (view.required ? "yes" : "no") },
  { key: "default", title: "DEFAULT", value: ({ view }) => (view.default === undefined ? "" : String(view.default)) },
  { key: "allowed", title: "ALLOWED", value: ({ view }) => allowedText(view), shrinkTo: 12 },
  { key: "from", title: "ALSO FROM", value: ({ name, view }) => (view.from === `config.${name}` ? "" : view.from) },
  { key: "meaning", title: "MEANING", value: ({ view }) => view.description ?? "", shrinkTo: 12 },
];

/** What values are allowed, as `1 to 16`, `a, b`, `matches ^S[0-9]+$`. */
export function allowedText(view: ParameterView): string {
  if (view.enum) return view.enum.map(String).join(", ");
  const words: string[] = [];
  if (view.minimum !== undefined) {
    words.push(view.maximum === undefined ? `${view.minimum} or more` : `${view.minimum} to ${view.maximum}`);
  } else if (view.maximum !== undefined) words.push(`at most ${view.maximum}`);
  if (view.pattern !== undefined) words.push(`matches ${view.pattern}`);
  if (view.min_length !== undefined) words.push(`at least ${view.min_length} characters`);
  if (view.max_length !== undefined && view.max_length !== usualLength) {
    words.push(`at most ${view.max_length} characters`);
  }
  return words.join("; ");
}

/** What every text may have; not worth a word. */
const usualLength = 1024;

/** A command line with everything that is needed; words in capitals are to be replaced. */
function exampleOf(workflow: string, group: AppGroup, several: boolean): string {
  const needed = Object.entries(group.parameters).filter(([, view]) => view.required);
  const shown = needed.length > 0 ? needed : Object.entries(group.parameters).slice(0, 1);
  const words = ["siteagent", "submit", shellQuoted(workflow)];
  for (const [name, view] of shown) words.push("-p", shellQuoted(`${name}=${sampleOf(view)}`));
  const fields = group.inputs.map((field) => (field.startsWith("object.") ? "config.object_id" : field));
  for (const field of new Set(fields)) {
    const name = field.slice("config.".length);
    words.push("-c", shellQuoted(`${name}=${name === "object_id" ? "ID" : "URL"}`));
  }
  const [site] = group.sites;
  if (several && site !== undefined) words.push("--site", shellQuoted(site));
  return words.join(" ");
}

function sampleOf(view: ParameterView): string {
  const [first] = view.enum ?? [];
  const known = view.default ?? first;
  if (known !== undefined) return String(known);
  if (view.type === "boolean") return "true";
  if (view.type === "string") return "TEXT";
  return String(view.minimum ?? 0);
}
