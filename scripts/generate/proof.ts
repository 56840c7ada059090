/** docs/proof.md: what can go wrong, what must happen then, and the tests that prove it. */
import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { areas, type FaultToProve, faultList } from "../../test/fault-list.ts";
import type { GeneratedFile } from "../lib/generated.ts";
import { header, table } from "../lib/markdown.ts";
import { provenIn } from "../lib/proof.ts";
import { repository } from "../lib/run.ts";

export async function files(): Promise<readonly GeneratedFile[]> {
  return [{ path: "docs/proof.md", content: page(await testFiles()) }];
}

/** Path to content of all test files, and of the contract suites that they run. */
async function testFiles(): Promise<ReadonlyMap<string, string>> {
  const tests = (await readdir(join(repository, "test"), { recursive: true })).filter((name) =>
    name.endsWith(".test.ts"),
  );
  const suites = (await readdir(join(repository, suitesFolder), { recursive: true })).filter((name) =>
    name.endsWith(".ts"),
  );
  const paths = [...suites.map((name) => `${suitesFolder}/${name}`), ...tests.map((name) => `test/${name}`)].toSorted();
  return new Map(
    await Promise.all(paths.map(async (path) => [path, await readFile(join(repository, path), "utf8")] as const)),
  );
}

const suitesFolder = "src/conformance";

function page(tests: ReadonlyMap<string, string>): string {
  const proofs = new Map<string, string[]>();
  for (const [path, text] of tests) {
    for (const id of provenIn(path, text, faultList)) proofs.set(id, [...(proofs.get(id) ?? []), path]);
  }
  const proven = faultList.filter(({ id }) => proofs.has(id)).length;
  const impossible = faultList.filter(({ id, cannotOccur }) => cannotOccur !== undefined && !proofs.has(id)).length;
  const sections = Object.entries(areas).flatMap(([letters, title]) => [
    "",
    `## ${title}`,
    "",
    table(
      ["no.", "fault", "what must happen", "proven in"],
      faultList
        .filter(({ id }) => id.replace(/\d+a?$/, "") === letters)
        .map((entry) => [entry.id, entry.fault, entry.expected, proof(entry, proofs.get(entry.id))]),
    ),
  ]);
  return [
    header("What can go wrong, and the proof", "test/fault-list.ts and the titles of the tests"),
    "A test proves a fault when its title begins with the fault's number. `npm test -- -t 'A6:'` runs those of one fault.",
    `${faultList.length} faults: ${proven} proven, ${impossible} that cannot occur here, ${faultList.length - proven - impossible} open.`,
    ...sections,
    "",
  ].join("\n");
}

function proof(entry: FaultToProve, paths: readonly string[] | undefined): string {
  const links = (paths ?? []).map((path) => `[${path.replace(/^(?:test|src)\/|\.test\.ts$/g, "")}](../${path})`);
  if (links.length > 0) return links.join(", ");
  return entry.cannotOccur === undefined ? "**open**" : `cannot occur: ${entry.cannotOccur}`;
}
