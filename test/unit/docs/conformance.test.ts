import { readdirSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { hostSuite } from "../../../src/conformance/host/index.ts";
import { launcherSuite } from "../../../src/conformance/launcher/index.ts";
import { schedulerSuite } from "../../../src/conformance/scheduler/index.ts";
import type { Case } from "../../../src/conformance/suite.ts";
import { transferSuite } from "../../../src/conformance/transfer/index.ts";
import { builtInTransfers } from "../../../src/transfer/built-in.ts";
import { adapters } from "../../conformance/adapters.ts";
import { repository } from "../../helpers/cli.ts";
import { read } from "./markdown.ts";

const suites = [schedulerSuite, launcherSuite, hostSuite, transferSuite] as const;

/** The folders with an `index.ts` below one of src: the adapters that are built in. */
function builtIn(folder: string): readonly string[] {
  const entries = readdirSync(join(repository, "src", folder), { recursive: true, encoding: "utf8" });
  return entries.flatMap((path) => /^([\w-]+)\/index\.ts$/.exec(path)?.[1] ?? []).toSorted();
}

describe("docs/conformance.md", () => {
  test("names each test file that runs a suite, and no other", () => {
    const listed = Object.entries(adapters).flatMap(([type, tried]) =>
      Object.entries(tried).map(([name, { file }]) => `test/${file}: ${type} "${name}"`),
    );
    const files = readdirSync(join(repository, "test"), { recursive: true, encoding: "utf8" });
    const calls = files.flatMap((path) => {
      if (!path.endsWith(".test.ts")) return [];
      const file = join("test", path);
      const found = read(file).matchAll(/\bdescribe(Scheduler|Launcher|Host|Transfer)\(\s*("[^"]+")/g);
      return [...found].map(([, type = "", name = ""]) => `${file}: ${type.toLowerCase()} ${name}`);
    });
    expect(calls.toSorted()).toEqual(listed.toSorted());
  });

  test.each([
    ["scheduler", builtIn("schedulers")],
    ["launcher", builtIn("launchers")],
    ["host", builtIn("hosts")],
    ["transfer", Object.keys(builtInTransfers)],
  ] as const)("every %s that is built in passes the suite", (type, kinds) => {
    expect(kinds.length).toBeGreaterThan(1);
    expect(Object.keys(adapters[type])).toEqual(expect.arrayContaining([...kinds]));
  });

  test.each(suites)("cases of the suite for a $type have names of their own and abilities that there are", (suite) => {
    const groups: Readonly<Record<string, readonly Case<never>[]>> = suite.groups;
    const names = Object.entries(groups).flatMap(([group, cases]) => cases.map(({ name }) => `${group}: ${name}`));
    expect(names.filter((name, at) => names.indexOf(name) !== at)).toEqual([]);
    const used = Object.values(groups)
      .flat()
      .flatMap(({ needs = [], without = [] }) => [needs, without].flat());
    const tried = Object.values<{ readonly lacks: readonly string[] }>(adapters[suite.type]);
    const words = [...used, ...tried.flatMap(({ lacks }) => lacks)];
    expect(words.filter((word) => !Object.hasOwn(suite.abilities, word))).toEqual([]);
  });
});
