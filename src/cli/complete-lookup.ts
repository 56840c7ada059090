/**
 * The look-ups of completion, with Node's own HTTP client and without schemas: loading the SDK alone would take longer than a
 * person waits for Tab. Whatever does not look as expected gives no words.
 */
import type { IncomingMessage } from "node:http";
import { request as httpsRequest } from "node:https";
import { isJsonObject, type JsonObject } from "../common/json.ts";
import { request as httpRequest } from "../common/node-http.ts";
import { hubAccess, socketPath } from "./connect.ts";
import type { CliContext } from "./context.ts";
import type { Options } from "./options.ts";
import type { Completable } from "./spec.ts";

const newest = "/siteagent/v1/jobs?limit=100";

/** Rejects when nobody answers in time. */
export async function lookUpWords(
  kind: Completable,
  context: CliContext,
  options: Options,
  args: readonly string[] = [],
): Promise<readonly string[]> {
  if (options.flag("local")) return kind === "job" ? ids(await askAgent(context, options), "jobs") : [];
  switch (kind) {
    case "job":
      return ids(await askHub(context, options, newest), "jobs");
    case "tag":
      return entries(await askHub(context, options, newest), "jobs").flatMap(tagWords);
    case "workflow":
      return ids(await askHub(context, options, "/siteagent/v1/workflows"), "workflows");
    case "site":
      return ids(await askHub(context, options, "/siteagent/v1/sites"), "sites");
    case "parameter":
      return parameterWords(await askHub(context, options, "/siteagent/v1/sites"), args[0] ?? "");
    default:
      return [];
  }
}

/** `name=` of every parameter of the workflow, with the values where only some are allowed. */
function parameterWords(data: unknown, workflow: string): readonly string[] {
  const apps = entries(data, "sites").flatMap((site) => entries(site, "apps"));
  return apps.flatMap(({ workflow: id, parameters }) => {
    if (id !== workflow || !isJsonObject(parameters)) return [];
    return Object.entries(parameters).flatMap(([name, spec]) => valuesOf(spec).map((value) => `${name}=${value}`));
  });
}

function valuesOf(spec: unknown): readonly string[] {
  if (!isJsonObject(spec)) return [];
  if (spec["type"] === "boolean") return ["true", "false"];
  const { enum: allowed } = spec;
  return Array.isArray(allowed) ? allowed.map(String) : [""];
}

async function askHub(context: CliContext, options: Options, path: string): Promise<unknown> {
  const { url, token } = await hubAccess(context, options);
  const headers = { accept: "application/json", ...(token === undefined ? {} : { authorization: `Bearer ${token}` }) };
  const start = url.startsWith("https:") ? httpsRequest : httpRequest;
  return await answer((done) => start(`${url}${path}`, { headers, signal: context.signal, agent: false }, done));
}

async function askAgent(context: CliContext, options: Options): Promise<unknown> {
  const socket = await socketPath(context, options);
  const call = { socketPath: socket, path: "/v1/jobs", signal: context.signal, agent: false } as const;
  return await answer((done) => httpRequest(call, done));
}

async function answer(
  start: (done: (response: IncomingMessage) => void) => ReturnType<typeof httpRequest>,
): Promise<unknown> {
  const { promise, resolve, reject } = Promise.withResolvers<IncomingMessage>();
  start(resolve).on("error", reject).end();
  const pieces: Buffer[] = [];
  for await (const piece of await promise) pieces.push(piece as Buffer);
  return JSON.parse(Buffer.concat(pieces).toString("utf8"));
}

function entries(data: unknown, name: string): readonly JsonObject[] {
  const list = isJsonObject(data) ? data[name] : undefined;
  return Array.isArray(list) ? list.filter((entry) => isJsonObject(entry)) : [];
}

function ids(data: unknown, name: string): readonly string[] {
  return entries(data, name).flatMap((entry) => (typeof entry["id"] === "string" ? [entry["id"]] : []));
}

function tagWords(job: JsonObject): readonly string[] {
  const { tags } = job;
  if (!isJsonObject(tags)) return [];
  return Object.entries(tags).map(([key, value]) =>
    typeof value === "string" && value !== "" ? `${key}=${value}` : key,
  );
}
