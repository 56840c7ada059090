import { writeFile } from "node:fs/promises";
import { crc32 } from "node:zlib";
import fc from "fast-check";
import { expect, test } from "vitest";
import { systemDisk } from "../../../src/journal/disk.ts";
import { decodeLine, encodeLine, ownKinds, scanFile } from "../../../src/journal/format.ts";
import { temporaryDirectory } from "../../helpers/temporary.ts";
import { keeping, scanWhole } from "./whole.ts";

const at = "2026-01-02T03:04:05.678Z";

function header(seq: number): Buffer {
  return encodeLine({ seq, at, kind: ownKinds.header, data: '{"schema":1,"agentId":"a"}', left: 0 });
}

function line(seq: number, left = 0): Buffer {
  return encodeLine({ seq, at, kind: "start.ok", job: "nmdc:sys0x", data: `{"n":${seq},"text":"grün\\n"}`, left });
}

test("gives back what was written", { timeout: 60_000 }, () => {
  fc.assert(
    fc.property(
      fc.nat(),
      fc.string({ unit: "binary" }),
      fc.option(fc.string()),
      fc.jsonValue(),
      (seq, kind, job, value) => {
        const encoded = encodeLine({ seq, at, kind, job: job ?? undefined, data: JSON.stringify({ value }), left: 0 });
        expect(encoded.indexOf(0x0a)).toBe(encoded.length - 1);
        const decoded = decodeLine(encoded.subarray(0, -1));
        expect(decoded).toStrictEqual(
          JSON.parse(JSON.stringify({ v: 1, seq, at, kind, ...(job === null ? {} : { job }), data: { value } })),
        );
      },
    ),
  );
});

test("notices every single flipped bit of a line, also in the separator", () => {
  const good = line(7).subarray(0, -1);
  expect(decodeLine(good)).toBeDefined();
  for (let bit = 0; bit < good.length * 8; bit++) {
    const bad = Buffer.from(good);
    bad.writeUInt8(bad.readUInt8(bit >> 3) ^ (1 << (bit & 7)), bit >> 3);
    expect(decodeLine(bad), `bit ${bit}`).toBeUndefined();
  }
});

test("refuses lines with a right checksum that are no records", () => {
  const good = '{"v":1,"seq":1,"at":"","kind":"k","data":{}}';
  for (const json of [good, "1", "null", "[]", "{}", good.replace('"seq":1', '"seq":"1"'), good.slice(1)]) {
    const sum = crc32(json).toString(16).padStart(8, "0");
    expect(decodeLine(Buffer.from(`${sum} ${json}`)) !== undefined, json).toBe(json === good);
  }
  expect(decodeLine(Buffer.from("00000000 "))).toBeUndefined();
  expect(decodeLine(Buffer.alloc(0))).toBeUndefined();
  expect(decodeLine(Buffer.alloc(4096))).toBeUndefined();
});

test("gives the longest intact prefix when the file ends at any byte", () => {
  const lines = [header(1), line(2), line(3), line(4)];
  const whole = Buffer.concat(lines);
  const first = header(1).length;
  for (let cut = 0; cut <= whole.length; cut++) {
    const scan = scanWhole(whole.subarray(0, cut));
    let end = 0;
    let intact = 0;
    while (intact < lines.length && end + (lines[intact]?.length ?? 0) <= cut) end += lines[intact++]?.length ?? 0;
    expect(scan.lines.length, `cut at ${cut}`).toBe(Math.max(0, intact - 1));
    expect(scan.state, `cut at ${cut}`).toBe(cut < first ? "damaged" : cut === end ? "intact" : "torn");
    if (cut >= first) expect(scan.goodEnd).toBe(end);
  }
});

test("takes a group whole or not at all", () => {
  const group = [line(3, 2), line(4, 1), line(5, 0)];
  const before = Buffer.concat([header(1), line(2)]);
  const whole = Buffer.concat([before, ...group]);
  for (let cut = before.length + 1; cut < whole.length; cut++) {
    const scan = scanWhole(whole.subarray(0, cut));
    expect(
      scan.lines.map(({ seq }) => seq),
      `cut at ${cut}`,
    ).toStrictEqual([2]);
    expect(scan).toMatchObject({ state: "torn", goodEnd: before.length });
  }
  expect(scanWhole(whole)).toMatchObject({ state: "intact", goodEnd: whole.length });
});

test("reads kind, order and group of lines also where a name is so long that their beginning does not tell", () => {
  const job = `nmdc:${"x".repeat(500)}`;
  const long = (seq: number, left: number) =>
    encodeLine({ seq, at, kind: "start.ok", job, data: `{"n":${seq}}`, left });
  const before = Buffer.concat([header(1), line(2)]);
  const group = [long(3, 2), long(4, 1), long(5, 0)];
  const whole = scanWhole(Buffer.concat([before, ...group]));
  expect(whole).toMatchObject({ state: "intact" });
  expect(whole.lines.map((one) => one.job)).toStrictEqual(["nmdc:sys0x", job, job, job]);
  expect(scanWhole(Buffer.concat([before, ...group.slice(0, 2)]))).toMatchObject({
    state: "torn",
    goodEnd: before.length,
  });
  expect(scanWhole(Buffer.concat([before, long(4, 0), long(5, 0)]))).toMatchObject({ state: "damaged" });
});

test("calls a line damaged that has a right checksum and is no record", () => {
  const sum = crc32("[]").toString(16).padStart(8, "0");
  const scan = scanWhole(Buffer.concat([header(1), line(2), Buffer.from(`${sum} []\n`), line(3)]));
  expect(scan.state).toBe("damaged");
  expect(scan.lines.map(({ seq }) => seq)).toStrictEqual([2, 3]);
});

test("reads a header that names no schema", () => {
  const bare = encodeLine({ seq: 1, at, kind: ownKinds.header, data: '{"agentId":"a"}', left: 0 });
  expect(scanWhole(Buffer.concat([bare, line(2)]))).toMatchObject({ state: "intact", version: 1 });
});

test("calls every flipped bit in a file torn or damaged, and keeps all records but those it touches", () => {
  const whole = Buffer.concat([header(1), line(2), line(3), line(4)]);
  for (let bit = 0; bit < whole.length * 8; bit++) {
    const bad = Buffer.from(whole);
    bad.writeUInt8(bad.readUInt8(bit >> 3) ^ (1 << (bit & 7)), bit >> 3);
    const scan = scanWhole(bad);
    expect(scan.state, `bit ${bit}`).not.toBe("intact");
    expect(scan.problem).not.toBe("");
    // A flipped newline joins two lines; never are more lost.
    expect(scan.lines.length + (scan.header ? 1 : 0), `bit ${bit}`).toBeGreaterThanOrEqual(2);
  }
});

test("calls a gap, a repeated record and several bad lines damage", () => {
  const rubbish = Buffer.from("rubbish\n");
  for (const [name, content] of [
    ["gap", [header(1), line(2), line(4)]],
    ["repeated", [header(1), line(2), line(2)]],
    ["two bad lines at the end", [header(1), line(2), rubbish, rubbish]],
    ["bad line in the middle", [header(1), rubbish, line(2)]],
    ["no header", [line(2), line(3)]],
    ["empty", []],
    ["zeros", [Buffer.alloc(4096)]],
  ] as const) {
    expect(scanWhole(Buffer.concat(content)).state, name).toBe("damaged");
  }
  expect(scanWhole(Buffer.concat([header(1), line(2), Buffer.alloc(4096)]))).toMatchObject({
    state: "torn",
    goodEnd: header(1).length + line(2).length,
  });
});

test("reads lines longer than one chunk", async () => {
  await using directory = await temporaryDirectory();
  const path = directory.join("journal");
  const long = encodeLine({ seq: 2, at, kind: "k", data: JSON.stringify({ text: "x".repeat(3_000_000) }), left: 0 });
  await writeFile(path, Buffer.concat([header(1), long, line(3)]));
  const sink = keeping();
  const scan = await scanFile(systemDisk, path, sink);
  expect(scan.state).toBe("intact");
  expect(sink.lines.map(({ seq }) => seq)).toStrictEqual([2, 3]);
});
