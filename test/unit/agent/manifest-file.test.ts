import { appendFile, readFile, truncate, writeFile } from "node:fs/promises";
import { expect, it } from "vitest";
import { ManifestFile, pagesOf, readManifest, readPage } from "../../../src/agent/manifest-file.ts";
import type { ManifestEntry } from "../../../src/transfer/types.ts";
import { temporaryDirectory, type TemporaryDirectory } from "../../helpers/temporary.ts";

function entryOf(n: number): ManifestEntry {
  const path = `dir/${n}-é`;
  return { item: "i", path, url: `file:///${n}`, bytes: n, sha256: "a".repeat(64), verified: "digest" };
}

const entries = Array.from({ length: 700 }, (_, n) => entryOf(n));

async function all(path: string): Promise<ManifestEntry[]> {
  const read: ManifestEntry[] = [];
  for await (const entry of readManifest(path)) read.push(entry);
  return read;
}

async function written(directory: TemporaryDirectory): Promise<string> {
  const path = directory.join("manifest");
  await using file = await ManifestFile.open(path);
  await Promise.all(entries.map((entry) => file.add(entry)));
  await file.sync();
  return path;
}

it("gives back what was added, in its order, also by the next process; nothing where there is none", async () => {
  await using directory = await temporaryDirectory();
  expect(await all(directory.join("none"))).toEqual([]);
  const path = await written(directory);
  {
    await using file = await ManifestFile.open(path);
    await file.add(entryOf(7));
  }
  expect(await all(path)).toEqual([...entries, entryOf(7)]);
});

it.each([
  ["a line was cut by a kill", (path: string, size: number) => truncate(path, size - 30), 699],
  ["something else follows", (path: string) => appendFile(path, "0123456789abcdef {}\n"), 700],
  [
    "a line was altered",
    async (path: string) => {
      const text = await readFile(path, "utf8");
      await writeFile(path, text.replace("file:///400", "file:///401"));
    },
    400,
  ],
  [
    "a line is missing",
    async (path: string) => {
      const lines = (await readFile(path, "utf8")).split("\n");
      await writeFile(path, lines.toSpliced(500, 1).join("\n"));
    },
    500,
  ],
])("F16: where %s, what comes before is read and the next process goes on behind it", async (_, damage, intact) => {
  await using directory = await temporaryDirectory();
  const path = await written(directory);
  await damage(path, (await readFile(path)).length);
  expect(await all(path)).toEqual(entries.slice(0, intact));
  {
    await using file = await ManifestFile.open(path);
    await file.add(entryOf(9_000));
  }
  expect(await all(path)).toEqual([...entries.slice(0, intact), entryOf(9_000)]);
});

it("comes in pages, each of which is known to be what it was", async () => {
  await using directory = await temporaryDirectory();
  const path = await written(directory);
  const pages = await pagesOf(path, 300);
  const read = await Promise.all(pages.map((page) => readPage(path, page)));
  expect(read).toEqual([entries.slice(0, 300), entries.slice(300, 600), entries.slice(600)]);
  const text = await readFile(path, "utf8");
  await writeFile(path, text.replace("file:///400", "file:///401"));
  const after = await Promise.all(pages.map((page) => readPage(path, page)));
  expect(after.map((page) => page?.length)).toEqual([300, undefined, 100]);
  expect(await pagesOf(directory.join("none"), 300)).toEqual([]);
});
