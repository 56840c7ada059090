/** Reads a module of a site's own adapter. */
import { createHash } from "node:crypto";
import { readFile } from "node:fs/promises";
import { registerHooks } from "node:module";
import { fileURLToPath, pathToFileURL } from "node:url";
import { z } from "zod";
import { systemClock } from "../common/clock.ts";
import { asFault, Fault } from "../common/fault.ts";
import { nearest, quoted } from "../common/nearest.ts";
import { adapterTypes } from "../conformance/suite.ts";
import { type Flaw, trustedPath } from "./trust.ts";
import { type AdapterModule, contractVersion, type LoadedModule } from "./types.ts";

/** The name of the export. */
export const exportName = "siteagentAdapter";

/** How modules call us, wherever they lie: they and we must have the same classes. */
const entryName = "siteagent/adapter";
const entryUrl = new URL(import.meta.url.endsWith(".ts") ? "./entry.ts" : "./entry.js", import.meta.url).href;

const ownRoot = new URL("../", import.meta.url).href;

/** Marks the URLs of modules that we import; with the digest, so that a changed file is read anew at a reload. */
const marker = "?siteagent-adapter=";

const loadLimitMs = 10_000;

let hooked = false;

/**
 * Resolves our name, spares modules a package.json that would call them ES modules, and takes files that they import themselves only when those
 * can be trusted as they can.
 */
function hookResolution(): void {
  if (hooked) return;
  hooked = true;
  registerHooks({
    resolve(specifier, context, next) {
      if (specifier === entryName) return { url: entryUrl, shortCircuit: true };
      const mark = /\?siteagent-adapter=\w+$/.exec(context.parentURL ?? "")?.[0] ?? "";
      const resolved = next(specifier, context);
      const { url } = resolved;
      if (url.includes(marker)) return { ...resolved, format: formatOf(url) };
      // Packages keep their own kind, and we ours.
      if (mark === "" || !/^(?:[./]|file:)/.test(specifier) || url.startsWith(ownRoot)) return resolved;
      const trusted = trustedPath(fileURLToPath(url));
      if (!("path" in trusted)) throw new Fault("CONFIG", `${trusted.message}; allowed: ${trusted.allowed}`);
      return { ...resolved, url: `${url}${mark}`, format: formatOf(url) };
    },
  });
}

function formatOf(url: string): "module" | "module-typescript" {
  return /\.m?ts(?:\?|$)/.test(url) ? "module-typescript" : "module";
}

/** The module, or what is wrong with it. Its code runs when it is loaded: only a file that nobody else can change is. */
export async function loadAdapter(path: string, limitMs = loadLimitMs): Promise<LoadedModule | Flaw> {
  if (!/\.m?[jt]s$/.test(path))
    return { message: `'${path}' is no ES module`, allowed: "a file whose name ends in .ts, .mts, .js or .mjs" };
  const trusted = trustedPath(path);
  if (!("path" in trusted)) return trusted;
  hookResolution();
  let exported: unknown;
  let digest: string;
  try {
    digest = createHash("sha256")
      .update(await readFile(trusted.path))
      .digest("hex");
    const url = `${pathToFileURL(trusted.path).href}${marker}${digest.slice(0, 16)}`;
    exported = ((await imported(url, limitMs)) as Record<string, unknown>)[exportName];
  } catch (error) {
    const message = `'${path}' cannot be loaded: ${asFault(error).message}`;
    return { message, allowed: `an ES module that Node ${process.versions.node} runs, types erasable` };
  }
  const flaw = flawOfExport(path, exported);
  return flaw ?? { path: trusted.path, digest, adapter: exported as AdapterModule };
}

/** Modules that wait for something while they are loaded would hold up the agent's start and each reload. */
async function imported(url: string, limitMs: number): Promise<unknown> {
  const over = new AbortController();
  const late = systemClock.sleep(limitMs, over.signal).then(() => {
    throw new Fault("TIMEOUT", `it took more than ${limitMs} ms`);
  });
  try {
    return await Promise.race([import(url), late]);
  } finally {
    over.abort();
    await late.catch(() => undefined);
  }
}

function flawOfExport(path: string, exported: unknown): Flaw | undefined {
  if (exported === undefined)
    return {
      message: `'${path}' exports no '${exportName}'`,
      allowed: `export const ${exportName} = { contract: ${contractVersion}, … }`,
    };
  const checked = moduleSchema.safeParse(exported);
  if (checked.success) return undefined;
  const [issue] = checked.error.issues;
  const key = issue?.path.join(".") ?? "";
  const value = memberAt(exported, issue?.path ?? []);
  const name = key === "" ? exportName : `${exportName}.${key}`;
  const found = value === undefined ? "is missing" : `is ${typeof value === "function" ? "a function" : quoted(value)}`;
  const close = key === "type" && typeof value === "string" ? nearest(value, adapterTypes) : undefined;
  const hint = close === undefined ? "" : `; did you mean '${close}'?`;
  return { message: `'${path}': ${name} ${found}`, allowed: `${allowedAt(key, issue?.message)}${hint}` };
}

/** Functions cannot be checked further before they are called: that is what the suites do. */
const functionSchema = z.custom((value) => typeof value === "function", "a function");
const anyModule = {
  contract: z.literal(contractVersion, `${contractVersion}: the version of the contract that this siteagent knows`),
  options: z.custom((value) => value instanceof z.ZodType, `a schema made with z of '${entryName}'`).optional(),
  create: functionSchema,
  rehearse: functionSchema.optional(),
};
const scheme = z.string().regex(/^[a-z][a-z0-9+.-]*$/, "the scheme of a URL in small letters, without colon");

const moduleSchema = z.discriminatedUnion(
  "type",
  [
    z.object({
      ...anyModule,
      type: z.literal("scheduler"),
      reservedCodes: z.array(z.int().min(1).max(255)).optional(),
    }),
    z.object({
      ...anyModule,
      type: z.literal("launcher"),
      allocation: z.boolean(),
      maxNodes: z.int().min(1).optional(),
      slots: z.int().min(1).max(100_000).optional(),
    }),
    z.object({ ...anyModule, type: z.literal("host") }),
    z.object({ ...anyModule, type: z.literal("transfer"), schemes: z.array(scheme).min(1) }),
  ],
  { error: `one of ${adapterTypes.join(", ")}` },
);

function memberAt(value: unknown, path: readonly PropertyKey[]): unknown {
  let found: unknown = value;
  for (const step of path) found = typeof found === "object" && found !== null ? Reflect.get(found, step) : undefined;
  return found;
}

function allowedAt(key: string, message: string | undefined): string {
  return key === "" ? "an object with contract, type and create" : (message ?? "as docs/adding-an-adapter.md says");
}
