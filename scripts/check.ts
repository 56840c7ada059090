/**
 * `npm run check`: all that must hold before a commit, one line per step; the output of a step only when it fails.
 * `--static` leaves the tests out.
 */
import { join } from "node:path";
import { captureStep, repository, tool } from "./lib/run.ts";

interface Step {
  readonly name: string;
  readonly args: readonly string[];
}

const script = (name: string): string => join(repository, "scripts", name);

const staticSteps: readonly Step[] = [
  { name: "types", args: [tool("typescript/bin/tsc"), "-p", repository] },
  { name: "lint", args: [tool("oxlint/bin/oxlint"), "--type-aware"] },
  { name: "format", args: [tool("oxfmt/bin/oxfmt"), "--check"] },
  { name: "generated files", args: [script("generate.ts"), "--check"] },
];
const unitTests: Step = { name: "unit tests", args: [script("test.ts"), "--project", "unit"] };

let failed = 0;
for (const { name, args } of process.argv.includes("--static") ? staticSteps : [...staticSteps, unitTests]) {
  const startedAt = performance.now();
  const { code, output } = await captureStep(process.execPath, args);
  const seconds = ((performance.now() - startedAt) / 1000).toFixed(1);
  process.stdout.write(`${code === 0 ? "ok    " : "FAILED"} ${name.padEnd(16)} ${seconds.padStart(6)} s\n`);
  if (code === 0) continue;
  failed++;
  process.stdout.write(`${output.trimEnd()}\n`);
}
process.exitCode = Number(failed > 0);
