/** Places and files as the cases of the suite use them. */
import { createHash } from "node:crypto";
import { mkdtemp, open, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { Fault } from "../../common/fault.ts";
import { newToken } from "../../common/token.ts";
import type { BulkOutput, RemoteFile, TransferAdapter } from "../../transfer/types.ts";
import { equal, NotKept } from "../check.ts";
import { callContext } from "../suite.ts";

/** A place that the adapter under test reaches, and a way round the adapter to look at it. Each case has its own. */
export interface TransferHarness extends AsyncDisposable {
  readonly adapter: TransferAdapter;
  /** An adapter that moves files in bulk alone can do so from and to any directory of this machine: cases move one at a time. */
  readonly anywhere?: boolean;
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
  const file = await listOne(place, path);
  if (offset === 0) return await readWhole(place, place.url(path), file);
  return await collect(place.adapter.read(place.url(path), file, offset, callContext()));
}

/** A whole file in the way that the engine gets it: in bulk from an adapter that knows nothing else. */
export async function readWhole(
  { adapter }: TransferHarness,
  url: string,
  file: RemoteFile,
  context = callContext(),
): Promise<Buffer> {
  const { bulk } = adapter;
  if (bulk?.leastFiles !== 1) return await collect(adapter.read(url, file, 0, context));
  const directory = await mkdtemp(join(tmpdir(), "sa-fetch-"));
  try {
    const arrived: RemoteFile[] = [];
    const arrive = async (one: RemoteFile): Promise<void> => {
      arrived.push(one);
    };
    await bulk.fetch(url, [file], directory, arrive, context, { token: newToken() });
    // What is left out is another one by now: so the engine takes it.
    if (arrived.length === 0) throw new Fault("TRANSFER", "it was left out", { details: { source_changed: true } });
    equal(arrived, [file]);
    return await readFile(join(directory, file.path === "" ? "file" : file.path));
  } finally {
    await rm(directory, { recursive: true });
  }
}

/** Writes a whole file in the way that the engine does. */
export async function writeWhole({ adapter }: TransferHarness, url: string, data: Uint8Array): Promise<void> {
  await using local = await localFile(data);
  const content = { bytes: data.byteLength, sha256: digest(data) };
  const { bulk } = adapter;
  if (bulk?.leastFiles !== 1) {
    await adapter.write(url, local.path, { ...content, token: newToken() }, callContext());
    return;
  }
  const { mtimeMs } = await stat(local.path);
  const output: BulkOutput = {
    ...content,
    path: "",
    localPath: local.path,
    root: dirname(local.path),
    mtimeMs: Math.trunc(mtimeMs),
    open: () => open(local.path, "r"),
  };
  const arrived: unknown[] = [];
  const arrive = async (_: BulkOutput, found: unknown): Promise<void> => {
    arrived.push(found);
  };
  await bulk.send(url, [output], { token: newToken() }, arrive, callContext());
  equal(arrived, [content]);
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
