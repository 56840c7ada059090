/**
 * `npm run prove`: the promises under fire. `matrix` kills agent, runner, hub and all three at every failpoint; `random` kills them at
 * random moments while jobs of many shapes run; `slurm` does so with 0.3 of the jobs on a real Slurm, where there is one, until
 * a fifth of the kills have hit the agent (the hub's come on top); `transfers` moves random trees over SFTP, by rsync and S3 while lines are cut and movers killed;
 * `simulation` plays histories of faults without processes. All five by default, those that are named otherwise. Exits 0 only if all books balance.
 */
import { readOptions } from "../lib/options.ts";
import { matrix } from "./matrix.ts";
import type { Phase, PhaseOptions } from "./phases.ts";
import { random } from "./random.ts";
import { simulation } from "./simulated.ts";
import { slurm } from "./slurm.ts";
import { transfers } from "./transfers.ts";

const phases: readonly Phase[] = [matrix, random, slurm, transfers, simulation];
const usage = `usage: npm run prove -- [${phases.map((phase) => phase.name).join("] [")}] [--jobs N] [--kills N] [--seed N] [--histories N] [--only TEXT]`;

const { values, positionals } = readOptions(usage, {
  allowPositionals: true,
  options: {
    jobs: { type: "string", default: "1000" },
    kills: { type: "string", default: "500" },
    seed: { type: "string", default: "1" },
    histories: { type: "string", default: "100000" },
    only: { type: "string" },
  },
});

function numberOf(name: "jobs" | "kills" | "seed" | "histories"): number {
  const value = Number(values[name]);
  if (Number.isSafeInteger(value) && value >= 0) return value;
  console.error(`--${name}: '${values[name]}' is no whole number\n${usage}`);
  process.exit(64);
}

const chosen = positionals.length === 0 ? phases : phases.filter((phase) => positionals.includes(phase.name));
const unknown = positionals.filter((name) => !phases.some((phase) => phase.name === name));
if (unknown.length > 0) {
  console.error(`unknown: ${unknown.join(", ")}\n${usage}`);
  process.exit(64);
}
const options: PhaseOptions = {
  jobs: numberOf("jobs"),
  kills: numberOf("kills"),
  seed: numberOf("seed"),
  histories: numberOf("histories"),
  only: values.only,
  say: (line) => console.log(`  ${line}`),
};

let failed = 0;
const table: string[] = [];
for (const phase of chosen) {
  console.log(`${phase.name} …`);
  const begun = performance.now();
  const { counts, failures } = await phase.run(options);
  const seconds = Math.round((performance.now() - begun) / 1000);
  for (const [what, count] of counts)
    table.push(`${phase.name.padEnd(12)}${what.padEnd(40)}${String(count).padStart(8)}`);
  table.push(`${phase.name.padEnd(12)}${"imbalances".padEnd(40)}${String(failures.length).padStart(8)}`);
  table.push(`${phase.name.padEnd(12)}${"seconds".padEnd(40)}${String(seconds).padStart(8)}`);
  for (const failure of failures.slice(0, 20)) console.log(failure);
  failed += failures.length;
}
console.log(table.join("\n"));
process.exitCode = failed === 0 ? 0 : 1;
