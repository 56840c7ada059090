import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { fillText, fillUrl, parseTemplate, type TemplateUse } from "../../../src/jobs/template.ts";
import { checkCommand, checkTemplate } from "../../../src/jobs/template-check.ts";
import { appOf } from "./builders.ts";

const app = appOf({
  parameters: {
    sample: { type: "string" },
    label: { type: "string", required: false },
    key: { type: "secret", file: "key" },
  },
  inputs: { reads: { from: "{{config.reads_url}}", to: "reads.fq" } },
  outputs: { report: { from: "report.json" }, all: { from: "*.txt", kind: "glob" } },
});

describe("checkTemplate", () => {
  it.each<[TemplateUse, string]>([
    ["argument", "--name={{sample}}"],
    ["argument", "{{ inputs.reads }}"],
    ["argument", "{{outputs.report}}"],
    ["argument", "{{key}}"],
    ["argument", "{{in}}/{{work}}/{{attempt}}/{{token}}"],
    ["argument", "{{{{literal}}"],
    ["source", "{{config.reads.url}}"],
    ["source", "https://data.example.org/{{sample}}/{{config.lane}}.fq?x={{token}}"],
    ["source", "archive:/in/{{sample}}"],
    ["source", "file:///data/{{sample}}"],
    ["expectation", "{{config.sha256}}"],
    ["source", "{{object.url}}"],
    ["destination", "https://x.example.org/{{sample}}/{{attempt}}"],
  ])("accepts %s '%s'", (use, text) => {
    expect(checkTemplate(text, use, app, ["archive"])).toEqual([]);
  });

  it.each<[TemplateUse, string, RegExp]>([
    ["argument", "{{sampel}}", /'\{\{sampel\}\}' at column 3 .*unknown/],
    ["argument", "{{config.sample}}", /commands take declared parameters only/],
    ["argument", "{{outputs.all}}", /unknown/],
    ["argument", "{{job.id}}", /unknown/],
    ["argument", "{{label}}", /may have no value/],
    ["argument", "a {{", /column 3 .* has no '\}\}'/],
    ["argument", "{{a b}}", /is not a name/],
    ["argument", "{{__proto__}}", /is not a name/],
    ["argument", "{{constructor}}", /unknown/],
    ["source", "https://x.example.org/{{key}}", /secret/],
    ["source", "{{sample}}.fq", /scheme and host in plain text/],
    ["source", "https://{{sample}}/x", /scheme and host in plain text/],
    ["source", "https://x.example.org{{sample}}/x", /scheme and host in plain text/],
    ["source", "archive://x/{{sample}}", /scheme and host in plain text/],
    ["source", "attic:/x", /is no remote of this file/],
    ["destination", "{{sample}}", /whole destination/],
    ["destination", "https://x.example.org/{{config.x}}", /destinations take declared parameters only/],
  ])("refuses %s '%s'", (use, text, message) => {
    const problems = checkTemplate(text, use, app, ["archive"]);
    expect(problems.map((problem) => problem.message).join("\n")).toMatch(message);
  });
});

describe("checkCommand", () => {
  it("G3: refuses a program chosen by the job and values inside the text of an interpreter", () => {
    expect(checkCommand(["{{sample}}"]).map(({ index }) => index)).toEqual([0]);
    expect(checkCommand(["sh", "-c", "echo {{sample}}"]).map(({ index }) => index)).toEqual([2]);
    expect(checkCommand(["/usr/bin/env", "bash", "-ec", "echo {{sample}}"]).map(({ index }) => index)).toEqual([3]);
    expect(checkCommand(["python3.12", "-c", "print('{{sample}}')"]).map(({ index }) => index)).toEqual([2]);
    expect(checkCommand(["sh", "-c", 'echo "$1"', "sh", "{{sample}}"])).toEqual([]);
    expect(checkCommand(["tool", "-c", "{{sample}}"])).toEqual([]);
  });
});

describe("filling", () => {
  it("puts values, paths and literals together", () => {
    const scope = {
      values: { a: "x y", n: 4, yes: true },
      in: "/w/in",
      inputs: { reads: "/w/in/r" },
      token: "tok",
      attempt: 2,
    };
    expect(fillText("{{a}}-{{n}}-{{yes}}-{{in}}-{{inputs.reads}}-{{token}}-{{attempt}}-{{{{a}}", scope)).toEqual({
      ok: true,
      text: "x y-4-true-/w/in-/w/in/r-tok-2-{{a}}",
    });
  });

  it("says which value is missing", () => {
    const filled = fillText("{{config.reads.0.url}}", { values: {}, config: { reads: [{ url: null }] } });
    expect(filled).toMatchObject({
      ok: false,
      problem: { missing: true, message: expect.stringContaining("'config.reads.0.url'") as string },
    });
    expect(fillText("{{toString}}", { values: {} })).toMatchObject({ ok: false });
  });

  it("finds names with a dot only where such things are", () => {
    const scope = {
      values: { plain: "p" },
      inputs: { a: "/in/a" },
      outputs: { b: "/out/b" },
      object: { n: 1 },
      work: "/w",
    };
    expect(fillText("{{inputs.a}} {{outputs.b}} {{object.n}} {{work}}", scope)).toEqual({
      ok: true,
      text: "/in/a /out/b 1 /w",
    });
    for (const name of ["plain.x", "inputs.b", "outputs.a", "job.id", "config.a", "object.n.m", "attempt", "in"]) {
      expect(fillText(`{{${name}}}`, scope), name).toMatchObject({
        ok: false,
        problem: { missing: true, value: name },
      });
    }
  });

  it("refuses a whole URL that is longer than any server takes, and one with an empty part before its end", () => {
    const url = (value: string) => fillUrl("{{config.url}}", { values: {}, config: { url: value } });
    expect(url(`https://a.example.org/${"x".repeat(5000)}`)).toMatchObject({
      problem: { message: expect.stringContaining("longer than 4096") },
    });
    expect(fillUrl("https://h.example.org/{{v}}/x", { values: { v: "" } })).toMatchObject({
      problem: { message: expect.stringContaining("has an empty part") },
    });
  });

  it("takes a whole URL only where the template is one place alone", () => {
    expect(fillUrl("{{object.url}}", { values: {}, object: { url: "https://a/b" } })).toEqual({
      ok: true,
      text: "https://a/b",
    });
    const config = { url: "https://a.example.org/x?y=1", bad: "no url", blank: "https://a/ b" };
    expect(fillUrl("{{config.url}}", { values: {}, config })).toEqual({ ok: true, text: config.url });
    expect(fillUrl("{{config.bad}}", { values: {}, config })).toMatchObject({ ok: false });
    expect(fillUrl("{{config.blank}}", { values: {}, config })).toMatchObject({ ok: false });
  });

  it.each(["..", ".", "", "%2e%2e"])("refuses or encodes '%s' as a part of a path", (value) => {
    const filled = fillUrl("https://h.example.org/a/{{v}}/b", { values: { v: value } });
    if (filled.ok) expect(new URL(filled.text).pathname.split("/")).toHaveLength(4);
    else expect(filled.problem.message).toMatch(/leave its directory|empty part/);
  });
});

const text = fc.oneof(
  fc.string({ unit: "binary" }),
  fc.string(),
  fc.constantFrom("..", "/", "?", "#", "@", "a/../../b", "%2e%2e", "\\..\\"),
);

it("G3: keeps every filled URL below its literal directory, on its host", () => {
  fc.assert(
    fc.property(text, text, (first, second) => {
      const filled = fillUrl("https://h.example.org/base/{{a}}/x-{{b}}.json", { values: { a: first, b: second } });
      if (!filled.ok) return;
      const url = new URL(filled.text);
      expect(url.host).toBe("h.example.org");
      expect(url.username + url.password + url.search + url.hash).toBe("");
      expect(url.pathname.split("/")).toHaveLength(4);
      expect(url.pathname.startsWith("/base/")).toBe(true);
      expect(decodeURIComponent(url.pathname)).toBe(`/base/${first}/x-${second}.json`);
    }),
    { numRuns: 500 },
  );
});

it("parses any text without throwing, and text without places stays as it is", () => {
  fc.assert(
    fc.property(fc.oneof(text, fc.stringMatching(/^[{}a.]{0,12}$/)), (template) => {
      const { parts, problems } = parseTemplate(template);
      if (!template.includes("{{"))
        expect([parts, problems]).toEqual([template === "" ? [] : [{ literal: template }], []]);
      fillText(template, { values: {} });
      fillUrl(template, { values: {} });
    }),
  );
});
