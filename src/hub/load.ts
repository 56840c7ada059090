/** Reads the hub's file: settings, the presets it names and its secrets are checked together, before anything starts. */
import { readFileSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { asFault, Fault } from "../common/fault.ts";
import { packageRoot } from "../common/version.ts";
import { type LoadedConfig, loadConfig, parseConfig } from "../config/load.ts";
import { type ConfigProblem, ConfigProblems } from "../config/problems.ts";
import type { SecretInput } from "../config/secret-schema.ts";
import { readSecret, secretRef } from "../config/secrets.ts";
import {
  hubConfigSchema,
  type HubSettings,
  knownOf,
  type Registry,
  registryFindings,
  registrySchema,
} from "./config.ts";

const nmdcPreset = join(packageRoot, "config", "nmdc-preset.yaml");

/** The store is missing where a development hub brings its own. */
export type FileSettings = Omit<HubSettings, "store"> & { readonly store?: HubSettings["store"] | undefined };

/** A file that can be used. `input` is its plain data as `startHub({config})` takes it. */
export interface HubFile {
  /** Absolute. */
  readonly file: string;
  /** Where its relative paths start. */
  readonly directory: string;
  readonly input: unknown;
  readonly settings: FileSettings;
}

export interface LoadOptions {
  /** For a development hub, which brings its own store. */
  readonly dev?: boolean;
  /** Environment of this process: where systemd credentials lie. */
  readonly env?: NodeJS.ProcessEnv;
}

/** @throws ConfigProblems (CONFIG) with all problems, each with its place. */
export async function loadHubFile(path: string, options: LoadOptions = {}): Promise<HubFile> {
  const schema = options.dev ? hubConfigSchema.partial({ store: true }) : hubConfigSchema;
  const loaded: LoadedConfig<FileSettings> = await loadConfig(path, schema);
  const { file, settings, yaml } = loaded;
  const directory = dirname(file);
  checkRegistries(loaded, checkPresets(loaded, presetNames(loaded, options), directory));
  for (const [at, secret] of secretsOf(settings)) await checkSecret(loaded, at, secret, directory, options.env);
  loaded.report.finish();
  return { file, directory, input: yaml.value ?? {}, settings };
}

/** `nmdc`, or a path relative to `directory`. @throws ConfigProblems (CONFIG). */
export function readPreset(name: string, directory: string): Registry {
  return loadPreset(name, directory).settings;
}

function loadPreset(name: string, directory: string): LoadedConfig<Registry> {
  const file = name === "nmdc" ? nmdcPreset : resolve(directory, name);
  let text: string;
  try {
    text = readFileSync(file, "utf8");
  } catch (error) {
    const message = `the preset cannot be read: ${asFault(error, "CONFIG").message}`;
    throw new ConfigProblems(file, [{ file, line: undefined, column: undefined, path: "", message }]);
  }
  return parseConfig(text, file, registrySchema);
}

/** A development hub has the NMDC preset unless its file says otherwise. */
function presetNames({ settings, yaml }: LoadedConfig<FileSettings>, { dev }: LoadOptions): readonly string[] {
  const said = typeof yaml.value === "object" && yaml.value !== null && "presets" in yaml.value;
  return dev && !said ? ["nmdc"] : settings.presets;
}

/** @throws Fault SECRET. */
export async function hubSecret(input: SecretInput, directory: string, env = process.env): Promise<string> {
  const ref = secretRef(input, (path) => resolve(directory, path), env);
  if ("problem" in ref) throw new Fault("SECRET", ref.problem, { hint: ref.allowed });
  return readSecret(ref);
}

/** Gives those that can be read; undefined when one cannot, for what it would have brought is unknown. */
function checkPresets(
  { report }: LoadedConfig<FileSettings>,
  names: readonly string[],
  directory: string,
): readonly LoadedConfig<Registry>[] | undefined {
  const before = report.count;
  const presets = names.flatMap((name, index) => {
    try {
      return [loadPreset(name, directory)];
    } catch (error) {
      if (!(error instanceof ConfigProblems)) throw error;
      const placed = error.problems.filter((problem) => problem.line !== undefined);
      for (const problem of placed) report.addProblem(problem);
      for (const { message } of error.problems.filter((problem) => problem.line === undefined)) {
        report.add({ path: ["presets", index], value: name, message, allowed: "nmdc, or the path of a registry file" });
      }
      return [];
    }
  });
  return report.count === before ? presets : undefined;
}

/** Ids that are there twice and triggers that name what nobody knows, each at its place in its own file. */
function checkRegistries(
  loaded: LoadedConfig<FileSettings>,
  presets: readonly LoadedConfig<Registry>[] | undefined,
): void {
  const known = knownOf([loaded.settings, ...(presets ?? []).map((preset) => preset.settings)]);
  for (const finding of registryFindings(loaded.settings, known)) {
    // Without all presets nobody can say what is unknown.
    if (presets !== undefined || finding.known === undefined) loaded.report.add(finding);
  }
  for (const preset of presets ?? []) {
    if (preset.file === nmdcPreset) continue;
    for (const finding of registryFindings(preset.settings, known)) preset.report.add(finding);
    for (const problem of problemsIn(preset)) loaded.report.addProblem(problem);
  }
}

function problemsIn({ report }: LoadedConfig<Registry>): readonly ConfigProblem[] {
  try {
    report.finish();
    return [];
  } catch (error) {
    if (error instanceof ConfigProblems) return error.problems;
    throw error;
  }
}

function secretsOf({ store, admin }: FileSettings): (readonly [readonly string[], SecretInput])[] {
  const found: (readonly [readonly string[], SecretInput])[] = [];
  if (store?.kind === "postgres" && typeof store.url !== "string") found.push([["store", "url"], store.url]);
  if (admin.password) found.push([["admin", "password"], admin.password]);
  return found;
}

async function checkSecret(
  { report }: LoadedConfig<FileSettings>,
  path: readonly string[],
  secret: SecretInput,
  directory: string,
  env: NodeJS.ProcessEnv | undefined,
): Promise<void> {
  try {
    await hubSecret(secret, directory, env);
  } catch (error) {
    const fault = asFault(error, "SECRET");
    report.add({ path, message: fault.message, allowed: fault.hint });
  }
}
