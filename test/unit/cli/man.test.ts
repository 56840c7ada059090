import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { files } from "../../../scripts/generate/man.ts";
import { bold, roffProse, roffText } from "../../../scripts/lib/roff.ts";
import { allCommands } from "../../../src/cli/declare/all.ts";
import { globalOptions } from "../../../src/cli/declare/common.ts";
import type { CommandSpec } from "../../../src/cli/spec.ts";
import { repository } from "../../helpers/cli.ts";

const pages = new Map((await files()).map(({ path, content }) => [path.replace(/^docs\/man\//, ""), content]));

function named(specs: readonly CommandSpec[], path: string): readonly (readonly [string, CommandSpec])[] {
  return specs
    .filter((spec) => !spec.hidden)
    .flatMap((spec) => [
      [`${path}-${spec.name}`, spec] as const,
      ...named(spec.subcommands ?? [], `${path}-${spec.name}`),
    ]);
}
const commands = named(allCommands, "siteagent");

describe("manual pages", () => {
  test("are there for the program and every command, and packages know them", () => {
    const expected = ["siteagent", ...commands.map(([name]) => name)].map((name) => `${name}.1`).toSorted();
    expect([...pages.keys()].toSorted()).toEqual(expected);
    const manifest = JSON.parse(readFileSync(join(repository, "package.json"), "utf8")) as { man: string[] };
    expect(manifest.man.toSorted()).toEqual(expected.map((name) => `docs/man/${name}`));
  });

  test.each(commands)("%s.1 has its sections, options and examples", (name, spec) => {
    const page = pages.get(`${name}.1`) ?? "";
    const lines = page.split("\n");
    expect(lines[1]).toBe(
      `.TH ${roffText(name.toUpperCase())} 1 "" ${/"siteagent [^"]+" "siteagent manual"/.exec(page)?.[0] ?? "?"}`,
    );
    const sections = lines.filter((line) => line.startsWith(".SH ")).map((line) => line.slice(4));
    expect(sections.slice(0, 3)).toEqual(["NAME", "SYNOPSIS", "DESCRIPTION"]);
    expect(sections).toContain("EXAMPLES");
    expect(lines[lines.indexOf(".SH NAME") + 1]).toBe(roffText(`${name} - ${spec.summary}`));
    const options = [...(spec.options ?? []), ...globalOptions.filter(({ flags }) => !flags.includes("--version"))];
    for (const flag of options.flatMap(({ flags }) => flags.match(/--[a-z-]+/g) ?? [])) {
      const terms = lines.filter((_, at) => lines[at - 1] === ".TP");
      expect(terms.filter((term) => term.includes(bold(flag)))).toHaveLength(1);
    }
    for (const { command } of spec.examples) expect(lines).toContain(roffText(command));
  });

  test.each([...pages])("%s has only known requests and plain ASCII", (_, page) => {
    const requests = page.split("\n").flatMap((line) => /^[.']\S*/.exec(line)?.[0] ?? []);
    const known = ['.\\"', ".TH", ".SH", ".SS", ".TP", ".PP", ".RS", ".RE", ".nf", ".fi"];
    expect(requests.filter((request) => !known.includes(request))).toEqual([]);
    expect(page).toMatch(/^[\n\x20-\x7e]*$/);
    const escapes = page.replace(/^\.\\".*$/m, "").match(/\\(?:f.|\(..|\[[^\]]*\]|.)/g) ?? [];
    expect(
      escapes.filter((escape) => !/^\\(?:[-e&]|f[BIP]|\((?:aq|ga|ha|ti|dq)|\[u[0-9A-F]{4,6}\])$/.test(escape)),
    ).toEqual([]);
    const switches = escapes.filter((escape) => escape.startsWith("\\f"));
    expect(switches.filter((escape) => escape === "\\fP")).toHaveLength(switches.length / 2);
  });

  test("escape what roff would read as its own", () => {
    expect(roffText(".SH it's \\ a-b ~^\"")).toBe("\\&.SH it\\(aqs \\e a\\-b \\(ti\\(ha\\(dq");
    expect(roffText("two\nlines …")).toBe("two lines \\[u2026]");
    expect(roffProse("say `-x` now")).toBe("say \\fB\\-x\\fP now");
    expect(roffProse("'quoted'")).toBe("\\(aqquoted\\(aq");
  });
});
