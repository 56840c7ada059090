import { describe, expect, test } from "vitest";
import { type Column, factsText, tableText } from "../../../src/cli/format/table.ts";
import { elapsed, localTime, relative, shortAge } from "../../../src/cli/format/time.ts";
import { type Terminal, terminalOf, type TextStream } from "../../../src/cli/terminal.ts";

interface Row {
  readonly id: string;
  readonly note: string;
  readonly empty: string;
}

const columns: readonly Column<Row>[] = [
  { key: "id", title: "ID", value: (row) => row.id },
  { key: "empty", title: "EMPTY", value: (row) => row.empty },
  { key: "note", title: "NOTE", value: (row) => row.note, shrinkTo: 6, style: () => "red" },
];
const long = "a note that is much longer than any terminal of forty columns would ever show";
const rows: readonly Row[] = [
  { id: "one", note: long, empty: "" },
  { id: "three", note: "short", empty: "" },
];

function terminal(stream: Partial<TextStream>, env: NodeJS.ProcessEnv = {}): Terminal {
  return terminalOf({ write: () => true, ...stream }, { LANG: "C.UTF-8", ...env }, "auto");
}
const pipe = terminal({});
const screen = terminal({ isTTY: true, columns: 40 }, { NO_COLOR: "1" });
const options = { header: true, dropEmpty: true, ellipsis: "…" };

describe("a table", () => {
  test("drops columns that are empty for all rows, unless they were asked for", async () => {
    expect(tableText(rows, columns, pipe, options)).not.toContain("EMPTY");
    expect(tableText(rows, columns, pipe, { ...options, dropEmpty: false })).toContain("EMPTY");
  });

  test("is never cut in a pipe", async () => {
    expect(tableText(rows, columns, pipe, options)).toBe(`ID     NOTE\none    ${long}\nthree  short\n`);
  });

  test("fits a terminal and marks what was cut", async () => {
    const text = tableText(rows, columns, screen, options);
    const lines = text.trimEnd().split("\n");
    expect(Math.max(...lines.map((line) => line.length))).toBe(40);
    expect(lines[1]).toMatch(/…$/);
    expect(lines[2]).toBe("three  short");
  });

  test("puts a last column that may stand below its row there, whole, where it has no room", async () => {
    const below = columns.map((column) => ({ ...column, below: column.key === "note" }));
    const text = tableText(rows, below, screen, { ...options, header: false });
    const lines = text.trimEnd().split("\n");
    expect(lines.map((line) => line.trim()).join(" ")).toBe(`one ${long} three  short`);
    expect(Math.max(...lines.map((line) => line.length))).toBeLessThanOrEqual(40);
    expect(tableText(rows, below, pipe, options)).toBe(tableText(rows, columns, pipe, options));
  });

  test("makes foreign text harmless", async () => {
    const bad = [{ id: "x\u001b[2J", note: "two\nlines", empty: "" }];
    expect(tableText(bad, columns, pipe, { ...options, header: false })).toBe("x\\u001b[2J  two\\nlines\n");
  });

  test("colours cells without spoiling the alignment", async () => {
    const coloured = terminal({ isTTY: true, columns: 80 });
    const text = tableText([...rows].reverse(), columns, coloured, options);
    expect(text).toContain("\u001b[31mshort\u001b[39m");
    expect(text.split("\n")[1]).toMatch(/^three {2}/);
  });

  test("of no rows without a header is nothing", async () => {
    expect(tableText([], columns, pipe, { ...options, header: false })).toBe("");
  });
});

test("facts leave out what is empty and align the rest", () => {
  const facts = [
    ["Name", "x"],
    ["Gone", ""],
    ["Workflow", "two\nlines"],
  ] as const;
  expect(factsText(facts, pipe)).toBe("    Name: x\nWorkflow: two\n          lines\n");
});

describe("colours", () => {
  const cases: readonly (readonly [string, Partial<TextStream>, NodeJS.ProcessEnv, boolean])[] = [
    ["a terminal", { isTTY: true }, {}, true],
    ["a pipe", {}, {}, false],
    ["NO_COLOR", { isTTY: true }, { NO_COLOR: "1" }, false],
    ["an empty NO_COLOR", { isTTY: true }, { NO_COLOR: "" }, true],
    ["FORCE_COLOR in a pipe", {}, { FORCE_COLOR: "1" }, true],
    ["NO_COLOR over FORCE_COLOR", {}, { FORCE_COLOR: "1", NO_COLOR: "1" }, false],
    ["a dumb terminal", { isTTY: true }, { TERM: "dumb" }, false],
  ];
  test.each(cases)("%s", (_, stream, env, expected) => {
    expect(terminal(stream, env).color).toBe(expected);
  });

  test("a flag wins over the environment", () => {
    const stream = { write: () => true };
    expect(terminalOf(stream, { NO_COLOR: "1" }, "always").color).toBe(true);
    expect(terminalOf({ ...stream, isTTY: true }, {}, "never").color).toBe(false);
  });

  test("symbols follow the locale that the C library would take", () => {
    const unicode = (env: NodeJS.ProcessEnv): boolean => terminalOf({ write: () => true }, env, "auto").unicode;
    expect(unicode({ LANG: "en_GB.UTF-8" })).toBe(true);
    expect(unicode({ LANG: "en_GB.UTF-8", LC_ALL: "C" })).toBe(false);
    expect(unicode({})).toBe(false);
  });
});

describe("times", () => {
  const now = Date.parse("2026-11-20T12:00:00Z");
  test("tell how far away they are", () => {
    expect(relative("2026-11-20T11:55:00Z", now)).toBe("5m ago");
    expect(relative("2026-11-20T14:00:05Z", now)).toBe("in 2h 5s");
    expect(relative("2026-11-20T12:00:00.400Z", now)).toBe("now");
    expect(shortAge("2026-11-19T10:00:00Z", now)).toBe("1d");
    expect(elapsed("2026-11-20T11:00:00Z", null, now)).toBe("1h");
  });
  test("are UTC when asked", () => {
    expect(localTime("2026-11-20T12:15:16.123Z", true)).toBe("2026-11-20 12:15:16 UTC");
  });
});
