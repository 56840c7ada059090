import { readFile, stat } from "node:fs/promises";
import { resolve } from "node:path";
import type { z } from "zod";
import { errnoOf } from "../common/fault.ts";
import { nearest, quoted } from "../common/nearest.ts";
import { inputSchemaOf } from "./json-schema.ts";
import { type ConfigProblem, ConfigProblems, pathText } from "./problems.ts";
import { maxFileBytes, type ParsedYaml, parseYaml } from "./yaml-text.ts";
import { problemsOf } from "./zod-problems.ts";

/** A file that fits its schema; `report` collects what later checks find, at its place in the text. */
export interface LoadedConfig<Settings> {
  /** Absolute. */
  readonly file: string;
  readonly text: string;
  /** With defaults; durations in ms, sizes in bytes. */
  readonly settings: Settings;
  readonly yaml: ParsedYaml;
  readonly report: Report;
}

export interface Finding {
  readonly path: readonly PropertyKey[];
  readonly message: string;
  readonly value?: unknown;
  readonly allowed?: string | undefined;
  /** The words that would be right: they make `allowed` and the nearest one. */
  readonly known?: readonly string[] | undefined;
  /** True: the place is the key, not its value. */
  readonly atKey?: boolean;
}

/** Collects problems with positions; `finish` throws all of them at once. */
export class Report {
  readonly file: string;
  readonly #yaml: ParsedYaml;
  readonly #problems: ConfigProblem[] = [];

  constructor(file: string, yaml: ParsedYaml) {
    this.file = file;
    this.#yaml = yaml;
  }

  add(finding: Finding): void {
    const position = finding.atKey ? this.#yaml.locateKey(finding.path) : this.#yaml.locate(finding.path);
    const word = typeof finding.value === "string" ? finding.value : undefined;
    this.#problems.push({
      file: this.file,
      line: position?.line,
      column: position?.column,
      path: pathText(finding.path),
      message: finding.message,
      value: finding.value === undefined ? undefined : quoted(finding.value),
      allowed: finding.allowed ?? (finding.known ? finding.known.join(", ") || "nothing: there is none" : undefined),
      nearest: finding.known && word !== undefined ? nearest(word, finding.known) : undefined,
    });
  }

  /** One that is complete already. */
  addProblem(problem: ConfigProblem): void {
    this.#problems.push(problem);
  }

  get count(): number {
    return this.#problems.length;
  }

  /** @throws ConfigProblems when anything was added. */
  finish(): void {
    if (this.#problems.length > 0) throw new ConfigProblems(this.file, this.#problems);
  }
}

/**
 * Takes out of the data what does not fit, so that later checks can look at the rest; undefined when that would be misleading. May
 * change and return `data`, which is a copy.
 */
export type Salvage = (data: unknown, issues: readonly z.core.$ZodIssue[]) => unknown;

/**
 * Reads a YAML file and checks it against a schema. With `salvage`, problems of the schema may wait in `report` for those that later
 * checks find.
 * @throws ConfigProblems (CONFIG) with all problems of syntax, or all of the schema.
 */
export async function loadConfig<Schema extends z.ZodType>(
  path: string,
  schema: Schema,
  salvage?: Salvage,
): Promise<LoadedConfig<z.output<Schema>>> {
  const file = resolve(path);
  return parseConfig(await readText(file), file, schema, salvage);
}

/** The same for text that is there already; `file` is only its name. */
export function parseConfig<Schema extends z.ZodType>(
  text: string,
  file: string,
  schema: Schema,
  salvage?: Salvage,
): LoadedConfig<z.output<Schema>> {
  const yaml = parseYaml(text, file);
  if (yaml.problems.length > 0) throw new ConfigProblems(file, yaml.problems);
  const report = new Report(file, yaml);
  const parsed = schema.safeParse(yaml.value ?? {});
  if (parsed.success) return { file, text, settings: parsed.data, yaml, report };
  const { issues } = parsed.error;
  for (const problem of problemsOf(issues, { file, yaml, schema: inputSchemaOf(schema) })) report.addProblem(problem);
  const rest = schema.safeParse(salvage?.(structuredClone(yaml.value), issues));
  if (!rest.success) report.finish();
  return { file, text, settings: rest.data as z.output<Schema>, yaml, report };
}

async function readText(file: string): Promise<string> {
  try {
    const { size } = await stat(file);
    if (size > maxFileBytes)
      throw new ConfigProblems(file, [wholeFile(file, `${size} bytes; at most ${maxFileBytes} are read`)]);
    return new TextDecoder("utf-8", { fatal: true }).decode(await readFile(file));
  } catch (error) {
    if (error instanceof ConfigProblems) throw error;
    throw new ConfigProblems(file, [wholeFile(file, readMessage(error))]);
  }
}

function readMessage(error: unknown): string {
  switch (errnoOf(error)) {
    case "ENOENT":
      return "no such file";
    case "EISDIR":
      return "a directory, not a file";
    case "EACCES":
    case "EPERM":
      return "the file may not be read by this account";
    case "ERR_ENCODING_INVALID_ENCODED_DATA":
      return "the file is not UTF-8 text";
    default:
      return error instanceof Error ? error.message : String(error);
  }
}

function wholeFile(file: string, message: string): ConfigProblem {
  return { file, line: undefined, column: undefined, path: "", message };
}
