import { createHash } from "node:crypto";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { systemClock } from "../../src/common/clock.ts";
import type { CallContext } from "../../src/common/context.ts";
import { Fault } from "../../src/common/fault.ts";
import { silentLogger } from "../../src/common/logger.ts";
import { newToken } from "../../src/common/token.ts";
import type { RemoteFile, TransferAdapter } from "../../src/transfer/types.ts";

/** A place that the adapter under test reaches, and a way round the adapter to look at it. */
export interface TransferPlace extends AsyncDisposable {
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

const content = Buffer.from(Array.from({ length: 300_001 }, (_, index) => (index * 7) % 251));
const other = Buffer.from("another content, of another length");

/** What every transfer adapter promises to the engine. */
export function describeTransfer(name: string, make: () => Promise<TransferPlace>): void {
  describe(`transfer adapter ${name}`, () => {
    sourceContract(make);
    destinationContract(make);

    test("says whether it works here, and can be closed twice", async () => {
      await using place = await make();
      expect(await place.adapter.probe(context())).toMatchObject({ ok: true });
      expect(place.adapter.schemes.length).toBeGreaterThan(0);
      await place.adapter[Symbol.asyncDispose]();
      await place.adapter[Symbol.asyncDispose]();
    });

    test("refuses what the policy does not allow, at every verb", async () => {
      await using place = await make();
      const { adapter, forbidden } = place;
      const file = { path: "", bytes: 1, mtimeMs: undefined, version: undefined };
      await using local = await localFile(other);
      const info = { bytes: other.byteLength, sha256: digest(other), token: newToken() };
      const calls = [
        adapter.list(forbidden, "file", context()),
        collect(adapter.read(forbidden, file, 0, context())),
        adapter.write(forbidden, local.path, info, context()),
        adapter.verify(forbidden, context()),
      ];
      for (const call of await Promise.allSettled(calls)) {
        expect(call).toMatchObject({ status: "rejected", reason: { code: "POLICY" } });
      }
    });
  });
}

function sourceContract(make: () => Promise<TransferPlace>): void {
  test("lists one file as itself, with the same version each time", async () => {
    await using place = await make();
    await place.put("a/x.bin", content);
    const first = await listOne(place, "a/x.bin");
    expect(first).toMatchObject({ path: "", bytes: content.byteLength });
    expect(await listOne(place, "a/x.bin")).toEqual(first);
    await place.put("a/x.bin", other);
    const second = await listOne(place, "a/x.bin");
    expect(second.bytes).toBe(other.byteLength);
    if (first.version !== undefined) expect(second.version).not.toBe(first.version);
  });

  test("says that nothing is there in a way that the engine understands", async () => {
    await using place = await make();
    const fault = await place.adapter.list(place.url("nothing"), "file", context()).catch((error: unknown) => error);
    expect(fault).toBeInstanceOf(Fault);
    expect(fault).toMatchObject({ code: "TRANSFER_REFUSED", details: { missing: true } });
  });

  test("reads the whole, an empty file, and from an offset where it says so", async () => {
    await using place = await make();
    await place.put("x", content);
    await place.put("empty", new Uint8Array());
    expect(await readAll(place, "x", 0)).toEqual(content);
    expect(await readAll(place, "empty", 0)).toEqual(Buffer.alloc(0));
    if (!place.adapter.capabilities.resume) return;
    expect(await readAll(place, "x", 1)).toEqual(content.subarray(1));
    expect(await readAll(place, "x", content.byteLength - 1)).toEqual(content.subarray(-1));
    expect(await readAll(place, "x", content.byteLength)).toEqual(Buffer.alloc(0));
  });

  test("does not give another version than the one that was listed", async () => {
    await using place = await make();
    await place.put("x", content);
    const listed = await listOne(place, "x");
    expect(listed.version).toBeDefined();
    await place.put("x", other);
    for (const offset of place.adapter.capabilities.resume ? [0, 10] : [0]) {
      const call = collect(place.adapter.read(place.url("x"), listed, offset, context()));
      const fault = await call.catch((error: unknown) => error);
      expect(fault).toMatchObject({ code: "TRANSFER", details: { source_changed: true } });
    }
  });

  test("lists directories and globs, or refuses them", async () => {
    await using place = await make();
    await place.put("set/b.txt", other);
    await place.put("set/sub/a.txt", content);
    const directory = place.adapter.list(place.url("set"), "directory", context());
    if (!place.adapter.capabilities.list) {
      await expect(directory).rejects.toMatchObject({ code: "TRANSFER_REFUSED" });
      return;
    }
    const files = (await directory).toSorted((a, b) => (a.path < b.path ? -1 : 1));
    expect(files.map((file) => [file.path, file.bytes])).toEqual([
      ["b.txt", other.byteLength],
      ["sub/a.txt", content.byteLength],
    ]);
    const [, second] = files;
    if (second) expect(await collect(place.adapter.read(place.url("set"), second, 0, context()))).toEqual(content);
    const glob = await place.adapter.list(place.url("set/*.txt"), "glob", context());
    expect(glob.map((file) => file.path)).toEqual(["b.txt"]);
  });

  test("ends with CANCELLED when the signal is aborted", async () => {
    await using place = await make();
    await place.put("x", content);
    const listed = await listOne(place, "x");
    const stopper = new AbortController();
    const reading = async (): Promise<void> => {
      for await (const _chunk of await place.adapter.read(place.url("x"), listed, 0, context(stopper.signal)))
        stopper.abort();
    };
    await expect(reading()).rejects.toMatchObject({ code: "CANCELLED" });
  });
}

function destinationContract(make: () => Promise<TransferPlace>): void {
  test("writes whole files, replaces them, and tells what lies there", async () => {
    await using place = await make();
    if (!place.adapter.capabilities.write) return;
    expect(await place.adapter.verify(place.url("out/r"), context())).toBeUndefined();
    for (const data of [content, other, Buffer.alloc(0)]) {
      await using local = await localFile(data);
      const info = { bytes: data.byteLength, sha256: digest(data), token: newToken() };
      await place.adapter.write(place.url("out/r"), local.path, info, context());
      expect(Buffer.from((await place.get("out/r")) ?? [])).toEqual(data);
      const there = await place.adapter.verify(place.url("out/r"), context());
      expect(there?.bytes).toBe(data.byteLength);
      if (place.adapter.capabilities.digest) expect(there?.sha256).toBe(digest(data));
    }
  });
}

async function listOne(place: TransferPlace, path: string): Promise<RemoteFile> {
  const [file, ...rest] = await place.adapter.list(place.url(path), "file", context());
  expect(rest).toEqual([]);
  if (!file) throw new Error(`'${path}' was not listed`);
  return file;
}

async function readAll(place: TransferPlace, path: string, offset: number): Promise<Buffer> {
  return await collect(place.adapter.read(place.url(path), await listOne(place, path), offset, context()));
}

async function collect(chunks: Promise<AsyncIterable<Uint8Array>>): Promise<Buffer> {
  const all: Uint8Array[] = [];
  for await (const chunk of await chunks) all.push(Buffer.from(chunk)); // a chunk is valid until the next one
  return Buffer.concat(all);
}

function context(signal: AbortSignal = new AbortController().signal): CallContext {
  return { signal, log: silentLogger, clock: systemClock };
}

function digest(data: Uint8Array): string {
  return createHash("sha256").update(data).digest("hex");
}

async function localFile(data: Uint8Array): Promise<{ readonly path: string } & AsyncDisposable> {
  const directory = await mkdtemp(join(tmpdir(), "sa-send-"));
  const path = join(directory, "file");
  await writeFile(path, data);
  return { path, [Symbol.asyncDispose]: () => rm(directory, { recursive: true }) };
}
