/** Stored documents to what readers of the NMDC contract see. */
import { isJsonObject, type JsonObject, type JsonValue } from "../../common/json.ts";
import { isDate } from "../filter/values.ts";
import { naive } from "./times.ts";

export type CollectionName = "jobs" | "operations" | "objects" | "sites";

/** Where documents hold times of their own; everywhere else a date-like object is just data. */
const timePaths: Readonly<Record<CollectionName, readonly (readonly string[])[]>> = {
  jobs: [["created_at"], ["workflow", "created_at"]],
  operations: [["expire_time"], ["metadata", "job", "created_at"], ["metadata", "job", "workflow", "created_at"]],
  objects: [["created_time"], ["updated_time"]],
  sites: [],
};

/** The document with its own times as readers see them (no zone). */
export function rendered(collection: CollectionName, document: JsonObject): JsonObject {
  return timePaths[collection].reduce((before, path) => withTime(before, path), document);
}

function withTime(object: JsonObject, path: readonly string[]): JsonObject {
  const [name = "", ...rest] = path;
  const value = object[name];
  if (!isJsonObject(value)) return object;
  if (rest.length > 0) return { ...object, [name]: withTime(value, rest) };
  return isDate(value) ? { ...object, [name]: naive(value.$date) } : object;
}

const workflowNulls = { name: null, description: null, capability_ids: null };

/** A job with every optional field, as the release endpoints and operations show it. */
export function filledWorkflow(workflow: JsonObject): JsonObject {
  return { ...workflowNulls, ...workflow, created_at: workflow["created_at"] ?? null };
}

/** The reply to a release: `null` for what is not set. */
export function filledJob(job: JsonObject): JsonObject {
  const claims = Array.isArray(job["claims"]) ? (job["claims"] as readonly JsonObject[]) : [];
  return {
    ...job,
    workflow: isJsonObject(job["workflow"]) ? filledWorkflow(job["workflow"]) : null,
    name: job["name"] ?? null,
    description: job["description"] ?? null,
    created_at: job["created_at"] ?? null,
    claims: claims.map((claim) => ({ ...claim, done: claim["done"] ?? null, cancelled: claim["cancelled"] ?? null })),
  };
}

/** An object with every optional field, as the replies to POST, PATCH and PUT show it. */
export function filledObject(object: JsonObject): JsonObject {
  const methods = object["access_methods"];
  const contents = object["contents"];
  return {
    aliases: null,
    description: null,
    mime_type: null,
    name: null,
    updated_time: null,
    version: null,
    ...object,
    access_methods: Array.isArray(methods) ? methods.map((method: JsonValue) => filledMethod(method)) : null,
    contents: Array.isArray(contents) ? contents.map((entry: JsonValue) => filledEntry(entry)) : null,
  };
}

function filledMethod(method: JsonValue): JsonValue {
  if (!isJsonObject(method)) return method;
  const url = method["access_url"];
  return {
    access_id: method["access_id"] ?? null,
    access_url: isJsonObject(url) ? { headers: url["headers"] ?? null, url: url["url"] } : null,
    region: method["region"] ?? null,
    type: method["type"] ?? "https",
  };
}

function filledEntry(entry: JsonValue): JsonValue {
  if (!isJsonObject(entry)) return entry;
  const inner = entry["contents"];
  return {
    contents: Array.isArray(inner) ? inner.map((one: JsonValue) => filledEntry(one)) : null,
    drs_uri: entry["drs_uri"] ?? null,
    id: entry["id"] ?? null,
    name: entry["name"],
  };
}

interface Tree {
  /** Undefined: the whole value. */
  [name: string]: Tree | undefined;
}

/** A `projection` parameter as a function on documents; undefined when there is none. `id` always comes along. */
export function projector(text: string | undefined): ((document: JsonObject) => JsonObject) | undefined {
  if (text === undefined || text === "") return undefined;
  const tree: Tree = Object.create(null) as Tree;
  for (const name of ["id", ...text.split(",").map((one) => one.trim())]) plant(tree, name.split("."));
  return (document) => projected(document, tree);
}

function plant(tree: Tree, path: readonly string[]): void {
  const [name = "", ...rest] = path;
  if (name in tree && tree[name] === undefined) return;
  if (rest.length === 0) {
    tree[name] = undefined;
    return;
  }
  const below = tree[name] ?? (Object.create(null) as Tree);
  tree[name] = below;
  plant(below, rest);
}

function projected(object: JsonObject, tree: Tree): JsonObject {
  const kept: [string, JsonValue][] = [];
  for (const [name, value] of Object.entries(object)) {
    if (!(name in tree) || value === undefined) continue;
    const below = tree[name];
    if (below === undefined) kept.push([name, value]);
    else if (isJsonObject(value)) kept.push([name, projected(value, below)]);
    else if (Array.isArray(value)) kept.push([name, projectedList(value, below)]);
  }
  return Object.fromEntries(kept);
}

/** Elements that are neither objects nor lists have no such field and go. */
function projectedList(list: readonly JsonValue[], tree: Tree): JsonValue[] {
  return list.flatMap((item): JsonValue[] => {
    if (isJsonObject(item)) return [projected(item, tree)];
    return Array.isArray(item) ? [projectedList(item, tree)] : [];
  });
}
