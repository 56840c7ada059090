import { execFileSync } from "node:child_process";
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { dirname } from "node:path";
import fc from "fast-check";
import { expect, it } from "vitest";
import { ArchiveReader, endBytes, memberBytes, padded, writeHeader } from "../../../src/transfer/sftp/tar.ts";
import { temporaryDirectory } from "../../helpers/temporary.ts";

interface Content {
  readonly name: string;
  readonly content: Buffer;
}

const files: readonly Content[] = [
  { name: "./a", content: Buffer.from("one") },
  { name: "./empty", content: Buffer.alloc(0) },
  { name: `./${"é".repeat(60)}/${"n".repeat(120)}`, content: Buffer.alloc(512, "x") },
  { name: "./sub/-dash *", content: Buffer.alloc(70_000, "y") },
];

function archive(contents: readonly Content[], type = "0"): Buffer {
  const parts = contents.map(({ name, content }) => {
    const part = Buffer.alloc(memberBytes(name, content.length));
    const at = writeHeader(part, 0, { name, bytes: content.length, mode: 0o644, mtime: 1_000_000_000 });
    content.copy(part, at);
    if (type !== "0") retype(part, at - 512, type);
    expect(at + padded(content.length)).toBe(part.length);
    return part;
  });
  return Buffer.concat([...parts, Buffer.alloc(endBytes)]);
}

/** Another type, with the sum that belongs to it. */
function retype(part: Buffer, at: number, type: string): void {
  const sum = Number.parseInt(part.toString("latin1", at + 148, at + 154), 8) - 0x30 + type.charCodeAt(0);
  part.write(type, at + 156, "latin1");
  part.write(sum.toString(8).padStart(6, "0"), at + 148, "latin1");
}

function readAll(data: Buffer, pieces: number, wanted: ReadonlyMap<string, number>): ReadonlyMap<string, Buffer> {
  const reader = new ArchiveReader((name) => {
    const bytes = wanted.get(name);
    return bytes === undefined ? undefined : { bytes, mtimeMs: undefined };
  });
  const found = new Map<string, Buffer>();
  for (let at = 0; at < data.length; at += pieces) {
    reader.add(data.subarray(at, at + pieces));
    const { buffer, members } = reader.take();
    for (const { name, at: from, bytes } of members) found.set(name, buffer.subarray(from, from + bytes));
  }
  expect(reader.waiting).toBe(0);
  return found;
}

const sizes = new Map(files.map(({ name, content }) => [name, content.length]));

it("what is written is read again, wherever it is cut", () => {
  const data = archive(files);
  for (const pieces of [1_000_000, 5_000, 513, 512, 511]) {
    const found = readAll(data, pieces, sizes);
    expect([...found.keys()]).toEqual(files.map(({ name }) => name));
    for (const { name, content } of files) expect(found.get(name)?.equals(content)).toBe(true);
  }
});

it("GNU tar and ours read each other's archives", async () => {
  await using here = await temporaryDirectory();
  await mkdir(here.join("out"));
  execFileSync("tar", ["-C", here.join("out"), "-xf", "-"], { input: archive(files) });
  for (const { name, content } of files) expect((await readFile(here.join(`out/${name}`))).equals(content)).toBe(true);
  for (const { name, content } of files) {
    await mkdir(dirname(here.join(`in/${name}`)), { recursive: true });
    await writeFile(here.join(`in/${name}`), content);
  }
  const names = files.map(({ name }) => `${name}\0`).join("");
  const options = ["-C", here.join("in"), "--null", "--format=gnu", "-cf", "-", "-T", "-"];
  const data = execFileSync("tar", options, { input: names });
  const found = readAll(data, 10_240, sizes);
  for (const { name, content } of files) expect(found.get(name)?.equals(content)).toBe(true);
});

it("F17: members that nobody asked for, of another size or type, are refused", () => {
  const first = files.slice(0, 1);
  expect(() => readAll(archive(first), 512, new Map())).toThrow("nobody asked for");
  expect(() => readAll(archive(first), 512, new Map([["./a", 2]]))).toThrow("changed");
  // Hard link, symbolic link, device, directory, fifo, sparse file.
  for (const type of "123456S") expect(() => readAll(archive(first, type), 512, sizes)).toThrow("changed");
  for (const type of "xg") expect(() => readAll(archive(first, type), 512, sizes)).toThrow();
  for (const name of ["/etc/passwd", "./../x"]) {
    expect(() => readAll(archive([{ name, content: Buffer.from("x") }]), 512, sizes)).toThrow("nobody asked for");
  }
  const long = { name: `./${"n".repeat(9_000)}`, content: Buffer.from("x") };
  expect(() => readAll(archive([long]), 512, sizes)).toThrow("too long");
});

it("F17: whatever bytes come, only what was asked for comes out", () => {
  const data = archive(files.slice(0, 3));
  fc.assert(
    fc.property(fc.array(fc.tuple(fc.nat(data.length - 1), fc.nat(255)), { minLength: 1, maxLength: 4 }), (changes) => {
      const damaged = Buffer.from(data);
      for (const [at, byte] of changes) damaged[at] = byte;
      try {
        for (const [name, content] of readAll(damaged, 700, sizes)) expect(content.length).toBe(sizes.get(name));
      } catch (error) {
        expect(String(error)).toMatch(/refused|changed|waiting|expected/);
      }
    }),
  );
});
