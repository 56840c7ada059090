import { createHash } from "node:crypto";
import { existsSync, readdirSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { parse } from "yaml";
import { z } from "zod";
import { appSchema } from "../../../src/jobs/app.ts";

const lambda = join(import.meta.dirname, "../../../examples/lambda");
const fragment = z.strictObject({ apps: z.record(z.string(), appSchema) });
const { apps } = fragment.parse(parse(readFileSync(join(lambda, "app.yaml"), "utf8")));

describe("examples/lambda/app.yaml", () => {
  it("has the program and one app for each fault on purpose", () => {
    expect(Object.keys(apps)).toEqual(["readqc", "readqc-flaky", "readqc-slow"]);
  });

  it.each(Object.entries(apps))("names only programs, parameters and inputs that %s has", (_, app) => {
    for (const element of app.command) {
      const program = /^\/opt\/siteagent\/examples\/lambda\/(.*)$/.exec(element)?.[1];
      if (program !== undefined) expect(existsSync(join(lambda, program)), program).toBe(true);
      const place = /^\{\{(inputs\.)?([^}]*)\}\}$/.exec(element);
      if (place) expect(Object.keys(place[1] ? app.inputs : app.parameters)).toContain(place[2]);
    }
  });

  it("asks for a retry exactly where a wrapper fails on purpose", () => {
    expect(apps["readqc-flaky"]?.retry.on).toEqual(["exit:75"]);
    expect(apps["readqc-slow"]?.retry.on).toEqual(["timeout"]);
    expect(apps["readqc-slow"]?.resources.walltime).toBeLessThan(60_000);
  });
});

describe("examples/lambda/data", () => {
  const data = join(lambda, "data");
  const page = readFileSync(join(data, "README.md"), "utf8");
  const files = readdirSync(data).filter((name) => name !== "README.md");

  it.each(files)("states the digest of %s", (name) => {
    const digest = createHash("sha256")
      .update(readFileSync(join(data, name)))
      .digest("hex");
    const line = page.split("\n").find((text) => text.startsWith(`| \`${name}\` `));
    expect(line).toContain(`\`${digest}\``);
  });

  it("stays below one megabyte", () => {
    const bytes = readdirSync(data).reduce((sum, name) => sum + statSync(join(data, name)).size, 0);
    expect(bytes).toBeLessThan(1_000_000);
  });
});
