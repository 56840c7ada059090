import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { JsonValue } from "../../../src/common/json.ts";
import { checkParameters, resolveParameters } from "../../../src/jobs/parameters.ts";
import { appOf } from "./builders.ts";

const app = appOf({
  parameters: {
    threads: { type: "integer", default: 4, minimum: 1, maximum: 64 },
    sample: { type: "string", from: "config.sample.name", pattern: "^[A-Za-z0-9_]+$" },
    mode: { type: "string", enum: ["fast", "exact"], default: "fast" },
    ratio: { type: "number", required: false, maximum: 1 },
    shift: { type: "integer", minimum: -5, required: false },
    verbose: { type: "boolean", default: false },
    note: { type: "string", required: false, allow_leading_dash: true, max_length: 5 },
    key: { type: "secret", file: "key" },
  },
});

const problemsOf = (job: Parameters<typeof resolveParameters>[1]): string => {
  const resolved = resolveParameters(app, job);
  return resolved.ok ? "" : resolved.problems.map(({ message }) => message).join("\n");
};

describe("resolveParameters", () => {
  it("maps from config, fills defaults and leaves secrets out", () => {
    expect(resolveParameters(app, { config: { sample: { name: "s1" }, threads: 8 } })).toEqual({
      ok: true,
      values: { threads: 8, sample: "s1", mode: "fast", verbose: false },
    });
  });

  it("takes a hub job's parameters, also as text", () => {
    const parameters = { sample: "s1", threads: "12", ratio: "0.5", verbose: "true", shift: -3, note: "-x" };
    expect(resolveParameters(app, { parameters })).toEqual({
      ok: true,
      values: { threads: 12, sample: "s1", mode: "fast", ratio: 0.5, shift: -3, verbose: true, note: "-x" },
    });
  });

  it("lets what a hook set come first", () => {
    const resolved = resolveParameters(app, { parameters: { sample: "s1", threads: 2 } }, { threads: 3 });
    expect(resolved).toMatchObject({ ok: true, values: { threads: 3 } });
  });

  it("names all problems at once, with path, value and what is allowed", () => {
    const text = problemsOf({
      config: { sample: { name: "a b" }, threads: 65, mode: "exakt" },
      parameters: { thread: 1, ratio: 2, verbose: "yes", note: "too long", shift: -6, key: "x" },
    });
    expect(text.split("\n").toSorted()).toEqual([
      "config.mode: 'exakt' is not one of the values; allowed: 'fast', 'exact'; nearest: 'exact'",
      "config.sample.name: 'a b' does not match the pattern; allowed: text of 0 to 1024 characters, not beginning with '-', matching '^[A-Za-z0-9_]+$'",
      "config.threads: '65' is out of range; allowed: a whole number from 1 to 64",
      "parameters.key: 'key' is a secret of the site, which no job can set",
      "parameters.note: 'too long' has 8 characters; allowed: text of 0 to 5 characters",
      "parameters.ratio: '2' is out of range; allowed: a number from 0 to 1",
      "parameters.shift: '-6' is out of range; allowed: a whole number of at least -5",
      "parameters.thread: unknown parameter 'thread'; allowed: threads, sample, mode, ratio, shift, verbose, note; nearest: 'threads'",
      "parameters.verbose: 'yes' is not a boolean; allowed: true, false",
    ]);
  });

  it.each<[string, JsonValue, RegExp]>([
    ["a missing required one", null, /'sample' is missing/],
    ["a leading dash", "-rf", /begins with '-'/],
    ["a NUL", "a\0b", /'a\\u0000b' holds a control character/],
    ["a line end", "a\nb", /control character/],
    ["half a character", "\ud800", /not well-formed/],
    ["a number for text", 5, /is not text/],
    ["an object", { a: 1 }, /is not text/],
    ["a very long value", "x".repeat(3000), /^config.sample.name: 'x{80}…' has 3000 characters/],
  ])("refuses %s", (_what, name, message) => {
    expect(problemsOf({ config: { sample: { name } } })).toMatch(message);
  });

  it.each<JsonValue>([1.5, "1.5", "0x10", "", " 4", "4 ", "1e999", "-0", true, [], 2 ** 53])(
    "refuses '%j' as a whole number",
    (threads) => {
      expect(problemsOf({ config: { sample: { name: "a" }, threads } })).toMatch(/^config\.threads: /);
    },
  );

  it("maps from the object that triggered the job", () => {
    const triggered = appOf({ parameters: { name: { type: "string", from: "object.name" } } });
    expect(resolveParameters(triggered, { object: { name: "reads_1" } })).toEqual({
      ok: true,
      values: { name: "reads_1" },
    });
    const none = resolveParameters(triggered, { config: { name: "x" } });
    expect(none).toMatchObject({ ok: false, problems: [{ path: "object.name" }] });
  });

  it("refuses two different values for one parameter", () => {
    expect(problemsOf({ config: { sample: { name: "a" }, threads: 2 }, parameters: { threads: 3 } })).toMatch(
      /'3' differs from '2'/,
    );
    expect(problemsOf({ config: { sample: { name: "a" }, threads: 2 }, parameters: { threads: 2 } })).toBe("");
  });

  it("takes only the listed whole numbers, and lists them", () => {
    const lanes = appOf({ parameters: { lane: { type: "integer", enum: [1, 2, 4] } } });
    expect(resolveParameters(lanes, { config: { lane: "4" } })).toEqual({ ok: true, values: { lane: 4 } });
    expect(resolveParameters(lanes, { config: { lane: 3 } })).toMatchObject({
      problems: [{ message: "config.lane: '3' is not one of the values; allowed: 1, 2, 4" }],
    });
  });

  it("says what a value of each kind has to be where one is missing", () => {
    const all = appOf({
      parameters: {
        flag: { type: "boolean" },
        ratio: { type: "number", minimum: 1 },
        word: { type: "string", allow_leading_dash: true, min_length: 2, max_length: 3 },
      },
    });
    const resolved = resolveParameters(all, {});
    expect(resolved.ok ? [] : resolved.problems.map(({ allowed }) => allowed)).toEqual([
      "true, false",
      "a number of at least 1",
      "text of 2 to 3 characters",
    ]);
  });

  it("takes no parameters at all where the app declares none, and looks at no more than 1000 names", () => {
    const none = appOf({});
    expect(resolveParameters(none, { parameters: { x: 1 } })).toMatchObject({
      problems: [{ path: "parameters.x", allowed: "none" }],
    });
    const many = Object.fromEntries(Array.from({ length: 1001 }, (_, at) => [`p${at}`, at]));
    expect(resolveParameters(none, { parameters: many })).toMatchObject({
      problems: [{ path: "parameters", message: "parameters: '1001' parameters are given; allowed: at most 1000" }],
    });
    expect(resolveParameters(none, { parameters: ["x"] })).toMatchObject({
      problems: [{ path: "parameters", message: expect.stringContaining("not a mapping") }],
    });
  });

  it("counts bytes, not characters, where a text is too long for an argument", () => {
    const long = appOf({ parameters: { x: { type: "string", max_length: 65536 } } });
    expect(resolveParameters(long, { config: { x: "a".repeat(60_000) } })).toMatchObject({ ok: true });
    expect(resolveParameters(long, { config: { x: "\u20ac".repeat(60_000) } })).toMatchObject({ ok: false });
  });

  it("matches in linear time", () => {
    const slow = appOf({ parameters: { x: { type: "string", pattern: "(a+)+$", max_length: 65536 } } });
    const started = performance.now();
    expect(resolveParameters(slow, { config: { x: `${"a".repeat(20_000)}!` } }).ok).toBe(false);
    expect(performance.now() - started).toBeLessThan(10_000);
  });

  it("G3, G11: never throws and never lets a bad value through, whatever the JSON", () => {
    fc.assert(
      fc.property(fc.jsonValue(), fc.jsonValue(), (config, parameters) => {
        const nested = { config: { sample: { name: config }, threads: parameters }, parameters };
        for (const job of [{ config, parameters }, nested] as readonly { config: JsonValue; parameters: JsonValue }[]) {
          const resolved = resolveParameters(app, job);
          if (!resolved.ok) expect(resolved.problems.length).toBeGreaterThan(0);
          else expect(String(resolved.values["sample"])).toMatch(/^\w+$/);
        }
      }),
    );
  });
});

describe("checkParameters", () => {
  it("finds reserved names, bad patterns, bounds and defaults", () => {
    const bad = appOf({
      parameters: {
        work: { type: "string" },
        a: { type: "string", pattern: "(?=x)" },
        b: { type: "integer", minimum: 5, maximum: 4 },
        c: { type: "integer", default: 9, maximum: 8 },
        d: { type: "string", default: "-x" },
        e: { type: "string", default: "x" },
        f: { type: "string", min_length: 5, max_length: 4 },
        g: { type: "boolean", default: true },
        h: { type: "secret", file: "key" },
      },
    });
    expect(checkParameters(bad.parameters).map(({ at }) => at.join("."))).toEqual([
      "work",
      "a.pattern",
      "b.maximum",
      "c.default",
      "d.default",
      "f.max_length",
    ]);
  });
});
