import { createHash } from "node:crypto";
import { mkdir, readdir, readFile, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { pathToFileURL } from "node:url";
import type { Clock } from "../../../src/common/clock.ts";
import { systemClock } from "../../../src/common/clock.ts";
import type { CallContext } from "../../../src/common/context.ts";
import { Fault } from "../../../src/common/fault.ts";
import { silentLogger } from "../../../src/common/logger.ts";
import { newToken, type Token } from "../../../src/common/token.ts";
import { InputCache, type InputCacheOptions } from "../../../src/transfer/cache/index.ts";
import type { Crowd } from "../../../src/transfer/crowd.ts";
import type { Leftovers } from "../../../src/transfer/leftovers.ts";
import { createTransferEngine } from "../../../src/transfer/engine.ts";
import { builtInTransfers } from "../../../src/transfer/built-in.ts";
import { compilePolicy, type PolicyInput } from "../../../src/transfer/policy.ts";
import type { FindAccess } from "../../../src/transfer/sftp/place.ts";
import type { FindStore } from "../../../src/transfer/s3/types.ts";
import { TransferRegistry } from "../../../src/transfer/registry.ts";
import type { RetryOptions } from "../../../src/transfer/retry.ts";
import type {
  ManifestEntry,
  TransferAdapter,
  TransferEngine,
  TransferItem,
  TransferRequest,
} from "../../../src/transfer/types.ts";

/** Real time, except that waits between tries are recorded and over at once. */
export interface ImpatientClock extends Clock {
  readonly waits: readonly number[];
}

export function impatientClock(): ImpatientClock {
  const waits: number[] = [];
  return {
    ...systemClock,
    waits,
    sleep: async (ms) => {
      waits.push(ms);
    },
  };
}

export function testContext(overrides: Partial<CallContext> = {}): CallContext {
  return { signal: new AbortController().signal, log: silentLogger, clock: impatientClock(), ...overrides };
}

export interface EngineSetup {
  readonly policy: PolicyInput;
  readonly retry?: Partial<RetryOptions>;
  readonly filesPerHost?: number;
  /** How hosts of `sftp:` URLs are reached; without it none is. */
  readonly access?: FindAccess;
  readonly cache?: InputCache;
  /** The stores of `s3:` URLs; without it there is none. */
  readonly stores?: FindStore;
  readonly crowd?: Crowd;
  /** Where lists lie that are too long for memory. */
  readonly lists?: string;
  readonly mostFiles?: number;
  readonly leftovers?: Leftovers;
  /** Instead of the built-in ones. */
  readonly adapters?: readonly TransferAdapter[];
}

/** A real engine with the built-in adapters. */
export function startEngine(setup: EngineSetup): TransferEngine {
  const policy = compilePolicy(setup.policy);
  const access = setup.access ?? noAccess;
  const stores = setup.stores ?? noStore;
  const adapters =
    setup.adapters ?? Object.values(builtInTransfers).map((create) => create({ policy, access, stores }));
  return createTransferEngine({
    policy,
    registry: new TransferRegistry(adapters),
    cache: setup.cache,
    crowd: setup.crowd,
    lists: setup.lists ?? tmpdir(),
    mostFiles: setup.mostFiles,
    leftovers: setup.leftovers,
    ...(setup.retry === undefined ? {} : { retry: setup.retry }),
    limits: () => ({ files: setup.filesPerHost }),
  });
}

/** A cache of inputs with much room. */
export function testCache(options: Partial<InputCacheOptions> & { readonly directory: string }): InputCache {
  return new InputCache({
    maxBytes: 2 ** 30,
    minFreeBytes: 0,
    placing: "copy",
    trust: "version",
    agent: async () => "agent-1",
    ...options,
  });
}

function noStore(): undefined {}

export function noAccess(host: string): never {
  throw new Error(`no way to '${host}' in this test`);
}

export function item(fields: Partial<TransferItem> & Pick<TransferItem, "source" | "target">): TransferItem {
  return { name: "data", kind: "file", required: true, mode: "copy", include: [], exclude: [], ...fields };
}

/** A request that collects what is journaled. */
export function request(
  fields: Pick<TransferRequest, "direction" | "root" | "items"> & Partial<TransferRequest>,
): TransferRequest & { readonly journal: readonly ManifestEntry[]; readonly token: Token } {
  const journal: ManifestEntry[] = [];
  return {
    token: newToken(),
    known: [],
    onFile: async (entry) => {
      journal.push(entry);
    },
    journal,
    ...fields,
  };
}

export function fileUrl(path: string): string {
  return pathToFileURL(path).href;
}

export function sha256(data: string | Uint8Array): string {
  return createHash("sha256").update(data).digest("hex");
}

/** Writes files below `root`: relative path → content. */
export async function writeTree(root: string, files: Readonly<Record<string, string | Uint8Array>>): Promise<void> {
  for (const [path, content] of Object.entries(files)) {
    await mkdir(dirname(join(root, path)), { recursive: true });
    await writeFile(join(root, path), content);
  }
}

/** Relative path → digest of all regular files below `root`, sorted. */
export async function digestTree(root: string): Promise<Readonly<Record<string, string>>> {
  const entries: [string, string][] = [];
  for (const entry of await readdir(root, { recursive: true, withFileTypes: true })) {
    if (!entry.isFile()) continue;
    const path = join(entry.parentPath, entry.name);
    entries.push([path.slice(root.length + 1), sha256(await readFile(path))]);
  }
  return Object.fromEntries(entries.toSorted(([a], [b]) => (a < b ? -1 : 1)));
}

/** All names below `root`, also of links (not followed) and directories. */
export async function namesBelow(root: string): Promise<readonly string[]> {
  const names: string[] = [];
  for (const entry of await readdir(root, { withFileTypes: true })) {
    names.push(entry.name);
    if (!entry.isDirectory()) continue;
    names.push(...(await namesBelow(join(root, entry.name))).map((name) => `${entry.name}/${name}`));
  }
  return names.toSorted();
}

/** The fault that `promise` ends with; fails when it ends otherwise. */
export async function faultOf(promise: Promise<unknown>): Promise<Fault> {
  try {
    await promise;
  } catch (error) {
    if (error instanceof Fault) return error;
    throw error;
  }
  throw new Error("a fault was expected, but the call succeeded");
}
