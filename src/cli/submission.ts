import { basename } from "node:path";
import { Fault } from "../common/fault.ts";
import type { JsonObject, JsonValue } from "../common/json.ts";
import { isJsonObject } from "../common/json.ts";
import { quoted } from "../common/nearest.ts";
import { type JobCreate, jobCreateSchema } from "../wire/user-api.ts";
import type { CliContext } from "./context.ts";
import { readBytes, readText } from "./input.ts";
import { keyValue, type Options } from "./options.ts";
import type { CommandCall } from "./spec.ts";

export interface Submission {
  readonly jobs: readonly JobCreate[];
  /** True: from a file, answered one by one. */
  readonly many: boolean;
  readonly uploads: readonly { readonly key: string; readonly name: string; readonly bytes: Uint8Array }[];
}

/** The job requests that a command line means, checked. @throws Fault USAGE, INVALID with all problems, NOT_FOUND. */
export async function requestsOf(context: CliContext, call: CommandCall): Promise<Submission> {
  const { options } = call;
  const [workflow] = call.args;
  const file = options.text("file");
  const common = await commonPart(context, options);
  const uploads = await uploadsOf(context, options.list("input"));
  if (file === undefined) {
    if (workflow === undefined)
      throw new Fault("USAGE", "no workflow is named", { hint: "siteagent submit WORKFLOW, or --file jobs.jsonl" });
    return { jobs: [checked({ ...common, workflow }, "the job")], many: false, uploads };
  }
  const lines = (await readText(context, file)).split(/\r?\n/).map((line, at) => ({ line, at: at + 1 }));
  const jobs = lines
    .filter(({ line }) => line.trim() !== "")
    .map(({ line, at }) => fromLine(line, at, common, workflow));
  if (jobs.length === 0) throw new Fault("INVALID", `${quoted(file)} holds no job`);
  return { jobs, many: true, uploads };
}

/** What the flags say; for many jobs what each of them has unless its line says otherwise. */
async function commonPart(context: CliContext, options: Options): Promise<JsonObject> {
  const priority = options.integer("priority", -1000, 1000);
  const text = (name: string, key: string): JsonObject => {
    const value = options.text(name);
    return value === undefined ? {} : { [key]: value };
  };
  return {
    ...text("name", "name"),
    ...text("description", "description"),
    ...text("site", "site"),
    ...text("idempotency-key", "idempotency_key"),
    ...(priority === undefined ? {} : { priority }),
    parameters: Object.fromEntries(options.list("param").map((item) => assignment("param", item))),
    tags: Object.fromEntries(
      options.list("tag").map((item) => (item.includes("=") ? keyValue("tag", item) : [item, ""])),
    ),
    config: await configOf(context, options.list("config")),
  };
}

/** `k=v` is text, `k:=json` any JSON. */
function assignment(flag: string, item: string): [string, JsonValue] {
  const [key, value] = keyValue(flag, item);
  if (!key.endsWith(":")) return [key, value];
  try {
    return [key.slice(0, -1), JSON.parse(value) as JsonValue];
  } catch {
    throw new Fault("USAGE", `--${flag} ${quoted(item)}: ${quoted(value)} is no JSON`);
  }
}

/** Files and single values in their order; later ones win. A key with dots goes into nested objects. */
async function configOf(context: CliContext, items: readonly string[]): Promise<JsonObject> {
  let config: JsonObject = {};
  for (const item of items) {
    if (item.includes("=")) {
      const [key, value] = assignment("config", item);
      config = placed(config, key.split("."), value);
    } else config = { ...config, ...(await configFile(context, item)) };
  }
  return config;
}

function placed(into: JsonObject, path: readonly string[], value: JsonValue): JsonObject {
  const [key = "", ...rest] = path;
  const below = Object.hasOwn(into, key) ? into[key] : undefined;
  return { ...into, [key]: rest.length === 0 ? value : placed(isJsonObject(below) ? below : {}, rest, value) };
}

async function configFile(context: CliContext, name: string): Promise<JsonObject> {
  const text = await readText(context, name);
  const { parse } = await import("yaml"); // JSON is YAML too
  let value: unknown;
  try {
    value = parse(text);
  } catch (error) {
    throw new Fault(
      "INVALID",
      `${quoted(name)} is neither JSON nor YAML: ${error instanceof Error ? error.message : ""}`,
      { cause: error },
    );
  }
  if (isJsonObject(value)) return value;
  throw new Fault("INVALID", `${quoted(name)} holds no object`);
}

async function uploadsOf(context: CliContext, items: readonly string[]): Promise<Submission["uploads"]> {
  const uploads: { key: string; name: string; bytes: Uint8Array }[] = [];
  for (const item of items) {
    const [key, path] = keyValue("input", item);
    uploads.push({ key, name: basename(path), bytes: await readBytes(context, path) });
  }
  return uploads;
}

function fromLine(line: string, at: number, common: JsonObject, workflow: string | undefined): JobCreate {
  let own: unknown;
  try {
    own = JSON.parse(line);
  } catch (error) {
    throw new Fault("INVALID", `line ${at} is no JSON: ${error instanceof Error ? error.message : ""}`, {
      cause: error,
    });
  }
  if (!isJsonObject(own)) throw new Fault("INVALID", `line ${at} holds no object`);
  const merged: Record<string, JsonValue | undefined> = {
    ...(workflow === undefined ? {} : { workflow }),
    ...common,
    ...own,
  };
  for (const name of ["parameters", "tags", "config"] as const) {
    const [ours, theirs] = [common[name], own[name]];
    if (isJsonObject(ours) && isJsonObject(theirs)) merged[name] = { ...ours, ...theirs };
  }
  const key = common["idempotency_key"];
  if (typeof key === "string" && own["idempotency_key"] === undefined) merged["idempotency_key"] = `${key}-${at}`;
  return checked(merged, `line ${at}`);
}

function checked(job: JsonObject, what: string): JobCreate {
  const parsed = jobCreateSchema.safeParse(job);
  if (parsed.success) return parsed.data;
  const problems = parsed.error.issues.map(
    (issue) => `${issue.path.map(String).join(".") || "(all)"}: ${issue.message}`,
  );
  throw new Fault("INVALID", `${what} cannot be used: ${problems.join("; ")}`, {
    details: { problems },
  });
}
