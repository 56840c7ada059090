/** Places and files as the cases of the suite use them. */
import { createHash } from "node:crypto";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { RemoteFile, TransferAdapter } from "../../transfer/types.ts";
import { equal, NotKept } from "../check.ts";
import { callContext } from "../suite.ts";

/** A place that the adapter under test reaches, and a way round the adapter to look at it. Each case has its own. */
export interface TransferHarness extends AsyncDisposable {
  readonly adapter: TransferAdapter;
  /** URL of a source or destination, allowed by the policy. */
  url(path: string): string;
  /** A URL of the adapter's scheme that the policy does not allow. */
  readonly forbidden: string;
  /** Puts or replaces a source; a replaced one must have another version. */
  put(path: string, content: Uint8Array): Promise<void>;
  /** What lies there; undefined = nothing. */
  get(path: string): Promise<Uint8Array | undefined>;
}

export const content = Buffer.from(Array.from({ length: 300_001 }, (_, index) => (index * 7) % 251));
export const other = Buffer.from("another content, of another length");

export async function listOne(place: TransferHarness, path: string): Promise<RemoteFile> {
  const [file, ...rest] = await place.adapter.list(place.url(path), "file", callContext());
  equal(rest, []);
  if (!file) throw new NotKept(`'${path}' was not listed`);
  return file;
}

export async function readAll(place: TransferHarness, path: string, offset: number): Promise<Buffer> {
  return await collect(place.adapter.read(place.url(path), await listOne(place, path), offset, callContext()));
}

export async function collect(chunks: Promise<AsyncIterable<Uint8Array>>): Promise<Buffer> {
  const all: Uint8Array[] = [];
  for await (const chunk of await chunks) all.push(Buffer.from(chunk)); // a chunk is valid until the next one
  return Buffer.concat(all);
}

export function digest(data: Uint8Array): string {
  return createHash("sha256").update(data).digest("hex");
}

export async function localFile(data: Uint8Array): Promise<{ readonly path: string } & AsyncDisposable> {
  const directory = await mkdtemp(join(tmpdir(), "sa-send-"));
  const path = join(directory, "file");
  await writeFile(path, data);
  return { path, [Symbol.asyncDispose]: () => rm(directory, { recursive: true }) };
}
