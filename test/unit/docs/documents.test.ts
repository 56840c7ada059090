import { existsSync, readdirSync } from "node:fs";
import { dirname, join, relative } from "node:path";
import { describe, expect, test } from "vitest";
import { allCommands } from "../../../src/cli/declare/all.ts";
import type { CommandSpec } from "../../../src/cli/spec.ts";
import { parseHubConfig } from "../../../src/hub/config.ts";
import { parseSite } from "../../../src/config/compile.ts";
import { builtInRegistries } from "../../../src/config/registries.ts";
import { parse } from "yaml";
import { cleanEnvironment, repository } from "../../helpers/cli.ts";
import { Program } from "../../helpers/program.ts";
import { temporaryDirectory } from "../../helpers/temporary.ts";
import { writeSecret } from "../config/files.ts";
import { anchors, blocks, markdownFiles, prose, read } from "./markdown.ts";

describe.each(markdownFiles)("%s", (file) => {
  const text = read(file);

  test("its links lead somewhere", () => {
    const broken = [];
    for (const [, target = ""] of prose(text).matchAll(/\]\(([^)\s]+)\)/g)) {
      if (/^[a-z]+:/.test(target)) continue;
      const [path = "", anchor] = target.split("#");
      const full = path === "" ? join(repository, file) : join(repository, dirname(file), path);
      const inside = !relative(repository, full).startsWith("..");
      const found =
        inside && existsSync(full) && (anchor === undefined || anchors(read(relative(repository, full))).has(anchor));
      if (!found) broken.push(target);
    }
    expect(broken).toEqual([]);
  });

  test("names no place of the machine that it was written on", () => {
    const places = [repository, ...["/home/", "/root/", "/Users/", "/work/", "/tmp/tmp."]];
    // What a container's image or a reader's own machine has by convention is no such place.
    for (const place of places) expect(text.includes(place), place).toBe(false);
  });

  test("names commands and flags that there are", () => {
    const wrong = commandLines(text).flatMap((line) => {
      const problem = problemOf(line);
      return problem === undefined ? [] : [`${line.join(" ")}: ${problem}`];
    });
    expect(wrong).toEqual([]);
  });

  test("names variables of ours that are read", () => {
    const named = new Set(text.match(variable));
    expect([...named].filter((name) => !variables.has(name))).toEqual([]);
  });
});

const variable = /\bSITEAGENT_[A-Z_]*[A-Z]\b/g;
/** All that the code names. */
const variables = new Set(
  readdirSync(join(repository, "src"), { recursive: true, encoding: "utf8" })
    .filter((path) => path.endsWith(".ts"))
    .flatMap((path) => read(join("src", path)).match(variable) ?? []),
);

/** `siteagent WORDS…` in code spans and shell blocks, one line each, continued lines joined, comments cut. */
function commandLines(text: string): readonly (readonly string[])[] {
  const spans = [...prose(text).matchAll(/`(siteagent [^`]+)`/g)].map(([, span = ""]) => span);
  const shell = [...blocks(text, "sh"), ...blocks(text, "bash")].join("\n").replace(/\\\n\s*/g, " ");
  const lines = shell
    .split("\n")
    .flatMap((line) => /(?:^|[\s/|])(siteagent [a-z].*)$/.exec(line.replace(/\s#.*$/, ""))?.[1] ?? []);
  return [...spans, ...lines].map((line) =>
    line
      .replace(/^(?:siteagent )+/, "")
      .trim()
      .split(/\s+/),
  );
}

function problemOf(words: readonly string[]): string | undefined {
  const [name = "", next] = words;
  if (name.startsWith("-") || name === "runner" || /^[A-Z]/.test(name)) return undefined; // options of all; the unit's own; a placeholder
  let spec = allCommands.find((command) => command.name === name) as CommandSpec | undefined;
  if (!spec) return `no command '${name}'`;
  if (spec.subcommands) {
    if (next === undefined) return undefined;
    spec = spec.subcommands.find((command) => command.name === next);
    if (!spec) return `no command '${name} ${next}'`;
  }
  const flags = new Set((spec.options ?? []).flatMap((option) => option.flags.match(/(?<=^|[ ,])--?[\w-]+/g) ?? []));
  for (const common of ["-o", "--output", "--color", "--utc", "-h", "--help", "-V", "--version"]) flags.add(common);
  const unknown = words.filter((word) => /^--?[a-z]/.test(word)).find((word) => !flags.has(word.split("=")[0] ?? ""));
  return unknown === undefined ? undefined : `no flag '${unknown}'`;
}

describe("README.md", () => {
  const readme = read("README.md");

  test("shows the real help", async () => {
    await using home = await temporaryDirectory();
    const args = [join(repository, "src", "main.ts"), "--help"];
    await using program = await Program.start(process.execPath, args, { env: cleanEnvironment(home.path), input: "" });
    const { stdout, code } = await program.result(20_000);
    expect(code).toBe(0);
    expect(blocks(readme).map((block) => block.trim())).toContain(stdout.trim());
  });

  test("shows what the demo prints", () => {
    const demo = blocks(readme).find((block) => block.startsWith("1  A hub")) ?? "";
    const said = read("src/demo/demo.ts") + read("src/demo/stage.ts") + read("src/demo/verify.ts");
    const headings = [...demo.matchAll(/^\d {2}([A-Za-z ]{4,})/gm)].map(([, heading = ""]) => heading.trim());
    expect(headings.length).toBeGreaterThanOrEqual(5);
    for (const heading of headings) expect(said).toContain(heading);
  });

  test("npm's commands are there", () => {
    const { scripts } = JSON.parse(read("package.json")) as { scripts: Record<string, string> };
    for (const file of ["README.md", "CONTRIBUTING.md"]) {
      for (const [, name = ""] of read(file).matchAll(/npm run ([a-z:]+)/g)) expect(scripts).toHaveProperty(name);
    }
  });
});

describe("examples in documents", () => {
  const site = markdownFiles.flatMap((file) =>
    blocks(read(file), "yaml").flatMap((text, index) =>
      /^(?:site|apps):/m.test(text) ? [{ name: `${file} ${index + 1}`, text }] : [],
    ),
  );

  test("there are some", () => expect(site.length).toBeGreaterThanOrEqual(2));

  test.each(site)("$name is a good site file", async ({ text }) => {
    await using directory = await temporaryDirectory();
    await writeSecret(directory);
    // What the example says itself stands in the place of what is around it.
    const own = new Set([...text.matchAll(/^(\w+):/gm)].map(([, key]) => key));
    const lines = around.split("\n").filter((line) => !own.has(line.split(":")[0]));
    const whole = text.startsWith("site:") ? text : lines.join("\n") + text;
    const here = whole.replace("/etc/siteagent/secret", directory.join("secret"));
    const compiled = await parseSite(here, directory.join("site.yaml"), builtInRegistries, { env: {} });
    expect(Object.keys(compiled.apps).length).toBeGreaterThan(0);
  });

  test("the hub's example is one", () => {
    const config = parseHubConfig(parse(read("config/hub.example.yaml")), () => ({}));
    expect(config.store.kind).toBe("sqlite");
  });
});

const around = `site: lab-a
api: { url: https://api.example.org, client_id: sys0a41r6w75, client_secret: { file: /etc/siteagent/secret } }
hosts: { here: {} }
targets: { local: { host: here, launcher: local, cores: 16, memory: 64GiB } }
policy: { sources: ["https://data.example.org/"], destinations: ["https://results.example.org/incoming/"] }
`;

describe("paths in documents", () => {
  const ours = markdownFiles.filter((file) => /^(?:[A-Z]+\.md|docs\/|systemd\/)/.test(file));

  test.each(ours)("%s names files that there are", (file) => {
    const named = [...read(file).matchAll(/`((?:src|test|scripts|config|docs|systemd|examples|bin)\/[\w./-]+)`/g)];
    const missing = named.flatMap(([, path = ""]) => (existsSync(join(repository, path)) ? [] : [path]));
    expect(missing.filter((path) => !path.startsWith("src/transfer/ftp/"))).toEqual([]);
  });

  test("ARCHITECTURE.md has every folder of src in its table, and nothing else", () => {
    const architecture = read("ARCHITECTURE.md");
    const rows = [...architecture.matchAll(/^\| `src\/([\w.-]+)` +\|/gm)].map(([, name = ""]) => name);
    expect(rows.toSorted()).toEqual(sources());
  });
});

describe("ARCHITECTURE.md is whole", () => {
  const architecture = read("ARCHITECTURE.md");
  const code = readdirSync(join(repository, "src"), { recursive: true, encoding: "utf8" }).filter((path) =>
    path.endsWith(".ts"),
  );

  test("names every file in which something waits or turns by itself", () => {
    const elsewhere = /^(?:cli|demo|common|conformance)\//; // for people at a terminal, and the clock itself
    const turning = code.filter((path) => !elsewhere.test(path) && timer.test(read(join("src", path))));
    expect(turning.length).toBeGreaterThan(20);
    expect(turning.filter((path) => !architecture.includes(`\`src/${path}\``))).toEqual([]);
  });

  test("names every kind of record of the journal", () => {
    const kinds = [...read("src/agent/records.ts").matchAll(/^ {2}"([a-z]+\.[a-z]+)":/gm)].map(([, kind = ""]) => kind);
    expect(kinds.length).toBeGreaterThan(10);
    expect(kinds.filter((kind) => !architecture.includes(`\`${kind}\``))).toEqual([]);
  });
});

const timer = /[cC]lock\.sleep\(|\bsleepUnless\(|\bsetInterval\(|\bsetTimeout\(|= every\(/;

function sources(): readonly string[] {
  return readdirSync(join(repository, "src"), { withFileTypes: true })
    .filter((entry) => entry.isFile() || readdirSync(join(repository, "src", entry.name)).length > 0)
    .map((entry) => entry.name)
    .toSorted();
}
