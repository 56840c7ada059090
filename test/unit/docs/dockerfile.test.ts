import { describe, expect, test } from "vitest";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { repository } from "../../helpers/cli.ts";
import { read } from "./markdown.ts";

interface Instruction {
  readonly name: string;
  readonly rest: string;
}

/** The instructions of each stage, lines joined, comments left out. */
function stages(): readonly (readonly Instruction[])[] {
  const joined = read("Dockerfile")
    .replace(/^#.*\n/gm, "")
    .replace(/\\\n/g, " ");
  const all: Instruction[][] = [];
  for (const line of joined.split("\n").filter((one) => one.trim() !== "")) {
    const [, name = "", rest = ""] = /^([A-Z]+)\s+(.*)$/.exec(line) ?? [];
    expect(name, line).not.toBe("");
    if (name === "FROM") all.push([]);
    all.at(-1)?.push({ name, rest: rest.replace(/\s+/g, " ").trim() });
  }
  return all;
}

const final = stages().at(-1) ?? [];
const of = (name: string): readonly string[] => final.flatMap((one) => (one.name === name ? [one.rest] : []));
const environment = new Map(
  of("ENV").flatMap((line) => line.split(" ").map((pair) => pair.split("=", 2) as [string, string])),
);

describe("the image", () => {
  test("every stage begins with Debian slim", () => {
    for (const stage of stages()) expect(stage[0]?.rest).toMatch(/^debian:[a-z]+-slim( AS build)?$/);
  });

  test("runs as an account without rights and with a fixed uid, under tini", () => {
    expect(of("USER")).toEqual(["10001:10001"]);
    expect(of("RUN").join()).toContain("--uid 10001");
    expect(of("ENTRYPOINT")).toEqual(['["/usr/bin/tini", "--"]']);
    expect(of("CMD")).toEqual(['["siteagent", "run", "--config", "/etc/siteagent/site.yaml"]']);
    expect(final.findIndex(({ name }) => name === "USER")).toBeGreaterThan(
      final.findLastIndex(({ name }) => name === "RUN"),
    );
  });

  test("writes only to its volume and /tmp, so the root may be read-only", () => {
    expect(of("VOLUME")).toEqual([`["${environment.get("SITEAGENT_STATE_DIR")}"]`]);
    expect(environment.get("SITEAGENT_RUNTIME_DIR")).toMatch(/^\/tmp\//);
  });

  test("asks the agent whether it is well", () => {
    expect(of("HEALTHCHECK").join()).toMatch(/CMD \["siteagent", "status"\]$/);
    expect(environment.get("PATH")?.split(":")[0]).toBe("/opt/siteagent/bin");
  });

  test("takes nothing from the network but Debian packages and npm ci, and nothing without a list", () => {
    const commands = stages()
      .flat()
      .filter(({ name }) => name === "RUN")
      .map(({ rest }) => rest)
      .join(" && ");
    expect(commands).not.toMatch(/curl|wget|git clone|pip|npm (?:install|i|exec)\b|npx|ADD/);
    expect(
      stages()
        .flat()
        .some(({ name }) => name === "ADD"),
    ).toBe(false);
    for (const install of commands.match(/npm ci[^&]*/g) ?? []) expect(install).toContain("--ignore-scripts");
  });

  test("what .dockerignore lets in is there, and all else stays out", () => {
    const [first, ...rest] = read(".dockerignore")
      .split("\n")
      .filter((line) => line !== "" && !line.startsWith("#"));
    expect(first).toBe("*");
    for (const line of rest) {
      expect(line).toMatch(/^!/);
      expect(existsSync(join(repository, line.slice(1))), line).toBe(true);
    }
    expect(rest).toEqual(
      expect.arrayContaining(["!bin", "!src", "!config", "!package-lock.json", "!.npmrc", "!LICENSE"]),
    );
  });
});
