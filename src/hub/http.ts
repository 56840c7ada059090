/** Fastify as the NMDC contract wants it: bodies, order of checks, error bodies, 405 and redirects. Knows nothing of the routes. */
import type { FastifyInstance, FastifyReply, FastifyRequest, FastifySchema } from "fastify";
import type { z } from "zod";
import { faults } from "../common/faults.ts";
import type { HubContext } from "./context.ts";
import { complainAbout } from "./filter/python-json.ts";
import { HttpProblem, problemBody, problemOf } from "./problem.ts";
import { storeFault } from "./store/errors.ts";
import { rewordFrameworkError } from "./unreadable.ts";
import { validate, type Where } from "./validation.ts";

/** How a route reads its body; default `json` when it has a body schema, else `none`. */
export type BodyKind = "json" | "form" | "raw" | "none";

declare module "fastify" {
  interface FastifyContextConfig {
    body?: BodyKind;
  }
}

/** Longest part of a path: ids of workflows and sites are free text. */
export const longestParameter = 1_024;

/** MongoDB's own limit; no recursion of ours or of a database goes deeper. */
const deepestBody = 100;

/** Bodies, validation and errors. Call before any route is added. */
export function installHttp(app: FastifyInstance, ctx: HubContext): void {
  const patterns = new RoutePatterns();
  app.addHook("onRoute", (route) => {
    patterns.add([route.method].flat(), route.url);
  });
  // The router gives `/sites/` to `/sites/:id` with an empty id.
  app.addHook("onRequest", async (request, reply) => {
    const path = request.url.split("?", 1)[0] ?? "/";
    if (path.length < 2 || !path.endsWith("/") || patterns.methodsOf(path).length > 0) return;
    await notRouted(ctx, patterns, request, reply);
  });
  app.removeAllContentTypeParsers();
  app.addContentTypeParser("*", { parseAs: "buffer" }, (_request, body, done) => done(null, body));
  app.addHook("preValidation", async (request) => {
    request.body = readBody(request);
  });
  app.setValidatorCompiler(({ schema, httpPart }) => (data: unknown) => {
    try {
      return { value: validate(schema as z.ZodType, data, wordOf(httpPart)) };
    } catch (error) {
      return { error: error as Error };
    }
  });
  app.setSerializerCompiler(() => (data) => JSON.stringify(data));
  app.setErrorHandler((error, request, reply) => sendProblem(ctx, error, request, reply));
  app.setNotFoundHandler((request, reply) => notRouted(ctx, patterns, request, reply));
  app.addHook("onSend", async (_request, reply) => {
    reply.header("x-content-type-options", "nosniff");
    reply.header("referrer-policy", "no-referrer");
    reply.header("x-frame-options", "DENY");
    if (!reply.hasHeader("cache-control")) reply.header("cache-control", "no-store");
  });
}

function wordOf(part: string | undefined): Where {
  if (part === "querystring") return "query";
  if (part === "params") return "path";
  return part === "headers" ? "header" : "body";
}

function readBody(request: FastifyRequest): unknown {
  const schema = request.routeOptions.schema as FastifySchema | undefined;
  const kind = request.routeOptions.config.body ?? (schema?.body === undefined ? "none" : "json");
  const bytes = Buffer.isBuffer(request.body) ? request.body : undefined;
  if (kind === "raw") return bytes ?? Buffer.alloc(0);
  if (kind === "none") return undefined;
  const text = bytes?.toString("utf8") ?? "";
  const type = (request.headers["content-type"] ?? "").split(";")[0]?.trim().toLowerCase() ?? "";
  if (kind === "form")
    return type === "application/x-www-form-urlencoded" ? Object.fromEntries(new URLSearchParams(text)) : {};
  if (text === "") return undefined;
  if (type !== "" && type !== "application/json" && !/^application\/.+\+json$/.test(type)) return text;
  return parseJson(text);
}

function parseJson(text: string): unknown {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    const { message, position } = complainAbout(text);
    throw new HttpProblem(422, [
      { type: "json_invalid", loc: ["body", position], msg: "JSON decode error", input: {}, ctx: { error: message } },
    ]);
  }
  const fault = unfit(value, 0, text.includes("\\u"));
  if (fault !== undefined)
    throw new HttpProblem(422, [
      { type: "value_error", loc: ["body"], msg: `Value error, ${fault}`, input: null, ctx: { error: {} } },
    ]);
  return value;
}

/**
 * What no store can keep: NUL and half surrogate pairs (PostgreSQL), and nesting beyond any use. Without an escape (`\u`) in its text JSON
 * has neither of the former: then nobody looks at each string.
 */
function unfit(value: unknown, depth: number, escapes: boolean): string | undefined {
  if (depth > deepestBody) return `nested deeper than ${deepestBody} levels`;
  if (typeof value === "string") return escapes ? badText(value) : undefined;
  if (typeof value !== "object" || value === null) return undefined;
  for (const [key, inner] of Object.entries(value)) {
    if (!escapes && depth < deepestBody && typeof inner !== "object") continue;
    const fault = (escapes ? badText(key) : undefined) ?? unfit(inner, depth + 1, escapes);
    if (fault !== undefined) return fault;
  }
  return undefined;
}

function badText(text: string): string | undefined {
  if (text.includes("\u0000")) return "text with the character NUL cannot be stored";
  return text.isWellFormed() ? undefined : "text with half a surrogate pair cannot be stored";
}

/** Answers with a problem; for errors of handlers, and of the framework before any. */
export async function sendProblem(
  ctx: HubContext,
  error: unknown,
  request: FastifyRequest,
  reply: FastifyReply,
): Promise<void> {
  const limits = { bodyBytes: request.routeOptions.bodyLimit, parameterLength: longestParameter };
  const fault = storeFault(rewordFrameworkError(error, limits));
  const problem = problemOf(fault);
  if (problem.status >= 500) {
    const level = faults[problem.code].retry === "soon" ? "warn" : "error";
    ctx.log[level](
      { err: error, method: request.method, url: request.url.split("?")[0], requestId: request.id },
      "a request failed",
    );
  }
  const { type, body } = problemBody(problem, fault, request.headers.accept);
  await reply.code(problem.status).headers(problem.headers).type(type).send(JSON.stringify(body));
}

async function notRouted(
  ctx: HubContext,
  patterns: RoutePatterns,
  request: FastifyRequest,
  reply: FastifyReply,
): Promise<void> {
  const [path = "/", query] = request.url.split("?", 2);
  const allowed = patterns.methodsOf(path);
  if (allowed.length > 0) {
    throw new HttpProblem(405, "Method Not Allowed", { headers: { allow: allowed.join(", ") } });
  }
  const bare = path.replace(/\/+$/, "");
  if (bare !== path && bare !== "" && patterns.methodsOf(bare).length > 0) {
    await reply
      .code(307)
      .header("location", `${ctx.baseUrl()}${bare}${query === undefined ? "" : `?${query}`}`)
      .send("");
    return;
  }
  throw new HttpProblem(404, "Not Found");
}

/** Which methods a path has; for 405 and for redirects, which Fastify's router cannot say. */
class RoutePatterns {
  readonly #routes: { readonly methods: readonly string[]; readonly pattern: RegExp }[] = [];

  add(methods: readonly string[], url: string): void {
    const source = url
      .split("/")
      .map((part) => segment(part))
      .join("/");
    this.#routes.push({ methods, pattern: new RegExp(`^${source}$`) });
  }

  methodsOf(path: string): string[] {
    const methods = this.#routes.filter(({ pattern }) => pattern.test(path)).flatMap((route) => route.methods);
    return [...new Set(methods)];
  }
}

/** One part of a route's path: `::` is a colon, `:name(pattern)` a parameter, `*` the rest. */
function segment(part: string): string {
  if (part === "*") return ".*";
  return part
    .split(/(::|:[A-Za-z_]\w*(?:\([^)]*\))?\??)/)
    .map((piece) => {
      if (piece === "::") return ":";
      if (piece.startsWith(":")) return "[^/]+?";
      return piece.replaceAll(/[.*+?^${}()|[\]\\]/g, String.raw`\$&`);
    })
    .join("");
}
