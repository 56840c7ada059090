/** docs/configuration.md: all settings of site and hub file, from their schemas. */
import type { z } from "zod";
import { branchesOf, inputSchemaOf, type SchemaNode } from "../../src/config/json-schema.ts";
import { builtInRegistries } from "../../src/config/registries.ts";
import { siteSchema } from "../../src/config/site-schema.ts";
import { hubConfigSchema } from "../../src/hub/config.ts";
import { attemptVariables, basicVariables } from "../../src/jobs/environment.ts";
import { templateNames } from "../../src/jobs/template.ts";
import type { GeneratedFile } from "../lib/generated.ts";
import { code, header, table } from "../lib/markdown.ts";

export async function files(): Promise<readonly GeneratedFile[]> {
  return [{ path: "docs/configuration.md", content: page() }];
}

function page(): string {
  return [
    header("Configuration", "src/config/site-schema.ts, src/jobs/app.ts, src/hub/config.ts"),
    "## The site file",
    "",
    "`siteagent run --config site.yaml`; without the flag `SITEAGENT_CONFIG`, then `site.yaml` in `$CONFIGURATION_DIRECTORY`,",
    "`~/.config/siteagent` or `/etc/siteagent`. Begin with [config/site.example.yaml](../config/site.example.yaml); its first line gives editors the",
    "[JSON Schema](../config/site.schema.json). `siteagent validate` names all problems with line, column and the nearest word;",
    "`siteagent config show` prints every effective value and where it comes from.",
    "",
    "- YAML 1.2: durations are text (`250ms`, `10s`, `5m`, `2h`, `1d`, `1h30m`, `D-HH:MM:SS`), sizes bytes or text (`8GiB`, `500MB`). An unknown key is an error.",
    "- `~` and relative paths begin at the file's directory.",
    "- A secret never stands in the file: `{file: PATH}` (mode 0600 or 0400, own account) or `{credential: NAME}` (systemd's `LoadCredential=`). It is read at each use, so that it can be changed.",
    "- `siteagent reload`, SIGHUP or saving the file loads it again. One that cannot be used changes nothing; running jobs keep what they started with.",
    "",
    ...sections(siteSchema, "site"),
    ...launchers(),
    templates(),
    environment(),
    "## The hub file",
    "",
    "`siteagent hub --config hub.yaml`. [JSON Schema](../config/hub.schema.json).",
    "",
    ...sections(hubConfigSchema, "hub"),
  ].join("\n");
}

/** The keys of a target that belong to its launcher. */
function launchers(): readonly string[] {
  const done: string[] = [];
  for (const [name, { settings }] of Object.entries(builtInRegistries.launchers)) {
    const schema = inputSchemaOf(settings);
    if (Object.keys(schema.properties ?? {}).length > 0)
      describe(schema, `targets.NAME, launcher ${name}`, "site", done);
  }
  return done;
}

function templates(): string {
  const rows = Object.entries(templateNames).map(([name, { uses, meaning }]) => [
    code(`{{${name}}}`),
    uses.map(useWord).join(", "),
    meaning,
  ]);
  return [
    "### Places in templates",
    "",
    "`{{name}}` in `command`, `environment`, hook commands, `from` and expectations of inputs, `to` of outputs. A place fills exactly one argument or",
    "one part of a URL, percent-encoded: a value can add no argument, no `/`, `?`, `#`, `@` or `..`. An input's `from` may be one place alone",
    "(`{{config.reads_url}}`): then the job gives the whole URL, and the site's policy judges it. `{{{{` stands for `{{`.",
    "",
    table(
      ["place", "where", "filled with"],
      [
        [
          "`{{PARAMETER}}`",
          "everywhere",
          "the parameter's value; for a secret (commands only) the path of a file that holds it",
        ],
        ...rows,
      ],
    ),
    "",
  ].join("\n");
}

const useWords = {
  argument: "commands, environment",
  source: "`from` of inputs",
  expectation: "`size`, `sha256`",
  destination: "`to` of outputs",
  image: "`image` of a container",
};

function useWord(use: keyof typeof useWords): string {
  return useWords[use];
}

function environment(): string {
  const variables = { ...basicVariables, ...attemptVariables };
  return [
    "### Environment of attempts and hooks",
    "",
    "Built from nothing: the variables below, those of `agent.environment` that the agent has, and the app's own `environment`.",
    "",
    table(
      ["variable", "value"],
      Object.entries(variables).map(([name, meaning]) => [code(name), meaning]),
    ),
    "",
  ].join("\n");
}

/** One table for each mapping of the schema, in the order of the file. */
function sections(schema: z.ZodType, root: string): readonly string[] {
  const done: string[] = [];
  describe(inputSchemaOf(schema), "", root, done);
  return done;
}

function describe(node: SchemaNode, path: string, root: string, done: string[]): void {
  const variants = branchesOf(node, undefined).filter((branch) => branch.properties);
  for (const variant of variants) {
    const properties = Object.entries(variant.properties ?? {}).filter(([name]) => name !== "$schema");
    done.push(
      `### ${path === "" ? `Top of the ${root} file` : code(path)}${variantName(variant, variants.length)}`,
      "",
    );
    if (path !== "" && node.description !== undefined) done.push(`${capital(node.description)}.`, "");
    const rows = properties.map(([name, member]) => [
      code(name),
      kindOf(member),
      defaultOf(variant, name, member),
      plain(member.description ?? ""),
    ]);
    done.push(table(["key", "value", "default", "meaning"], rows), "");
    for (const [name, member] of properties) below(member, path === "" ? name : `${path}.${name}`, root, done);
  }
}

function below(member: SchemaNode, path: string, root: string, done: string[]): void {
  if (member["x-secret"]) return;
  const branches = branchesOf(member, undefined);
  if (branches.some((branch) => branch.properties)) describe(member, path, root, done);
  for (const branch of branches) {
    if (typeof branch.additionalProperties === "object" && !branch.properties) {
      if (mappings(branch.additionalProperties)) describe(branch.additionalProperties, `${path}.NAME`, root, done);
    }
    if (branch.items && mappings(branch.items)) describe(branch.items, `${path}[]`, root, done);
  }
}

function mappings(node: SchemaNode): boolean {
  return branchesOf(node, undefined).some((branch) => branch.properties !== undefined);
}

function variantName(variant: SchemaNode, count: number): string {
  if (count < 2) return "";
  const constant = Object.entries(variant.properties ?? {}).find(([, member]) => member.const !== undefined);
  if (constant) return ` with \`${constant[0]}: ${String(constant[1].const)}\``;
  return ` with ${code(variant.required?.[0] ?? Object.keys(variant.properties ?? {})[0] ?? "")}`;
}

function kindOf(node: SchemaNode): string {
  if (node["x-secret"]) return "`{file: …}` or `{credential: …}`";
  if (node.examples?.includes("10s")) return "duration";
  if (node.examples?.includes("8GiB")) return "size";
  const kinds = branchesOf(node, undefined).map((branch) => {
    if (branch.const !== undefined) return code(String(branch.const));
    if (branch.enum) return branch.enum.map((word) => code(String(word))).join(", ");
    if (branch.type === "array") return branch.items ? `list of ${kindOf(branch.items)}` : "list";
    if (branch.type === "object") return branch.properties ? "mapping" : "mapping of names";
    if (branch.type === "integer") return `whole number${range(branch)}`;
    return branch.type === "string" ? "text" : (branch.type ?? "any");
  });
  return [...new Set(kinds)].join(" or ");
}

function range(node: SchemaNode): string {
  const low = node.minimum !== undefined && node.minimum > Number.MIN_SAFE_INTEGER ? String(node.minimum) : "";
  const high = node.maximum !== undefined && node.maximum < Number.MAX_SAFE_INTEGER ? String(node.maximum) : "";
  return low === "" && high === "" ? "" : ` ${low}…${high}`;
}

function defaultOf(parent: SchemaNode, name: string, member: SchemaNode): string {
  if (member.default !== undefined) return code(JSON.stringify(member.default).replace(/^"(.*)"$/, "$1"));
  return parent.required?.includes(name) ? "**required**" : "";
}

/** A description as text of Markdown. */
function plain(text: string): string {
  return text.replaceAll("<", "&lt;").replaceAll("*", "\\*");
}

function capital(text: string): string {
  return text.charAt(0).toUpperCase() + text.slice(1);
}
