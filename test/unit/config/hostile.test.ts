/** A site file that was mangled in any way is taken whole, or refused with the place of every problem; never half, never with a crash. */
import fc from "fast-check";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { parse, stringify } from "yaml";
import { parseSite } from "../../../src/config/compile.ts";
import { ConfigProblems } from "../../../src/config/problems.ts";
import { builtInRegistries } from "../../../src/config/registries.ts";
import { compilePolicy } from "../../../src/transfer/policy.ts";
import { repository } from "../../helpers/cli.ts";
import { fuzz, fuzzing } from "../../helpers/fuzz.ts";
import { type TemporaryDirectory, temporaryDirectory } from "../../helpers/temporary.ts";
import { head, load, problemsOf, writeSecret } from "./files.ts";

let directory: TemporaryDirectory;
beforeAll(async () => {
  directory = await temporaryDirectory();
  await writeSecret(directory);
});
afterAll(async () => {
  await directory[Symbol.asyncDispose]();
});

const app = (rest: string): string => `${head}apps:\n  b: {workflow: w, target: local, ${rest}}\n`;

describe("what a site file asks for", () => {
  it("BAL-19: a fraction of a GPU is refused in words, not taken for none", async () => {
    expect(await problemsOf(directory, app("command: [x], resources: {gpus: 0.5}"))).toEqual([
      expect.stringMatching(/apps\.b\.resources\.gpus: '0\.5' does not fit; allowed: a whole number/),
    ]);
  });

  it("BAL-20: a command is a list; text that a shell would have to split is refused", async () => {
    expect(await problemsOf(directory, app('command: "a && b; c"'))).toEqual([
      expect.stringMatching(/apps\.b\.command: 'a && b; c' does not fit; allowed: a list/),
    ]);
    const site = await load(directory, app('command: [/bin/sh, -c, "a && b; c | d"]'));
    expect(site.apps["b"]?.command).toEqual(["/bin/sh", "-c", "a && b; c | d"]);
  });

  it("BAL-22: what has no section is off: no source, destination, private network, variable, hook, retry, report of paths", async () => {
    const site = await load(directory, app("command: [x]"));
    const policy = compilePolicy(site.policy);
    for (const set of ["sources", "destinations"] as const)
      for (const url of ["https://data.example.org/x", "file:///etc/passwd", "http://127.0.0.1/"])
        expect(policy.explain(url, set)).toMatchObject({ allowed: false });
    expect(site.policy.allow_private ?? []).toEqual([]);
    expect(site.agent).toMatchObject({ environment: [], report: "minimal" });
    expect(site.apps["b"]).toMatchObject({ hooks: {}, retry: { attempts: 1 }, success: { on_timeout: false } });
    const empty = await load(directory, `${head}apps: {}\n`);
    expect(empty.apps).toEqual({});
  });

  it("G11: numbers that are none, negative, huge or tricks of Unicode are refused at their place", async () => {
    const odd = [
      ".nan",
      ".inf",
      "-.inf",
      "-1",
      "1e400",
      "9007199254740993",
      "'4'",
      "'４'",
      "[4]",
      "{}",
      "null",
      "true",
      "0x7fffffffffffffff",
    ];
    for (const value of odd) {
      const text = `${head}targets: {local: {host: here, launcher: local, slots: ${value}}}\napps: {}\n`;
      const problems = await problemsOf(directory, text).catch(() => [`${value} was accepted`]);
      expect(problems.length, value).toBeGreaterThan(0);
      for (const problem of problems) expect(problem).toMatch(/^site\.yaml:3:\d+: targets\.local\.slots: /);
    }
  });
});

const example = readFileSync(join(repository, "config", "site.example.yaml"), "utf8");

/** Things that stand where something else is expected. */
const junk = fc.oneof(
  fc.constantFrom<unknown>(
    null,
    true,
    -1,
    0.5,
    NaN,
    Infinity,
    -0,
    1e21,
    "",
    " ",
    "\0",
    "-x",
    "../x",
    "{{",
    "{{x}}",
    "💥",
    "__proto__",
    "a".repeat(5_000),
  ),
  fc.constantFrom<unknown>([], {}, [[]], { a: 1 }, ["-rf"], { file: "/etc/passwd" }, { constructor: 1 }),
  fc.jsonValue({ maxDepth: 3 }),
);

/** Replaces, removes, renames or doubles something of a tree; `at` says where. */
function mangle(tree: unknown, at: number, how: number, put: unknown): unknown {
  const places: { holder: Record<string, unknown> | unknown[]; key: string | number }[] = [];
  const walk = (node: unknown): void => {
    if (typeof node !== "object" || node === null) return;
    for (const key of Object.keys(node)) {
      places.push({ holder: node as Record<string, unknown>, key });
      walk((node as Record<string, unknown>)[key]);
    }
  };
  walk(tree);
  const place = places[at % Math.max(1, places.length)];
  if (!place) return put;
  const { key } = place;
  const holder = place.holder as Record<string | number, unknown>;
  if (how === 0) holder[key] = put;
  else if (how === 1) delete holder[key];
  else if (how === 2)
    Object.defineProperty(holder, typeof put === "string" ? put : "x", {
      value: holder[key],
      enumerable: true,
      configurable: true,
      writable: true,
    });
  else holder[key] = [holder[key], holder[key]];
  return tree;
}

async function takenOrRefused(text: string): Promise<void> {
  const file = directory.join("site.yaml");
  const result: unknown = await parseSite(text, file, builtInRegistries, { env: {} }).catch((error: unknown) => error);
  if (!(result instanceof Error)) return;
  expect(result).toBeInstanceOf(ConfigProblems);
  const { problems } = result as ConfigProblems;
  expect(problems.length).toBeGreaterThan(0);
  const lines = text.split("\n");
  for (const { line, column, message } of problems) {
    expect(message).not.toBe("");
    if (line === undefined || column === undefined) continue;
    expect(line).toBeLessThanOrEqual(lines.length + 1);
    expect(column).toBeLessThanOrEqual((lines[line - 1]?.length ?? 0) + 1);
  }
}

describe("a mangled example", () => {
  it("G11: of any tree is taken whole or refused with places", fuzzing, async () => {
    const change = fc.tuple(fc.nat(500), fc.nat(3), junk);
    await fc.assert(
      fc.asyncProperty(fc.array(change, { minLength: 1, maxLength: 3 }), async (changes) => {
        let tree: unknown = parse(example);
        for (const [at, how, put] of changes) tree = mangle(tree, at, how, structuredClone(put));
        await takenOrRefused(stringify(tree, { aliasDuplicateObjects: false }));
      }),
      fuzz(40),
    );
  });

  it("G11: of any text likewise", fuzzing, async () => {
    const piece = fc.oneof(
      fc.string({ unit: "binary", maxLength: 5 }),
      fc.constantFrom("{", "]", ": ", "- ", "\n", "\t", "&a ", "*a", "<<: ", "!!js ", "---\n", "#", "'", '"'),
    );
    const edit = fc.tuple(fc.nat({ max: example.length }), fc.nat({ max: 60 }), piece);
    await fc.assert(
      fc.asyncProperty(fc.array(edit, { minLength: 1, maxLength: 4 }), async (edits) => {
        let text = example;
        for (const [at, cut, put] of edits) text = text.slice(0, at) + put + text.slice(at + cut);
        await takenOrRefused(text);
      }),
      {
        ...fuzz(40),
        examples: [
          [
            [
              [0, 23, ""],
              [1627, 45, "---\n"],
            ],
          ],
        ], // the place of a second document
      },
    );
  });
});
