/**
 * `npm run bench -- [NAME…] [--quick] [--save]`: runs the benchmarks bench/NAME.ts one after the other, prints their figures with the
 * machine and the versions, and with `--save` replaces their sections in bench/RESULTS.md. Exits 1 when a goal was missed.
 */
import { readdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { table } from "../scripts/lib/markdown.ts";
import { readOptions } from "../scripts/lib/options.ts";
import { captureStep, repository, tool } from "../scripts/lib/run.ts";
import { type Bench, type Figure, median, quantile } from "./lib/bench.ts";
import { machine } from "./lib/machine.ts";
import { withSection } from "./lib/results.ts";

const directory = join(repository, "bench");
const all = (await readdir(directory))
  .filter((name) => name.endsWith(".ts") && name !== "run.ts")
  .map((name) => name.replace(/\.ts$/, ""))
  .toSorted();
const usage = `usage: npm run bench -- [NAME…] [--quick] [--save]; there are ${all.join(", ")}`;
const { values: flags, positionals } = readOptions(usage, {
  allowPositionals: true,
  options: { quick: { type: "boolean", default: false }, save: { type: "boolean", default: false } },
});
const unknown = positionals.filter((name) => !all.includes(name));
if (unknown.length > 0) {
  process.stderr.write(`no benchmark '${unknown.join("', '")}'\n${usage}\n`);
  process.exit(64);
}

let missed = 0;
for (const name of positionals.length > 0 ? positionals : all) {
  const { bench } = (await import(pathToFileURL(join(directory, `${name}.ts`)).href)) as { readonly bench: Bench };
  process.stdout.write(`\n${name}: ${bench.about}\n`);
  const startedAt = performance.now();
  const figures = await bench.run({
    quick: flags.quick,
    say: (line) => process.stdout.write(`  ${line}\n`),
  });
  if (figures.length === 0) continue;
  const seconds = Math.round((performance.now() - startedAt) / 1000);
  missed += figures.filter(({ goal }) => goal?.held === false).length;
  const text = section(name, bench, figures, seconds);
  process.stdout.write(`${text}\n`);
  if (flags.save) await save(name, text);
}
if (missed > 0) process.stdout.write(`\n${missed} goals missed\n`);
process.exitCode = Number(missed > 0);

function section(name: string, bench: Bench, figures: readonly Figure[], seconds: number): string {
  const command = `npm run bench -- ${name}${flags.quick ? " --quick" : ""}`;
  const rows = figures.map((figure) => [
    figure.what,
    ...spread(figure.values),
    figure.beside === undefined ? "" : `${figure.beside.what}: ${spread(figure.beside.values).slice(0, 3).join(" / ")}`,
    figure.beside === undefined ? "" : number(median(figure.values) / median(figure.beside.values)),
    figure.goal === undefined ? "" : `${figure.goal.text}: ${figure.goal.held ? "held" : "**missed**"}`,
  ]);
  return [
    `## ${name}`,
    "",
    bench.about,
    "",
    table(
      ["measured", "median", "least", "greatest", "p99", "n", "beside (median / least / greatest)", "ratio", "goal"],
      rows,
    ),
    "",
    `\`${command}\`, ${seconds} s, ${machine()}.`,
  ].join("\n");
}

function spread(values: readonly number[]): string[] {
  return [median(values), Math.min(...values), Math.max(...values), quantile(values, 0.99)]
    .map(number)
    .concat(String(values.length));
}

/** Three digits that count. */
function number(value: number): string {
  return Math.abs(value) >= 100 ? value.toFixed(0) : String(Number(value.toPrecision(3)));
}

async function save(name: string, text: string): Promise<void> {
  const path = join(directory, "RESULTS.md");
  await writeFile(path, withSection(await readFile(path, "utf8"), name, text));
  await captureStep(process.execPath, [tool("oxfmt/bin/oxfmt"), path]);
}
