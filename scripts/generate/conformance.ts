/** docs/conformance.md: which promises each adapter keeps. */
import { hostSuite } from "../../src/conformance/host/index.ts";
import { launcherSuite } from "../../src/conformance/launcher/index.ts";
import { schedulerSuite } from "../../src/conformance/scheduler/index.ts";
import { applies, type Case, lackOf, type Suite } from "../../src/conformance/suite.ts";
import { transferSuite } from "../../src/conformance/transfer/index.ts";
import { adapters, type TriedAdapter } from "../../test/conformance/adapters.ts";
import type { GeneratedFile } from "../lib/generated.ts";
import { code, header, table } from "../lib/markdown.ts";

type Tried = readonly (readonly [string, TriedAdapter])[];

export async function files(): Promise<readonly GeneratedFile[]> {
  const sections = [
    ...section("Schedulers", schedulerSuite, adapters.scheduler),
    ...section("Launchers", launcherSuite, adapters.launcher),
    ...section("Hosts", hostSuite, adapters.host),
    ...section("Transfers", transferSuite, adapters.transfer),
  ];
  return [{ path: "docs/conformance.md", content: [...introduction(), ...sections, ""].join("\n") }];
}

function introduction(): readonly string[] {
  return [
    header(
      "What each adapter was tried for",
      "the suites in src/conformance and the list test/conformance/adapters.ts",
    ),
    "Each row is a promise of a contract, a case of the suite that all adapters of its kind have in common. `pass`: the test file below the",
    "adapter's name runs that case on it and fails if it does not pass. `no …`: the case is not for it, because it lacks that ability; the same",
    "test fails if the adapter, asked for its abilities, says anything else. Tests that need an engine run where it is installed; `.ci/run`",
    "requires those of Slurm, and of Grid Engine where the machine can start it. A site's own adapter is tried by `siteagent conformance`",
    "([adding an adapter](adding-an-adapter.md)).",
  ];
}

function section<Harness extends AsyncDisposable>(
  title: string,
  suite: Suite<Harness>,
  list: Readonly<Record<string, TriedAdapter>>,
): readonly string[] {
  const tried = Object.entries(list);
  const rows = Object.entries(suite.groups).flatMap(([group, cases]) =>
    cases.map((one) => [`${group}: ${one.name}`, ...tried.map(([, { lacks }]) => cell(one, lacks))]),
  );
  const abilities = Object.entries(suite.abilities).map(([name, meaning]) => `- ${code(name)}: ${meaning}`);
  return [
    "",
    `## ${title}`,
    "",
    table(["adapter", "tried on", "engine", "test"], tried.map(adapterRow)),
    ...(abilities.length > 0 ? ["", "Abilities that not every one has:", "", ...abilities] : []),
    "",
    table(["case", ...tried.map(([name]) => name)], rows),
  ];
}

function adapterRow([name, { on, engine, file }]: Tried[number]): readonly string[] {
  return [name, on, engine === undefined ? "none" : code(engine), `[${file}](../test/${file})`];
}

function cell(one: Case<never>, lacks: readonly string[]): string {
  if (applies(one, lacks)) return "pass";
  const lack = lackOf(one, lacks);
  return lack === undefined ? `has ${code(one.without ?? "")}` : `no ${code(lack)}`;
}
