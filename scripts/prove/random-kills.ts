/**
 * Kills agent, runner and hub with SIGKILL at random moments while jobs run, then balances the books.
 * `npm run prove -- --jobs 1000 --kills 500 --seed 7`. Exits 0 only if nothing was lost and nothing ran twice.
 */
import { parseArgs } from "node:util";
import { TestSite, traced } from "../../test/helpers/site.ts";

const { values } = parseArgs({
  options: {
    jobs: { type: "string", default: "200" },
    kills: { type: "string", default: "100" },
    seed: { type: "string", default: "1" },
  },
});
const [jobs, kills, seed] = [Number(values.jobs), Number(values.kills), Number(values.seed)];

/** Mulberry32: the same seed gives the same sequence of victims and pauses. */
function randomFrom(start: number): () => number {
  let state = start;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296;
  };
}

const random = randomFrom(seed);
const counts = { agent: 0, runner: 0, hub: 0 };

async function killSomething(site: TestSite): Promise<void> {
  const draw = random();
  if (draw < 0.6) {
    await site.killAgent();
    await site.startAgent({ wait: false });
    counts.agent++;
  } else if (draw < 0.8) {
    await site.killHub();
    await site.restartHub();
    counts.hub++;
  } else if (site.tryKillRunner()) counts.runner++;
}

const apps = {
  quick: { command: traced("echo ok > result.txt"), outputs: { result: { from: "result.txt" } } },
  slow: { command: traced("sleep 1; echo ok > result.txt"), outputs: { result: { from: "result.txt" } } },
  flaky: { command: traced('[ "$SITEAGENT_ATTEMPT" -ge 2 ] || exit 9'), retry: { attempts: 3, on: ["exit:9"] } },
  timed: { command: traced("sleep 30"), resources: { walltime: "1s" }, success: { on_timeout: true } },
};

const begun = performance.now();
await using site = await TestSite.start({ apps, slots: 8 });
await site.startAgent();
const names = Object.keys(apps);
const ids: string[] = [];
const made = await site.client.bulk(
  Array.from({ length: jobs }, (_, n) => ({ workflow: names[n % names.length] ?? "quick" })),
);
for (const result of made) if ("job" in result) ids.push(result.job.id);
console.log(`${ids.length} jobs made, seed ${seed}`);
while (counts.agent + counts.runner + counts.hub < kills) {
  await new Promise((resolve) => {
    setTimeout(resolve, 100 + random() * 1_500);
  });
  await killSomething(site);
}
console.log(`killed: agent ${counts.agent}, hub ${counts.hub}, runner ${counts.runner}`);
for (const id of ids) await site.ended(id, 300_000);
const wrong = [...(await site.imbalances(ids))];
for (const id of ids) {
  const { status } = await site.view(id);
  if (status !== "FINISHED")
    wrong.push(`job ${id} ended as ${status}: ${JSON.stringify((await site.client.job(id)).failure)}`);
}
const starts = await site.starts();
console.log(`attempts started: ${starts.size}, none twice: ${[...starts.values()].every((count) => count === 1)}`);
console.log(
  `${ids.length} jobs ended, ${wrong.length} imbalances, ${Math.round((performance.now() - begun) / 1000)} s`,
);
for (const line of wrong.slice(0, 20)) console.log(`  ${line}`);
process.exitCode = wrong.length === 0 ? 0 : 1;
