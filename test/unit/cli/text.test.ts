import { describe, expect, test } from "vitest";
import { lastLines } from "../../../src/cli/commands/logs.ts";
import { StreamDecoder } from "../../../src/cli/format/stream.ts";
import { counted, cut, displayWidth, manyLines, oneLine, wrap } from "../../../src/cli/format/text.ts";

describe("foreign text", () => {
  test("cannot steer a terminal", () => {
    expect(oneLine("a\u001b[2Jb\u0007\r\nc\u009b31m\u202ed")).toBe("a\\u001b[2Jb\\u0007\\r\\nc\\u009b31m\\u202ed");
    expect(manyLines("a\n\tb\u001b]0;title\u0007")).toBe("a\n\tb\\u001b]0;title\\u0007");
  });

  test("keeps its colours in a log, and nothing else", () => {
    const decoder = new StreamDecoder();
    const bytes = new TextEncoder().encode("\u001b[31mré\u001b[0m\u001b[2J\r\nend");
    let text = "";
    for (const byte of bytes) text += decoder.decode(Uint8Array.of(byte));
    expect(text + decoder.end()).toBe("\u001b[31mré\u001b[0m\\u001b[2J\nend");
  });

  test("shows a carriage return that overwrites a line", () => {
    const decoder = new StreamDecoder();
    expect(decoder.decode(new TextEncoder().encode("safe\rrm -rf")) + decoder.end()).toBe("safe\\rrm -rf");
  });
});

describe("width", () => {
  test("counts columns, not characters", () => {
    expect([displayWidth("abc"), displayWidth("日本"), displayWidth("e\u0301"), displayWidth("👍🏽")]).toEqual([
      3, 4, 1, 2,
    ]);
  });

  test("cuts to the width and marks it", () => {
    expect(cut("abcdef", 6, "…")).toBe("abcdef");
    expect(cut("abcdefg", 6, "…")).toBe("abcde…");
    expect(cut("日本語", 5, "+")).toBe("日本+");
  });

  test("wraps at blanks and keeps long words whole", () => {
    expect(wrap("aa bb cc", 5)).toEqual(["aa bb", "cc"]);
    expect(wrap("https://long.example.org/x y", 6)).toEqual(["https://long.example.org/x", "y"]);
  });

  test("counts in words", () => {
    expect([counted(1, "job"), counted(0, "job"), counted(1200, "job")]).toEqual(["1 job", "0 jobs", "1,200 jobs"]);
  });
});

describe("the last lines", () => {
  test.each([
    ["a\nb\nc\n", 2, "b\nc\n"],
    ["a\nb\nc", 2, "b\nc"],
    ["a\nb\n", 5, "a\nb\n"],
    ["a\n\n\n", 2, "\n\n"],
    ["a\nb\n", 0, ""],
    ["", 3, ""],
  ])("of %j: %d are %j", (text, count, expected) => {
    expect(lastLines(Buffer.from(text), count).toString()).toBe(expected);
  });
});
