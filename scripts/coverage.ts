/**
 * `npm run coverage`: runs the tests (arguments as for `npm test`) and reports which branches of src they took, with all
 * processes counted: vitest's workers and every Node process and worker thread below them. A process that dies of a signal
 * (SIGKILL in the kill tests) writes nothing; what only such processes did counts as not taken. Ends with 1 when a test
 * failed or an area is below its goal.
 */
import { existsSync } from "node:fs";
import { chmod, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { Counts } from "./coverage/counts.ts";
import { formatAreas, measure, summarize } from "./coverage/report.ts";
import { repository, runStep } from "./lib/run.ts";

/** How often the counts of ended processes are added up, and how long daemons that leave with the last test may take to write theirs. */
const gatherEveryMs = 1_000;
const lastWritesMs = 5_000;

async function main(args: readonly string[]): Promise<number> {
  if (existsSync(join(repository, "dist"))) {
    process.stderr.write(
      "npm run coverage: 'dist' is there and bin/siteagent would run it uncounted; remove it first\n",
    );
    return 1;
  }
  const directory = await mkdtemp(join(tmpdir(), "sa-coverage-"));
  await chmod(directory, 0o1777); // tests run programs as other accounts, too
  try {
    const counts = new Counts(directory, join(repository, "src"));
    const tests = runStep(process.execPath, [join(repository, "scripts", "test.ts"), ...args], {
      env: { ...process.env, NODE_V8_COVERAGE: directory },
    });
    const exitCode = await gatherUntil(tests, counts);
    const summary = summarize(await measure(repository, counts));
    process.stdout.write(`\n${formatAreas(summary)}${counts.reports} reports of processes and threads\n`);
    return exitCode === 0 && summary.every((area) => area.enough) ? 0 : 1;
  } finally {
    await rm(directory, { recursive: true, force: true, maxRetries: 5, retryDelay: 200 });
  }
}

async function gatherUntil(tests: Promise<number>, counts: Counts): Promise<number> {
  const ended = tests.then((exitCode) => ({ exitCode }));
  for (;;) {
    const result = await Promise.race([ended, sleep(gatherEveryMs, undefined)]);
    if (result !== undefined) await sleep(lastWritesMs);
    await counts.gather();
    if (result !== undefined) return result.exitCode;
  }
}

process.exitCode = await main(process.argv.slice(2));
