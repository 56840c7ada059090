import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { CappedOutput } from "../../../../src/hosts/output.ts";
import { type Frame, FrameReader } from "../../../../src/hosts/ssh/frames.ts";
import { fuzz, fuzzing } from "../../../helpers/fuzz.ts";

const key = "k0123456789abcdef0123456789abcdef";

/** What a stream in these pieces comes to. */
function readIn(pieces: readonly Uint8Array[], limit = 1_000_000) {
  const frames: Frame[] = [];
  const output = new CappedOutput(limit);
  const reader = new FrameReader(key, output, (frame) => frames.push(frame));
  for (const piece of pieces) reader.take(Buffer.from(piece));
  return { frames, text: output.text, truncated: output.truncated, noise: reader.noise };
}

function whole(text: string) {
  return readIn([Buffer.from(text)]);
}

describe("frames of a remote command's output", () => {
  test("parts noise, output and what comes after the end", () => {
    const answer = whole(`Welcome\n\n${key} begin 77\nout\nput\n${key} end 3 none\nlate noise`);
    expect(answer.frames).toEqual([
      { kind: "begin", group: 77 },
      { kind: "end", code: 3, order: "none" },
    ]);
    expect([answer.text, answer.noise]).toEqual(["out\nput", "Welcome"]);
  });

  test("tells why nothing was started", () => {
    expect(whole(`x\n${key} none ENOENT\n`).frames).toEqual([{ kind: "none", why: "ENOENT" }]);
  });

  test.each([
    ["another key", `\nk1 begin 1\nout\nk1 end 0 none\n`],
    ["the key inside a line", `x ${key} begin 1\n`],
    ["an end that was cut", `\n${key} begin 1\nout\n${key} end 0`],
    ["an end with a word that is none", `\n${key} begin 1\nout\n${key} end 0 well\n`],
    ["an end without a number", `\n${key} begin 1\nout\n${key} end none\n`],
  ])("takes no end from %s", (_what, text) => {
    expect(whole(text).frames.filter(({ kind }) => kind === "end")).toEqual([]);
  });

  test("keeps the last noise only", () => {
    const { noise } = whole("a".repeat(50_000) + "the end");
    expect(noise.length).toBeLessThan(3_000);
    expect(noise.endsWith("aathe end")).toBe(true);
  });

  test("does not count frame lines as output when it is cut", () => {
    const answer = readIn([Buffer.from(`\n${key} begin 1\n0123456789\n${key} end 0 none\n`)], 10);
    expect([answer.text, answer.truncated]).toEqual(["0123456789", false]);
  });

  test("gives the same however the stream comes in pieces, and every byte of the output", fuzzing, () => {
    const bytes = fc.uint8Array({ maxLength: 300 });
    fc.assert(
      fc.property(bytes, bytes, fc.array(fc.nat(), { maxLength: 20 }), (noise, output, cuts) => {
        const stream = Buffer.concat([
          noise,
          Buffer.from(`\n${key} begin 5\n`),
          output,
          Buffer.from(`\n${key} end 12 time\n`),
        ]);
        const places = [0, ...cuts.map((cut) => cut % stream.length).toSorted((a, b) => a - b), stream.length];
        const pieces = places.slice(1).map((end, index) => stream.subarray(places[index], end));
        const answer = readIn(pieces);
        expect(answer.frames).toEqual([
          { kind: "begin", group: 5 },
          { kind: "end", code: 12, order: "time" },
        ]);
        expect(answer.text).toBe(Buffer.from(output).toString("utf8"));
      }),
      fuzz(300),
    );
  });
});
