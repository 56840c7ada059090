/**
 * Plays out histories of the real agent and journal in a simulated world (test/simulation): virtual time, a disk that loses power, a
 * bad network, kills everywhere. `node scripts/prove/simulation.ts --seed 1 --histories 100000`; history n has the seed `--seed` + n.
 * `--replay SEED` plays one again and prints what happened in it. Exits 0 only if every promise held in each of them.
 */
import { spawn } from "node:child_process";
import { availableParallelism } from "node:os";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { runHistory } from "../../test/simulation/history.ts";

export interface SimulationFailure {
  readonly seed: number;
  readonly violations: readonly string[];
  /** The command that plays it again. */
  readonly replay: string;
}

export interface SimulationResult {
  readonly histories: number;
  readonly kills: number;
  readonly jobs: number;
  readonly failures: readonly SimulationFailure[];
}

export interface SimulationOptions {
  /** Of the first history. */
  readonly seed: number;
  readonly histories: number;
  /** Told of progress and of each failure, in lines. */
  readonly say: (line: string) => void;
}

/** What a process of histories writes: one line of JSON for so many, and one for each that failed. */
interface Told {
  readonly histories: number;
  readonly kills: number;
  readonly jobs: number;
  readonly failure?: { readonly seed: number; readonly violations: readonly string[] };
}

const script = fileURLToPath(import.meta.url);
/** A process plays so many at most: a fresh one has a small heap again. */
const historiesPerProcess = 5_000;
const historiesPerLine = 500;
/** All that a history makes is garbage at its end: in a large young generation that costs a tenth less. */
const youngGeneration = "--min-semi-space-size=16";

/** Plays the histories in as many processes as there are cores. */
export async function simulate(options: SimulationOptions): Promise<SimulationResult> {
  const { seed, histories, say } = options;
  const total = { histories: 0, kills: 0, jobs: 0 };
  const failures: SimulationFailure[] = [];
  const tell = (told: Told): void => {
    const before = Math.floor(total.histories / 10_000);
    total.histories += told.histories;
    total.kills += told.kills;
    total.jobs += told.jobs;
    if (Math.floor(total.histories / 10_000) > before) say(`${total.histories} histories, ${total.kills} kills`);
    if (!told.failure) return;
    const replay = `node scripts/prove/simulation.ts --replay ${told.failure.seed}`;
    failures.push({ ...told.failure, replay });
    say(`history ${told.failure.seed}: ${told.failure.violations.join("; ")}\n  ${replay}`);
  };
  const lanes = Math.max(1, availableParallelism());
  const share = Math.max(1, Math.min(historiesPerProcess, Math.ceil(histories / lanes)));
  let next = 0;
  const lane = async (): Promise<void> => {
    while (next < histories) {
      const from = next;
      next = Math.min(histories, next + share);
      await playElsewhere(seed + from, next - from, tell);
    }
  };
  await Promise.all(Array.from({ length: lanes }, lane));
  return { ...total, failures: failures.toSorted((a, b) => a.seed - b.seed) };
}

async function playElsewhere(seed: number, histories: number, tell: (told: Told) => void): Promise<void> {
  const args = [youngGeneration, script, "--play", "--seed", String(seed), "--histories", String(histories)];
  const child = spawn(process.execPath, args, { stdio: ["ignore", "pipe", "inherit"] });
  const ended = new Promise<string>((resolve, reject) => {
    child.once("error", reject);
    child.once("close", (code, signal) => resolve(code === 0 ? "" : (signal ?? `code ${code}`)));
  });
  let told = 0;
  for await (const line of createInterface({ input: child.stdout })) {
    const one = JSON.parse(line) as Told;
    told += one.histories;
    tell(one);
  }
  const problem = await ended;
  if (problem !== "" || told !== histories) {
    const violations = [`the process of histories ${seed} to ${seed + histories - 1} ended early: ${problem || told}`];
    tell({ histories: 0, kills: 0, jobs: 0, failure: { seed: seed + told, violations } });
  }
}

/** In a process of its own: plays and writes what `simulate` reads. */
async function play(seed: number, histories: number): Promise<void> {
  // Aborted signals carry errors that nobody reads; their stacks would cost more than the histories.
  Error.stackTraceLimit = 0;
  const sum = { histories: 0, kills: 0, jobs: 0 };
  const write = (told: Told): void => void process.stdout.write(`${JSON.stringify(told)}\n`);
  for (let n = 0; n < histories; n++) {
    const { violations, kills, jobs } = await runHistory(seed + n);
    sum.histories++;
    sum.kills += kills;
    sum.jobs += jobs;
    if (violations.length > 0) write({ histories: 0, kills: 0, jobs: 0, failure: { seed: seed + n, violations } });
    if (sum.histories < historiesPerLine && n < histories - 1) continue;
    write(sum);
    sum.histories = sum.kills = sum.jobs = 0;
  }
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      seed: { type: "string", default: "1" },
      histories: { type: "string", default: "1000" },
      replay: { type: "string" },
      play: { type: "boolean", default: false },
    },
  });
  const [seed, histories] = [Number(values.seed), Number(values.histories)];
  if (values.play) {
    await play(seed, histories);
  } else if (values.replay === undefined) {
    const begun = performance.now();
    const result = await simulate({ seed, histories, say: (line) => console.log(line) });
    const seconds = ((performance.now() - begun) / 1000).toFixed(1);
    console.log(`${result.histories} histories with ${result.jobs} jobs and ${result.kills} kills in ${seconds} s`);
    console.log(`${result.failures.length} failed`);
    process.exitCode = result.failures.length === 0 ? 0 : 1;
  } else {
    const { trace, violations } = await runHistory(Number(values.replay), { traced: true });
    console.log(trace.join("\n"));
    process.exitCode = violations.length === 0 ? 0 : 1;
  }
}

if (process.argv[1] === script) await main();
