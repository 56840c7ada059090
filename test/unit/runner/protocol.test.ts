import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { lineReader, longestLineBytes, readAnswer, requestSchemas } from "../../../src/runner/protocol.ts";
import { frame, frameReader } from "../../../src/runner/pty-frames.ts";

function cut<Part extends string | Buffer>(whole: Part, at: readonly number[]): Part[] {
  const ends = [...at.map((each) => each % (whole.length + 1)), whole.length].toSorted((a, b) => a - b);
  let from = 0;
  return ends.map((end) => {
    const part = whole.slice(from, end) as Part;
    from = end;
    return part;
  });
}

test("lines arrive whole however the stream is cut", () => {
  fc.assert(
    fc.property(fc.array(fc.string().filter((text) => !text.includes("\n"))), fc.array(fc.nat()), (lines, cuts) => {
      const seen: string[] = [];
      const read = lineReader((line) => seen.push(line));
      for (const part of cut(lines.map((line) => `${line}\n`).join(""), cuts)) read(part);
      expect(seen).toEqual(lines);
    }),
  );
});

test("frames arrive whole however the stream is cut", () => {
  fc.assert(
    fc.property(fc.array(fc.uint8Array()), fc.array(fc.nat()), (contents, cuts) => {
      const seen: Uint8Array[] = [];
      const read = frameReader((_kind, content) => seen.push(new Uint8Array(content)));
      for (const part of cut(Buffer.concat(contents.map((content) => frame("o", content))), cuts)) read(part);
      expect(seen).toEqual(contents);
    }),
  );
});

test("a frame that is too long is refused", () => {
  const header = Buffer.from([111, 255, 255, 255, 255]);
  expect(() => frameReader(() => {})(header)).toThrow("a frame of 4294967295 bytes");
});

test("a line that is too long is refused", () => {
  const read = lineReader(() => {});
  read("x");
  expect(() => read("x".repeat(longestLineBytes))).toThrow(`a line of more than ${longestLineBytes} bytes`);
});

describe("answers", () => {
  test.each([
    [{ event: "changed", token: "abcdefghijklmno" }],
    [{ id: 3, result: null }],
    [{ id: 3, error: { code: "INVALID", message: "no" } }],
  ])("%o is one, and what else is in it is left out", (answer) => {
    expect(readAnswer(JSON.stringify({ ...answer, more: 1 }))).toEqual(answer);
  });

  test.each([
    ["null"],
    ["3"],
    ["{}"],
    ['{"event":"changed"}'],
    ['{"event":"other","token":"abcdefghijklmno"}'],
    ['{"result":1}'],
    ['{"id":"3","result":1}'],
    ['{"id":3}'],
    ['{"id":3,"error":{"code":1,"message":"no"}}'],
    ['{"id":3,"error":{"code":"INVALID"}}'],
  ])("%s is none", (line) => {
    expect(() => readAnswer(line)).toThrow("no answer");
  });
});

describe("requests", () => {
  const attempt = {
    token: "abcdefghijklmno",
    directory: "/d",
    workDirectory: "/w",
    argv: ["x"],
    environment: { A: "b" },
    runtime: "plain",
    umask: 0o77,
    graceMs: 0,
    maxOutputBytes: 0,
  };

  test("are accepted in both versions", () => {
    expect(requestSchemas[1].safeParse({ id: 1, verb: "launch", attempt }).success).toBe(true);
    expect(requestSchemas[2].safeParse({ id: 1, verb: "launch", attempts: [attempt] }).success).toBe(true);
  });

  test.each([
    [{ token: "../../etc" }],
    [{ directory: "relative" }],
    [{ argv: [] }],
    [{ environment: { "A=B": "c" } }],
    [{ umask: 0o7777 }],
    [{ graceMs: -1 }],
  ])("with %o are refused", (change) => {
    expect(requestSchemas[2].safeParse({ id: 1, verb: "launch", attempts: [{ ...attempt, ...change }] }).success).toBe(
      false,
    );
  });
});
