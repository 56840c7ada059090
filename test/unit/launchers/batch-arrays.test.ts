import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { newToken } from "../../../src/common/token.ts";
import { noteBytes, parseNote, tasksText } from "../../../src/launchers/batch/arrays.ts";
import { fuzz } from "../../helpers/fuzz.ts";

const at = "2026-11-21T23:15:00.000Z";
const directory = fc.string({ minLength: 1, unit: "grapheme" }).map((name) => `/${name.replaceAll("\n", "")}x`);
const tasks = fc.array(
  fc.record({ token: fc.constant(undefined).map(newToken), directory, plan: fc.string({ unit: "grapheme" }) }),
  { minLength: 2, maxLength: 30 },
);

describe("the note of an array", () => {
  it("says each task and where its plan stands, whatever is in plans and directories", () => {
    fc.assert(
      fc.property(tasks, (all) => {
        const text = tasksText(at, all);
        const bytes = Buffer.from(text);
        const lines = bytes.toString("utf8", 0, noteBytes(text)).split("\n").slice(1, -1);
        expect(lines.length).toBe(all.length);
        for (const [index, line] of lines.entries()) {
          const [from, length] = line.split(" ").map(Number);
          const start = (from ?? 0) - 1;
          expect(bytes.toString("utf8", start, start + (length ?? 0))).toBe(all[index]?.plan);
        }
        const note = { at, tasks: all.map(({ token, directory: place }) => ({ token, directory: place })) };
        expect(parseNote(text)).toEqual(note);
        // Readers need not read the plans.
        expect(parseNote(bytes.toString("utf8", 0, noteBytes(text)))).toEqual(note);
      }),
      fuzz(100),
    );
  });

  it("is none when it is cut anywhere before its plans", () => {
    const text = tasksText(at, [
      { token: newToken(), directory: "/w/a", plan: "one" },
      { token: newToken(), directory: "/w/b", plan: "two" },
    ]);
    for (let end = 0; end < (noteBytes(text) ?? 0); end++) expect(parseNote(text.slice(0, end))).toBeUndefined();
  });

  it("has no place for a directory that would be two lines", () => {
    const task = { token: newToken(), directory: "/w/a\nb", plan: "" };
    expect(() => tasksText(at, [task, task])).toThrow(/line break/);
  });
});
