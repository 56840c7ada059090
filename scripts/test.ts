/**
 * `npm test`: looks for the engines, runs vitest (other arguments are passed on: `npm test -- --project unit`, a file
 * name…) and ends with what did not run and one line of numbers. Installs Debian packages only under `CI=true` (those
 * that TEST_REQUIRE names) or with `--install` (all); TEST_REQUIRE=postgres,pty makes a missing engine a failure.
 */
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type EngineName, engineNames, engines, probeEngines } from "../test/helpers/engines/registry.ts";
import { refreshBuild } from "./build/build.ts";
import { repository, runStep, tool } from "./lib/run.ts";
import { readRequest, type TestRequest } from "./testing/arguments.ts";
import { installEngines } from "./testing/install.ts";
import { describeMissing, formatSummary, summarize, type VitestReport } from "./testing/summary.ts";

async function main(): Promise<number> {
  const request = readRequest(process.argv.slice(2), process.env);
  let probes = await probeEngines();
  const wanted = toInstall(
    request,
    engineNames.filter((name) => !probes[name].ok),
  );
  if (wanted.length > 0) {
    await installEngines(wanted);
    probes = await probeEngines();
  }
  const missing = request.required.filter((name) => !probes[name].ok);
  if (missing.length > 0) {
    const reasons = missing.map((name) => `  ${name}: ${describeMissing(name, probes)}`);
    process.stderr.write(`npm test: TEST_REQUIRE names what is not available here:\n${reasons.join("\n")}\n`);
    return 1;
  }
  if (await refreshBuild()) process.stderr.write("npm test: dist was older than src and is built again\n");
  const { exitCode, report } = await runVitest(request, { SITEAGENT_TEST_ENGINES: JSON.stringify(probes) });
  const summary = summarize(report, { exitCode, filtered: request.filtered, root: repository });
  process.stdout.write(formatSummary(summary, probes));
  return exitCode !== 0 ? exitCode : Number(summary.failed > 0);
}

function toInstall(request: TestRequest, missing: readonly EngineName[]): readonly EngineName[] {
  if (request.install) return missing.filter((name) => engines[name].debianPackages.length > 0);
  return request.ci ? missing.filter((name) => request.required.includes(name)) : [];
}

async function runVitest(
  request: TestRequest,
  extra: NodeJS.ProcessEnv,
): Promise<{ exitCode: number; report: VitestReport | undefined }> {
  const directory = await mkdtemp(join(tmpdir(), "sa-report-"));
  try {
    const file = join(directory, "report.json");
    const reporters = ["--reporter=default", "--reporter=json", `--outputFile.json=${file}`];
    const colours = process.stdout.isTTY ? [] : ["--no-color"];
    const args = [tool("vitest/vitest.mjs"), "run", ...colours, ...reporters, ...request.vitestArguments];
    const exitCode = await runStep(process.execPath, args, { env: { ...process.env, ...extra } });
    return { exitCode, report: await readReport(file) };
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}

/** Undefined when vitest died before it could write one. */
async function readReport(file: string): Promise<VitestReport | undefined> {
  try {
    return JSON.parse(await readFile(file, "utf8")) as VitestReport;
  } catch {
    return undefined;
  }
}

try {
  process.exitCode = await main();
} catch (error) {
  process.stderr.write(`npm test: ${error instanceof Error ? error.message : String(error)}\n`);
  process.exitCode = 1;
}
