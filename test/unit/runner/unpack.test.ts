import { existsSync } from "node:fs";
import { lstat, mkdir, readdir, readFile, stat, symlink, writeFile } from "node:fs/promises";
import fc from "fast-check";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { unpack } from "../../../src/runner/unpack.ts";
import { ZipError } from "../../../src/runner/zip-directory.ts";
import { fuzz, fuzzing } from "../../helpers/fuzz.ts";
import { type TemporaryDirectory, temporaryDirectory } from "../../helpers/temporary.ts";
import { zipOf, type ZipPart } from "../../helpers/zip.ts";

let directory: TemporaryDirectory;
beforeEach(async () => {
  directory = await temporaryDirectory();
  await mkdir(directory.join("work"));
});
afterEach(async () => {
  await directory[Symbol.asyncDispose]();
});

async function unpacked(content: Buffer, maxBytes = 1_000_000): Promise<readonly string[]> {
  await writeFile(directory.join("a.zip"), content);
  const into = directory.join("work", "app");
  await unpack({ archive: directory.join("a.zip"), into, maxBytes });
  return (await readdir(into, { recursive: true })).toSorted();
}

const tool: ZipPart = { name: "bin/tool", content: "#!/bin/sh\n", mode: 0o104_755 };

/** As Info-ZIP writes to a pipe: sizes behind the data, times and owners in extra fields. */
const infoZip =
  "UEsDBBQACAAIAAAAIVwAAAAAAAAAAM8AAAAIABwAZGF0YS50eHRVVAkAAwC5VWkAuVVpdXgLAAEEAAAAAAQAAAAAy0jNyclXMBgmgAsAUEsHCDO1kwIMAAAAzwAAAFBLAwQKAAAAAAAAACFcAAAAAAAAAAAAAAAABgAcAGVtcHR5L1VUCQADALlVabzdAWt1eAsAAQQAAAAABAAAAABQSwMECgAAAAAAAAAhXAAAAAAAAAAAAAAAAAQAHABiaW4vVVQJAAMAuVVpvN0Ba3V4CwABBAAAAAAEAAAAAFBLAwQUAAgACAAAACFcAAAAAAAAAAA3AAAACAAcAGJpbi90b29sVVQJAAMAuVVpALlVaXV4CwABBAAAAAAEAAAAAFNW1E/KzNMvzuBKTixRUFLRSMksykvMTQUyDZQ09fX09FMSSxL1SipKlKwVUpMz8oESDkpcAFBLBwhsbjmPNgAAADcAAABQSwECHgMUAAgACAAAACFcM7WTAgwAAADPAAAACAAYAAAAAAABAAAApIEAAAAAZGF0YS50eHRVVAUAAwC5VWl1eAsAAQQAAAAABAAAAABQSwECHgMKAAAAAAAAACFcAAAAAAAAAAAAAAAABgAYAAAAAAAAABAA7UFeAAAAZW1wdHkvVVQFAAMAuVVpdXgLAAEEAAAAAAQAAAAAUEsBAh4DCgAAAAAAAAAhXAAAAAAAAAAAAAAAAAQAGAAAAAAAAAAQAO1BngAAAGJpbi9VVAUAAwC5VWl1eAsAAQQAAAAABAAAAABQSwECHgMUAAgACAAAACFcbG45jzYAAAA3AAAACAAYAAAAAAABAAAA7YHcAAAAYmluL3Rvb2xVVAUAAwC5VWl1eAsAAQQAAAAABAAAAABQSwUGAAAAAAQABAAyAQAAZAEAAAAA";

describe("an archive", () => {
  it("is unpacked with directories, content and what may be executed, without set-user-id", async () => {
    const names = await unpacked(
      zipOf(
        [
          { name: "empty/" },
          tool,
          { name: "data/größe.txt", content: "x".repeat(300_000) },
          { name: "plain", content: "y", method: 0 },
        ],
        {
          comment: "PK\u0005\u0006 in a comment",
        },
      ),
    );
    expect(names).toEqual(["bin", "bin/tool", "data", "data/größe.txt", "empty", "plain"]);
    const at = (name: string): string => directory.join("work", "app", name);
    expect((await stat(at("bin/tool"))).mode & 0o7100).toBe(0o100);
    expect((await stat(at("plain"))).mode & 0o111).toBe(0);
    expect(await readFile(at("data/größe.txt"), "utf8")).toBe("x".repeat(300_000));
  });

  it("of Info-ZIP is read, written to a pipe as well", async () => {
    expect(await unpacked(Buffer.from(infoZip, "base64"))).toEqual(["bin", "bin/tool", "data.txt", "empty"]);
    expect(await readFile(directory.join("work", "app", "data.txt"), "utf8")).toMatch(/^hello 0{200}\n$/);
    expect((await stat(directory.join("work", "app", "bin/tool"))).mode & 0o100).toBe(0o100);
  });

  it("replaces what the attempt before left, a link as well, and follows none", async () => {
    await mkdir(directory.join("elsewhere"));
    await writeFile(directory.join("elsewhere", "kept"), "x");
    for (const name of ["app", "app.unpacking"])
      await symlink(directory.join("elsewhere"), directory.join("work", name));
    await unpacked(zipOf([tool]));
    expect((await lstat(directory.join("work", "app"))).isDirectory()).toBe(true);
    expect(await readdir(directory.join("elsewhere"))).toEqual(["kept"]);
  });

  it.each<[string, readonly ZipPart[], RegExp]>([
    ["a way out", [{ name: "../evil", content: "x" }], /'\.\.\/evil' leaves its directory/],
    ["a way out in the middle", [{ name: "a/../../evil", content: "x" }], /leaves its directory/],
    ["an absolute path", [{ name: "/etc/evil", content: "x" }], /leaves its directory, or has an empty part/],
    ["a backslash", [{ name: "..\\evil", content: "x" }], /holds a control character or backslash/],
    ["a line end", [{ name: "a\nb", content: "x" }], /holds a control character/],
    ["another code page", [{ name: Buffer.from([0x67, 0x72, 0xf6]), content: "x" }], /is not UTF-8/],
    ["a link", [{ name: "l", content: "/etc/passwd", mode: 0o120_777 }], /'l' is a link or a special file/],
    [
      "a link and a file behind it",
      [
        { name: "d", content: "/tmp", mode: 0o120_777 },
        { name: "d/x", content: "y" },
      ],
      /is a link/,
    ],
    ["a device", [{ name: "sda", mode: 0o060_600 }], /is a link or a special file/],
    ["a directory that is a file", [{ name: "d", mode: 0o040_755 }], /is a link or a special file/],
    ["a name twice", [tool, { ...tool, content: "other" }], /'bin\/tool' is there twice/],
    ["a name as file and directory", [{ name: "a", content: "x" }, { name: "a/" }], /'a' is there twice/],
    [
      "a file below a file",
      [
        { name: "a", content: "x" },
        { name: "a/b/c", content: "y" },
      ],
      /'a\/b\/c' lies below a file/,
    ],
    ["another name at the data", [{ ...tool, said: { localName: "bin/evil" } }], /is not where the directory says/],
    ["shared data", [tool, { name: "b", content: "#!/bin/sh\n", dataOf: 0 }], /'b' is not where|shares its data/],
    ["encryption", [{ ...tool, flags: 1 }], /is encrypted/],
    ["a method that nobody uses", [{ ...tool, method: 12 }], /packed by method 12/],
    ["a wrong sum", [{ ...tool, said: { crc32: 1 } }], /is damaged/],
    ["more than it says", [{ name: "a", content: "x".repeat(1000), said: { bytes: 10 } }], /is larger than it says/],
    ["less than it says", [{ name: "a", content: "x", said: { bytes: 10 } }], /is damaged/],
    [
      "more than is allowed",
      [
        { name: "a", content: "x".repeat(600) },
        { name: "b", content: "y".repeat(600) },
      ],
      /holds '1200' bytes; allowed: at most 1000/,
    ],
    ["a long name", [{ name: "a".repeat(300) }], /is too long/],
  ])("F17: is refused whole with %s", async (_what, parts, message) => {
    const error: unknown = await unpacked(zipOf(parts), 1000).catch((caught: unknown) => caught);
    expect(error).toBeInstanceOf(ZipError);
    expect(String(error)).toMatch(message);
    expect(existsSync(directory.join("work", "app"))).toBe(false);
  });

  it("F17: with more entries than are read is refused before any is looked at", async () => {
    const archive = zipOf([tool]);
    for (const offset of [8, 10]) archive.writeUInt16LE(0xffff, archive.length - 22 + offset);
    await expect(unpacked(archive)).rejects.toThrow(/more than 65534 entries/);
  });

  it("that is cut off or no archive is refused", async () => {
    const whole = zipOf([tool, { name: "b", content: "x".repeat(100) }]);
    for (const part of [whole.subarray(0, -1), whole.subarray(10), whole.subarray(0, 0), Buffer.from("no archive")]) {
      await expect(unpacked(part)).rejects.toThrow(ZipError);
    }
  });

  it("of another digest is not unpacked", async () => {
    await writeFile(directory.join("a.zip"), zipOf([tool]));
    const order = {
      archive: directory.join("a.zip"),
      into: directory.join("work", "app"),
      maxBytes: 1000,
      sha256: "0".repeat(64),
    };
    await expect(unpack(order)).rejects.toThrow(/its digest is [0-9a-f]{64}, not 0{64}/);
  });

  it("with any bytes changed is unpacked below its place, or refused", fuzzing, async () => {
    const good = zipOf([
      tool,
      { name: "d/" },
      { name: "d/x", content: "y".repeat(50) },
      { name: "s", content: "z", method: 0 },
    ]);
    const change = fc.array(fc.tuple(fc.nat(good.length - 1), fc.nat(255)), { minLength: 1, maxLength: 4 });
    await fc.assert(
      fc.asyncProperty(change, async (changes) => {
        const bytes = Buffer.from(good);
        for (const [at, value] of changes) bytes[at] = value;
        const error: unknown = await unpacked(bytes).then(
          () => undefined,
          (caught: unknown) => caught,
        );
        if (error !== undefined) expect(error).toBeInstanceOf(ZipError);
        expect((await readdir(directory.path)).toSorted()).toEqual(["a.zip", "work"]);
        expect(["", "app", "app,app.unpacking", "app.unpacking"]).toContain(
          (await readdir(directory.join("work"))).toSorted().join(","),
        );
      }),
      fuzz(150),
    );
  });
});
