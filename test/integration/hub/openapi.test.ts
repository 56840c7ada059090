import { readFile } from "node:fs/promises";
import { expect, test } from "vitest";
import { answers } from "../../../src/hub/nmdc/answers.ts";
import { devHub } from "./hubs.ts";

interface Operation {
  readonly operationId: string;
  readonly summary: string;
  readonly tags: readonly string[];
  readonly security: readonly object[];
  readonly parameters?: readonly { readonly in: string; readonly name: string; readonly required?: boolean }[];
  readonly responses: Readonly<Record<string, unknown>>;
}

interface Document {
  readonly openapi: string;
  readonly servers?: unknown;
  readonly paths: Readonly<Record<string, Readonly<Record<string, Operation>>>>;
  readonly components: {
    readonly schemas: Readonly<Record<string, unknown>>;
    readonly securitySchemes: Readonly<Record<string, unknown>>;
  };
}

interface Told {
  readonly name: string;
  readonly path: string;
  readonly operation: Operation;
}

function operationsOf(document: Document): readonly Told[] {
  return Object.entries(document.paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, operation]) => ({
      name: `${method.toUpperCase()} ${path}`,
      path,
      operation,
    })),
  );
}

async function liveDocument(): Promise<{ text: string; document: Document; url: string }> {
  await using hub = await devHub();
  const text = await (await fetch(`${hub.url}/openapi.json`)).text();
  return { text, document: JSON.parse(text) as Document, url: hub.url };
}

test("the document is sound: references resolve, parameters of paths are declared, ids are unique", async () => {
  const { text, document } = await liveDocument();
  expect(document.openapi).toBe("3.1.0");
  const references = [...text.matchAll(/"\$ref":"([^"]+)"/g)].map(([, target = ""]) => target);
  expect(references.length).toBeGreaterThan(100);
  const known = Object.keys(document.components.schemas).map((name) => `#/components/schemas/${name}`);
  expect(references.filter((target) => !known.includes(target))).toEqual([]);
  expect(known.filter((name) => !references.includes(name))).toEqual([]);
  const ids = operationsOf(document).map(({ operation }) => operation.operationId);
  expect(ids.toSorted()).toEqual([...new Set(ids)].toSorted());
  for (const { name, path, operation } of operationsOf(document)) {
    const inPath = [...path.matchAll(/\{([^}]*)\}/g)].map(([, parameter = ""]) => parameter);
    const declared = (operation.parameters ?? []).filter((parameter) => parameter.in === "path");
    expect([name, declared.map((parameter) => parameter.name).toSorted()]).toEqual([name, inPath.toSorted()]);
    expect([name, declared.every((parameter) => parameter.required)]).toEqual([name, true]);
    for (const word of inPath) expect([name, word]).toEqual([name, expect.stringMatching(/^\w+$/)]);
  }
});

test("every operation says what it is for, who may ask and how it answers", async () => {
  const { document } = await liveDocument();
  const open: string[] = [];
  for (const { name, operation } of operationsOf(document)) {
    expect([name, operation.operationId]).toEqual([name, expect.stringMatching(/^[a-z]+_\w+$/)]);
    expect([name, operation.summary]).toEqual([name, expect.stringMatching(/\w/)]);
    expect([name, operation.tags]).toEqual([name, [expect.any(String)]]);
    expect([name, Object.keys(operation.responses)]).toEqual([name, expect.arrayContaining(["default"])]);
    for (const requirement of operation.security)
      expect(Object.keys(document.components.securitySchemes)).toEqual(
        expect.arrayContaining(Object.keys(requirement)),
      );
    if (operation.security.length === 0) open.push(name);
  }
  expect(open.toSorted()).toEqual([
    "GET /ga4gh/drs/v1/objects/{object_id}",
    "GET /health",
    "GET /livez",
    "GET /readyz",
    "GET /version",
    "POST /token",
    "POST /workflows/activities",
  ]);
});

test("what the NMDC routes answer is in the document, also of those with a verb after a colon", async () => {
  const { document } = await liveDocument();
  const operations = new Map(operationsOf(document).map(({ name, operation }) => [name, operation]));
  for (const [name, { status }] of Object.entries(answers))
    expect([name, Object.keys(operations.get(name)?.responses ?? {})]).toEqual([
      name,
      expect.arrayContaining([String(status)]),
    ]);
});

test("bytes are told from JSON, and removals answer nothing; errors are JSON everywhere", async () => {
  const { document } = await liveDocument();
  const log = document.paths["/siteagent/v1/jobs/{id}/logs/{stream}"]?.["get"]?.responses;
  expect(log).toMatchObject({
    "200": { content: { "application/octet-stream": {} } },
    default: { content: { "application/json": {} } },
  });
  expect(document.paths["/siteagent/v1/tokens/{id}"]?.["delete"]?.responses["204"]).toEqual({
    description: "No Content",
  });
});

test("docs/openapi.json is what hubs answer, and names no address", async () => {
  const { text, document, url } = await liveDocument();
  const file = await readFile(new URL("../../../docs/openapi.json", import.meta.url), "utf8");
  expect(JSON.parse(file)).toEqual(document);
  expect(document.servers).toBeUndefined();
  expect(text).not.toContain(new URL(url).host);
});
