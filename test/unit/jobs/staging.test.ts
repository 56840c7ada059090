import { expect, it } from "vitest";
import { fillInputs, fillOutputs } from "../../../src/jobs/staging.ts";
import { appOf } from "./builders.ts";

const app = appOf({
  parameters: { sample: { type: "string" } },
  inputs: {
    reads: {
      from: "{{config.url}}",
      to: "reads.fq",
      size: "{{config.size}}",
      sha256: "{{config.sha}}",
      max_size: "1MiB",
    },
    index: { from: "archive:/idx/{{sample}}/", to: "index", kind: "directory", mode: "link" },
    extra: { from: "{{config.extra}}", to: "extra", required: false },
  },
  outputs: {
    report: { from: "report.json", to: "https://out.example.org/{{sample}}/{{token}}.json" },
    logs: { from: "*.log", kind: "glob", required: false, exclude: ["tmp*"] },
  },
});
const values = { sample: "s 1" };
const sha = "AB".repeat(32);

it("fills inputs in the shape of the transfer engine; an optional one without value is left out", () => {
  const staging = fillInputs(app, { values, config: { url: "https://a.example.org/r", size: 12, sha } });
  expect(staging).toEqual({
    ok: true,
    items: [
      {
        name: "reads",
        source: "https://a.example.org/r",
        target: "reads.fq",
        kind: "file",
        required: true,
        mode: "copy",
        expectedSize: 12,
        expectedSha256: sha.toLowerCase(),
        maxBytes: 2 ** 20,
        include: [],
        exclude: [],
      },
      {
        name: "index",
        source: "archive:/idx/s%201/",
        target: "index",
        kind: "directory",
        required: true,
        mode: "link",
        expectedSize: undefined,
        expectedSha256: undefined,
        maxBytes: undefined,
        include: [],
        exclude: [],
      },
    ],
  });
});

it("names every problem with its place", () => {
  const staging = fillInputs(app, { values: { sample: ".." }, config: { size: -1, sha: "12", extra: "no url" } });
  expect(staging.ok ? [] : staging.problems.map(({ path }) => path)).toEqual([
    "inputs.reads.size",
    "inputs.reads.sha256",
    "inputs.reads.from",
    "inputs.index.from",
    "inputs.extra.from",
  ]);
  for (const { path, message } of staging.ok ? [] : staging.problems) expect(message).toContain(`${path}: `);
});

it("fills the outputs that have a destination", () => {
  const staging = fillOutputs(app, { values, token: "abcdefghijklmno" });
  expect(staging.ok ? staging.items.map(({ source, target }) => [source, target]) : staging.problems).toEqual([
    ["report.json", "https://out.example.org/s%201/abcdefghijklmno.json"],
  ]);
  expect(fillOutputs(app, { values }).ok).toBe(false);
});

it("says which value is missing, so that a later answer can bring it", () => {
  const staging = fillInputs(app, { values, config: {} });
  expect(staging.ok ? [] : staging.problems).toMatchObject([
    { path: "inputs.reads.size", missing: "config.size" },
    { path: "inputs.reads.sha256", missing: "config.sha" },
    { path: "inputs.reads.from", missing: "config.url" },
  ]);
});
