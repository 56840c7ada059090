/** Effective settings with their origin: what `siteagent config show` prints and the agent's status tells. Never a secret. */
import type { JsonValue } from "../common/json.ts";
import { type CompileOptions, compileSite } from "./compile.ts";
import { branchesOf, inputSchemaOf, memberOf, type SchemaNode } from "./json-schema.ts";
import { type LoadedConfig, loadConfig } from "./load.ts";
import { pathText } from "./problems.ts";
import type { Registries } from "./registries.ts";
import { type SiteSettings, siteSchema } from "./site-schema.ts";
import type { Site } from "./types.ts";

export interface ShownSetting {
  /** As `apps.readqc.retry.attempts`. */
  readonly path: string;
  /** As one would write it in the file. */
  readonly value: JsonValue;
  /** `FILE:LINE`, or `default`, or `site` for what an app takes over from the site as a whole. */
  readonly origin: string;
  readonly description?: string | undefined;
}

export interface ShownSite {
  readonly file: string;
  readonly digest: string;
  readonly settings: readonly ShownSetting[];
}

/** @throws ConfigProblems (CONFIG) like `loadSite`: only a file that can be used is shown. */
export async function showSite(path: string, registries: Registries, options: CompileOptions = {}): Promise<ShownSite> {
  const loaded = await loadConfig(path, siteSchema);
  const site = await compileSite(loaded, registries, options);
  const settings: ShownSetting[] = [];
  walk({ node: inputSchemaOf(siteSchema), raw: loaded.yaml.value, path: [], description: undefined }, loaded, settings);
  return { file: site.file, digest: site.digest, settings: withComputed(settings, site, loaded) };
}

interface Place {
  readonly node: SchemaNode;
  readonly raw: unknown;
  readonly path: readonly string[];
  readonly description: string | undefined;
}

function walk(place: Place, loaded: LoadedConfig<SiteSettings>, settings: ShownSetting[]): void {
  const { raw, path } = place;
  const value = raw === undefined ? place.node.default : raw;
  const description = place.node.description ?? place.description;
  const [node = place.node] = branchesOf(place.node, value);
  if (isMapping(value) && (node.properties || node.additionalProperties)) {
    const own = node.properties ?? {};
    const names = [...Object.keys(own), ...Object.keys(value).filter((name) => !Object.hasOwn(own, name))];
    for (const name of names.filter((key) => key !== "$schema")) {
      const child = Object.hasOwn(own, name) ? own[name] : openNode(node);
      walk(
        { node: child ?? {}, raw: memberOf(value, name), path: [...path, name], description: undefined },
        loaded,
        settings,
      );
    }
    if (Object.keys(value).length > 0 || node.properties) return;
  }
  if (value === undefined) return;
  settings.push({ path: pathText(path), value: value as JsonValue, origin: originOf(path, loaded), description });
}

function openNode(node: SchemaNode): SchemaNode {
  return typeof node.additionalProperties === "object" ? node.additionalProperties : {};
}

function isMapping(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function originOf(path: readonly string[], { yaml, file }: LoadedConfig<SiteSettings>): string {
  const position = yaml.has(path) ? yaml.locateKey(path) : undefined;
  return position ? `${file}:${position.line}` : "default";
}

/** What only compile knows: absolute paths, computed defaults, what apps take over from the site. */
function withComputed(
  settings: readonly ShownSetting[],
  site: Site,
  loaded: LoadedConfig<SiteSettings>,
): readonly ShownSetting[] {
  const computed: (readonly [readonly string[], JsonValue])[] = [
    [["agent", "state_dir"], site.agent.stateDir],
    [["agent", "runtime_dir"], site.agent.runtimeDir],
    ...Object.values(site.hosts).map((host) => [["hosts", host.name, "workdir"], host.workdir] as const),
    ...Object.values(site.targets).map((target) => [["targets", target.name, "slots"], target.slots] as const),
  ];
  const { retry } = loaded.settings;
  const inherited = Object.keys(site.apps).filter(
    (name) => retry !== undefined && !loaded.yaml.has(["apps", name, "retry"]),
  );
  const shown = new Map(settings.map((setting) => [setting.path, setting]));
  for (const [path, value] of computed) {
    const text = pathText(path);
    shown.set(text, { ...shown.get(text), path: text, value, origin: originOf(path, loaded) });
  }
  for (const name of inherited) {
    for (const { path, value, description } of settings.filter((setting) => setting.path.startsWith("retry."))) {
      shown.set(`apps.${name}.${path}`, { path: `apps.${name}.${path}`, value, origin: "site", description });
    }
  }
  const sections = Object.keys(siteSchema.shape);
  const rank = ({ path }: ShownSetting): number => sections.indexOf(/^[^.]*/.exec(path)?.[0] ?? "");
  return [...shown.values()].toSorted((a, b) => rank(a) - rank(b));
}
