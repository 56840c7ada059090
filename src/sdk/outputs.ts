import type { Hash } from "node:crypto";
import { createReadStream } from "node:fs";
import { mkdir, open, rename, rm, stat } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { systemClock } from "../common/clock.ts";
import { createHash } from "../common/crypto.ts";
import { errnoOf, Fault, isFault } from "../common/fault.ts";
import { syncDirectory } from "../common/files.ts";
import { backoffMs, transferBackoff } from "../common/retry.ts";
import type { OutputFile } from "../wire/common.ts";
import { outputListSchema } from "../wire/user-api.ts";
import { type HubHttp, part, readBody, readBytes } from "./http.ts";
import { api } from "./paths.ts";

const tries = 5;

const pageLimit = 1_000;

/** The manifest of a job's outputs, page by page. */
export async function listOutputs(http: HubHttp, job: string, signal?: AbortSignal): Promise<readonly OutputFile[]> {
  const outputs: OutputFile[] = [];
  let cursor: string | undefined;
  do {
    const query = { limit: pageLimit, cursor };
    const page = await http.json(`${api}/jobs/${part(job)}/outputs`, outputListSchema, { query, signal });
    for (const output of page.outputs) outputs.push(output);
    cursor = page.next_cursor ?? undefined;
  } while (cursor !== undefined);
  return outputs;
}

/** All bytes of one stored output, verified. Throws NOT_FOUND, DIGEST_MISMATCH. */
export async function readOutput(http: HubHttp, job: string, path: string, signal?: AbortSignal): Promise<Uint8Array> {
  const entry = await entryOf(http, job, path, signal);
  const response = await http.raw(urlOf(job, path), { headers: octets, signal });
  const bytes = await readBytes(response, signal);
  verify(createHash("sha256").update(bytes), entry);
  return bytes;
}

/**
 * Saves one stored output as `destination`: partial data under `<name>.part`, which the next call continues; the final name only
 * after the digest is verified. Returns the manifest entry.
 * @throws Fault NOT_FOUND, DIGEST_MISMATCH, UNREACHABLE after some tries.
 */
export async function saveOutput(
  http: HubHttp,
  job: string,
  path: string,
  destination: string,
  signal?: AbortSignal,
): Promise<OutputFile> {
  const entry = await entryOf(http, job, path, signal);
  const partial = join(dirname(destination), `.${basename(destination)}.${entry.sha256.slice(0, 12)}.part`);
  await mkdir(dirname(destination), { recursive: true });
  for (let failures = 1; ; failures++) {
    try {
      await fetchRest(http, job, entry, partial, signal);
      break;
    } catch (error) {
      if (failures >= tries || signal?.aborted || !isFault(error, "UNREACHABLE", "STORE")) throw error;
      await systemClock.sleep(backoffMs(transferBackoff, failures), signal);
    }
  }
  await verifyFile(partial, entry);
  await rename(partial, destination);
  await syncDirectory(dirname(destination));
  return entry;
}

const octets = { accept: "application/octet-stream" } as const;

function urlOf(job: string, path: string): string {
  return `${api}/jobs/${part(job)}/outputs/${path.split("/").map(part).join("/")}`;
}

async function entryOf(http: HubHttp, job: string, path: string, signal?: AbortSignal): Promise<OutputFile> {
  const { outputs } = await http.json(`${api}/jobs/${part(job)}/outputs`, outputListSchema, {
    query: { path },
    signal,
  });
  const entry = outputs.find((output) => output.path === path);
  if (!entry) throw new Fault("NOT_FOUND", `job '${job}' has no output '${path}'`);
  if (entry.stored) return entry;
  const hint = entry.url === undefined ? "it stayed at the site" : `it lies at ${entry.url}`;
  throw new Fault("NOT_FOUND", `the hub has no copy of output '${path}'`, { hint });
}

async function fetchRest(
  http: HubHttp,
  job: string,
  entry: OutputFile,
  partial: string,
  signal: AbortSignal | undefined,
): Promise<void> {
  const have = await sizeOf(partial);
  if (have === entry.bytes && have > 0) return;
  const resume = have > 0 && have < entry.bytes;
  const headers = resume ? { ...octets, range: `bytes=${have}-` } : octets;
  const response = await http.raw(urlOf(job, entry.path), { headers, signal });
  const file = await open(partial, resume && response.statusCode === 206 ? "a" : "w", 0o600);
  try {
    for await (const piece of readBody(response, signal)) await file.write(piece);
    await file.sync();
  } finally {
    await file.close();
  }
}

async function sizeOf(path: string): Promise<number> {
  try {
    return (await stat(path)).size;
  } catch (error) {
    if (errnoOf(error) === "ENOENT") return 0;
    throw error;
  }
}

async function verifyFile(path: string, entry: OutputFile): Promise<void> {
  const hash = createHash("sha256");
  for await (const piece of createReadStream(path)) hash.update(piece as Buffer);
  try {
    verify(hash, entry);
  } catch (error) {
    await rm(path, { force: true });
    throw error;
  }
}

function verify(hash: Hash, entry: OutputFile): void {
  const found = hash.digest("hex");
  if (found === entry.sha256) return;
  throw new Fault("DIGEST_MISMATCH", `output '${entry.path}': received ${found}, promised ${entry.sha256}`);
}
