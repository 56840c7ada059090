/** The hub's OpenAPI 3.1 document: what routes declare, with one place for path syntax, operation ids, guards and errors. */
import swagger, { type SwaggerTransform } from "@fastify/swagger";
import swaggerUi from "@fastify/swagger-ui";
import type { FastifyInstance } from "fastify";
import { createJsonSchemaTransform, createJsonSchemaTransformObject } from "fastify-type-provider-zod";
import { z } from "zod";
import { STATUS_CODES } from "../common/node-http.ts";
import * as agentApi from "../wire/agent-api.ts";
import * as wireCommon from "../wire/common.ts";
import * as userApi from "../wire/user-api.ts";
import type { HubConfig } from "./config.ts";
import { answerParts, answers } from "./nmdc/answers.ts";
import { contentsEntry } from "./nmdc/models.ts";

/** Of /docs. Without `upgrade-insecure-requests`: hubs inside an institute often speak plain HTTP. */
const pagePolicy =
  "default-src 'self'; base-uri 'self'; img-src 'self' data:; object-src 'none'; script-src 'self'; style-src 'self'; frame-ancestors 'none'";

/** `GET /openapi.json` and, unless the settings say no, the page `/docs`. Call before any route is added. */
export async function installDocuments(app: FastifyInstance, config: HubConfig, version: string): Promise<void> {
  const schemaRegistry = componentRegistry();
  const toJson = createJsonSchemaTransform({ schemaRegistry, zodToJsonConfig: { override: openAnswers } });
  const addComponents = createJsonSchemaTransformObject({ schemaRegistry, zodToJsonConfig: { override: openAnswers } });
  await app.register(swagger, {
    openapi: {
      openapi: "3.1.0",
      info: { title: "siteagent hub", version, description: "The NMDC Runtime wire contract and its extensions." },
      components: { securitySchemes: { bearer: { type: "http", scheme: "bearer" } } },
    },
    transform: (data) => describeRoute(data, toJson),
    transformObject: (document) => polished(addComponents(document) as Document) as never,
  });
  app.get("/openapi.json", { schema: { hide: true } }, () => Promise.resolve(app.swagger()));
  if (config.docs) await app.register(swaggerUi, { routePrefix: "/docs", staticCSP: pagePolicy });
}

/** A route's URL as the document writes it: `/jobs/:id(^.+)::cancel` is `/jobs/{id}:cancel`, what `*` takes is `{path}`. */
export function documentPath(url: string): string {
  return url
    .replaceAll("::", "\u0000")
    .replaceAll(/:(\w+)(\([^)]*\))?/g, "{$1}")
    .replaceAll("\u0000", ":")
    .replaceAll("*", "{path}");
}

type Described = ReturnType<SwaggerTransform>;

function describeRoute(data: Parameters<SwaggerTransform>[0], toJson: (data: never) => unknown): Described {
  const method = [data.route.method].flat()[0]?.toUpperCase() ?? "GET";
  const path = documentPath(data.url);
  const known = answers[`${method} ${path}`];
  const { produces, response: declared, ...rest } = data.schema ?? {};
  const response = {
    ...(known ? { [known.status]: known.schema } : {}),
    ...(produces === undefined ? {} : { 200: bytesIn(produces) }),
    ...(method === "DELETE" ? { 204: z.null() } : {}),
    ...(declared as object | undefined),
    default: userApi.problemSchema,
  };
  const described = toJson({ ...data, schema: { ...rest, response } } as never) as Described;
  const params = restNamed(described.schema.params);
  const schema = {
    operationId: operationId(method, path),
    security: data.route.preValidation === undefined ? [] : [{ bearer: [] }],
    ...described.schema,
    ...(params === undefined ? {} : { params }),
  };
  return { url: data.url.replaceAll("*", ":path"), schema };
}

function bytesIn(types: readonly string[]): object {
  return { content: Object.fromEntries(types.map((type) => [type, { schema: z.string() }])) };
}

/** A verb after a colon stands apart, so that `/jobs/{id}:release` and `/jobs/{id}/release` differ. */
function operationId(method: string, path: string): string {
  const words = path.replaceAll(":", "/_").split(/[^A-Za-z0-9_]+/);
  return [method.toLowerCase(), ...words.filter((word) => word !== "")].join("_");
}

/** Parameters of a route with `*`, which is no name there. */
function restNamed(params: unknown): unknown {
  if (params === undefined) return undefined;
  return JSON.parse(JSON.stringify(params).replaceAll('"*"', '"path"'));
}

/** Answers may get more members; clients ignore what they do not know. Requests with unknown members are refused where a schema is strict. */
function openAnswers({
  zodSchema,
  jsonSchema,
}: {
  zodSchema: z.core.$ZodTypes;
  jsonSchema: z.core.JSONSchema.BaseSchema;
}) {
  const { def } = zodSchema._zod;
  if (def.type === "object" && def.catchall === undefined) delete jsonSchema.additionalProperties;
}

interface Document {
  readonly paths: Readonly<Record<string, Readonly<Record<string, Operation>>>>;
  readonly components: { readonly schemas: Readonly<Record<string, unknown>> };
}

interface Operation {
  readonly responses: Record<string, { readonly description: string }>;
}

/** Answers have words, and components that nothing refers to are left out: most are needed either as input or as output. */
function polished(document: Document): Document {
  const { schemas } = document.components;
  const used = new Set<string>();
  const collect = (node: unknown): void => {
    for (const [, name = ""] of JSON.stringify(node).matchAll(/"#\/components\/schemas\/([^"]+)"/g)) {
      if (used.has(name)) continue;
      used.add(name);
      collect(schemas[name] ?? {});
    }
  };
  collect(document.paths);
  const kept = Object.entries(schemas).filter(([name]) => used.has(name));
  for (const operation of Object.values(document.paths).flatMap((methods) => Object.values(methods))) {
    for (const [status, response] of Object.entries(operation.responses)) {
      const description = STATUS_CODES[status] ?? "A problem: the `code` is one of docs/faults.md";
      operation.responses[status] = { ...response, description };
    }
  }
  return { ...document, components: { ...document.components, schemas: Object.fromEntries(kept.toSorted(byName)) } };
}

function byName([one]: readonly [string, unknown], [other]: readonly [string, unknown]): number {
  return one < other ? -1 : 1;
}

/** The bodies of the wire by their names (`jobViewSchema` is `JobView`), and those of NMDC. */
function componentRegistry() {
  const registry = z.registry<z.core.GlobalMeta>();
  registry._map = new DescribedSchemas();
  for (const module of [wireCommon, userApi, agentApi]) {
    for (const [name, schema] of Object.entries(module)) {
      const [, base = ""] = /^(.*)Schema$/.exec(name) ?? [];
      // Queries are written out, parameter by parameter.
      if (!(schema instanceof z.ZodObject) || base.endsWith("Query")) continue;
      registry.add(schema, { id: `${base.slice(0, 1).toUpperCase()}${base.slice(1)}` });
    }
  }
  // Schemas that contain themselves must have a name.
  registry.add(wireCommon.jsonObjectSchema.valueType, { id: "JsonValue" });
  registry.add(contentsEntry, { id: "NmdcContents" });
  for (const [id, schema] of Object.entries(answerParts)) registry.add(schema, { id });
  return registry;
}

/** What a schema says of itself (`describe`), besides its name here. */
class DescribedSchemas extends WeakMap<z.core.$ZodType, z.core.GlobalMeta> {
  override get(schema: z.core.$ZodType): z.core.GlobalMeta | undefined {
    const own = super.get(schema);
    const told = z.globalRegistry.get(schema);
    return own || told ? { ...told, ...own } : undefined;
  }

  override has(schema: z.core.$ZodType): boolean {
    return super.has(schema) || z.globalRegistry.has(schema);
  }
}
