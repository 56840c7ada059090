import { describe, expect, test } from "vitest";
import { allowedText, appText, groupsOf } from "../../../src/cli/format/app.ts";
import { appSchema } from "../../../src/jobs/app.ts";
import { appsLength, appViews } from "../../../src/wire/apps.ts";
import { fakeContext } from "./context.ts";

const readqc = {
  workflow: "readqc-1.0.0",
  description: "Checks reads.",
  command: ["/opt/readqc", "{{sample}}", "{{threads}}"],
  target: "local",
  parameters: {
    sample: { type: "string", pattern: "^S[0-9]+$", description: "name of the sample" },
    threads: { type: "integer", minimum: 1, maximum: 16, default: 4 },
    mode: { type: "string", enum: ["fast", "full"], default: "fast", from: "config.how.mode" },
    reference: { type: "string", default: "/data/reference.fa" },
    license: { type: "secret", file: "/etc/license" },
  },
  inputs: { reads: { from: "{{config.reads_url}}", to: "reads.fq", sha256: "{{object.sha256}}" } },
} as const;

function told(app: object, slots = 3) {
  return appViews({ apps: { one: appSchema.parse(app) }, targets: { local: { slots } } });
}

describe("what a site tells of its apps", () => {
  test("has what a submitter needs, and no command, place or secret", () => {
    const [view] = told(readqc);
    expect(view).toEqual({
      workflow: "readqc-1.0.0",
      description: "Checks reads.",
      slots: 3,
      limits: { nodes: 1, cores: 1, gpus: 0 },
      inputs: ["config.reads_url", "object.sha256"],
      parameters: {
        sample: {
          type: "string",
          required: true,
          pattern: "^S[0-9]+$",
          max_length: 1024,
          description: "name of the sample",
          from: "config.sample",
        },
        threads: { type: "integer", required: false, minimum: 1, maximum: 16, default: 4, from: "config.threads" },
        mode: {
          type: "string",
          required: false,
          enum: ["fast", "full"],
          default: "fast",
          max_length: 1024,
          from: "config.how.mode",
        },
        reference: { type: "string", required: false, max_length: 1024, from: "config.reference" },
      },
    });
  });

  test("names at least the workflow when it would be too long", () => {
    const [view] = told({ ...readqc, description: "x".repeat(appsLength) });
    expect(view).toEqual({ workflow: "readqc-1.0.0", parameters: {}, inputs: [], slots: 3 });
  });
});

describe("submit --help", () => {
  const [app] = told(readqc);

  test("shows parameters, inputs and an example once for sites that agree", async () => {
    const groups = groupsOf([
      { site: "a", app },
      { site: "b", app },
    ]);
    const text = appText(fakeContext(), "readqc-1.0.0", groups);
    expect(text).toContain("Served by sites a, b.\nChecks reads.\n");
    expect(text).toMatch(/PARAMETER +TYPE +NEEDED +DEFAULT +ALLOWED +ALSO FROM +MEANING\n/);
    expect(text).toMatch(/sample +string +yes +matches \^S\[0-9\]\+\$ +name of the sample/);
    expect(text).toMatch(/threads +integer +no +4 +1 to 16\n/);
    expect(text).toMatch(/mode +string +no +fast +fast, full +config\.how\.mode/);
    expect(text).toContain("values of the job: config.reads_url, object.sha256");
    expect(text).toContain("siteagent submit readqc-1.0.0 -p sample=TEXT -c reads_url=URL -c object_id=ID");
  });

  test("keeps sites apart that differ, or told nothing", async () => {
    const [other] = told({ ...readqc, parameters: {}, inputs: {}, command: ["/opt/readqc"] });
    const served = [
      { site: "c", app: undefined },
      { site: "a", app },
      { site: "b", app: other },
    ];
    const text = appText(fakeContext(), "readqc-1.0.0", groupsOf(served));
    expect(text).toContain("--site a\n");
    expect(text).toContain("Served by site b.\nChecks reads.\n\nIt takes no parameters.\n");
    expect(text).toMatch(/Served by site c\. Nothing is known of its parameters there\.\n$/);
  });

  test("makes foreign text harmless", async () => {
    const [evil] = told({ ...readqc, description: "\u001b[2Jboo", workflow: "x\u001b[1m" });
    const text = appText(fakeContext(), "x\u001b[1m", groupsOf([{ site: "\u001b]0;a", app: evil }]));
    expect(text).not.toContain("\u001b");
  });

  test("says what is allowed in words", () => {
    const base = { required: true, from: "config.x" } as const;
    expect(allowedText({ ...base, type: "number", minimum: 0 })).toBe("0 or more");
    expect(allowedText({ ...base, type: "string", min_length: 2, max_length: 8 })).toBe(
      "at least 2 characters; at most 8 characters",
    );
    expect(allowedText({ ...base, type: "boolean" })).toBe("");
  });
});
