import { setTimeout as delay } from "node:timers/promises";
import type { FailpointName } from "../../src/common/failpoints.ts";
import type { LocalJob } from "../../src/wire/control-api.ts";
import { TestSite } from "../../test/helpers/site.ts";
import { waitFor } from "../../test/helpers/wait.ts";
import { Control } from "../../test/integration/agent/control.ts";
import type { PhaseOptions, Phase, PhaseResult } from "./phases.ts";
import { prepare, randomApps, type Shape, shapes } from "./shapes.ts";

type Victim = "agent" | "runner" | "hub";

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

/** Kills agent, runner and hub at random moments while jobs of many shapes run and some are cancelled, then balances the books. */
export const random: Phase = {
  name: "random",
  async run(options): Promise<PhaseResult> {
    return await playOn(await TestSite.start({ apps: randomApps, slots: 8, armable: true }), shapes, options);
  },
};

/** Plays on a site that has `randomApps`; it is removed when its books balance and kept otherwise. */
export async function playOn(
  site: TestSite,
  cast: readonly Shape[],
  options: PhaseOptions,
  alsoWrong: () => Promise<readonly string[]> = async () => [],
): Promise<PhaseResult> {
  let failures: readonly string[] = ["the run was not finished"];
  try {
    await prepare(site);
    const { counts, failures: found } = await play(site, cast, options);
    failures = [...found, ...(await alsoWrong())];
    return { counts, failures };
  } finally {
    if (failures.length === 0) await site[Symbol.asyncDispose]();
    else {
      await site.stopAll();
      options.say(`seed ${options.seed}; everything is kept in ${site.root}`);
    }
  }
}

interface Made {
  readonly id: string;
  readonly shape: Shape;
}

async function play(
  site: TestSite,
  cast: readonly Shape[],
  { jobs, kills, agentKills = 0, seed, say }: PhaseOptions,
): Promise<PhaseResult> {
  const draw = randomFrom(seed);
  await site.startAgent();
  // One of each, and nobody is killed: what the processes hold afterwards is the measure of what they may hold at the end.
  const first = await makeJobs(site, cast, cast.length);
  await untilAllEnded(site, first);
  const unbalanced = await site.imbalances(first.map(({ id }) => id));
  if (unbalanced.length > 0) throw new Error(`already before the first kill: ${unbalanced.join("\n")}`);
  const made = [...first, ...(await makeJobs(site, cast, jobs))];
  const killed: Record<Victim, number> = { agent: 0, runner: 0, hub: 0 };
  const total = (): number => killed.agent + killed.runner + killed.hub;
  const toCancel = made.slice(first.length).filter(({ shape }) => shape.cancelled === true);
  let resumed = 0;
  let told = 0;
  while (total() < kills || killed.agent < agentKills) {
    await delay(50 + draw() * 900);
    if (draw() < 0.04) killed.agent += await killTwiceInOneStep(site, pointsOfSteps[Math.floor(draw() * 4)]);
    else {
      const victim = await killSomeone(site, draw());
      if (victim) killed[victim]++;
    }
    if (draw() < 0.5) await cancelOne(site, toCancel);
    resumed += await resumeQuarantined(site);
    if (Math.floor(total() / 100) > told) say(`${total()} of ${kills} killed`);
    told = Math.floor(total() / 100);
  }
  while (toCancel.length > 0) await cancelOne(site, toCancel);
  if (site.agent?.running !== true) await site.startAgent({ wait: false });
  say("no more kills; the rest of the jobs is awaited");
  resumed += await untilAllEnded(site, made);
  const failures = [...(await site.imbalances(made.map(({ id }) => id)))];
  for (const { id, shape } of made) {
    const job = await site.client.job(id);
    if (!shape.ends.includes(job.status))
      failures.push(`job ${id} (${shape.app}) ended as ${job.status}: ${JSON.stringify(job.failure)}`);
  }
  const starts = await site.starts();
  return {
    counts: [
      ["jobs accepted", made.length],
      ["attempts started", starts.size],
      ["attempts started twice", [...starts.values()].filter((count) => count > 1).length],
      ["quarantined jobs resumed", resumed],
      ...Object.entries(killed).map(([victim, count]) => [`killed: ${victim}`, count] as const),
    ],
    failures,
  };
}

async function makeJobs(site: TestSite, cast: readonly Shape[], count: number): Promise<readonly Made[]> {
  const wanted = Array.from({ length: count }, (_, n) => cast[n % cast.length] as Shape);
  const url = `file://${site.root}/inputs/a.txt`;
  const made: Made[] = [];
  for (let from = 0; from < count; from += 500) {
    const some = wanted.slice(from, from + 500);
    const results = await site.client.bulk(
      some.map(({ app }) => ({ workflow: app, config: app === "staged" ? { url } : {} })),
    );
    for (const [index, result] of results.entries()) {
      const shape = some[index];
      if (!("job" in result) || !shape) throw new Error(`a job was not accepted: ${JSON.stringify(result)}`);
      made.push({ id: result.job.id, shape });
    }
  }
  return made;
}

async function killSomeone(site: TestSite, draw: number): Promise<Victim | undefined> {
  if (draw < 0.6) {
    await site.killAgent();
    await site.startAgent({ wait: false });
    return "agent";
  }
  if (draw < 0.8) {
    await site.killHub();
    await site.restartHub();
    return "hub";
  }
  return site.tryKillRunner() ? "runner" : undefined;
}

/** Inside of steps that count the agent's deaths. */
const pointsOfSteps: readonly FailpointName[] = [
  "hook.before-preprocess",
  "start.before-intent",
  "stage.before-record",
  "archive.before-record",
];
/** How long a job may take to come by. */
const passageMs = 20_000;

/** The agent dies, and dies again where it died before: jobs that were in that step are quarantined. Returns how often it was killed. */
async function killTwiceInOneStep(site: TestSite, point: FailpointName = "start.before-intent"): Promise<number> {
  for (let deaths = 0; deaths < 2; deaths++) {
    await site.arm(point, "kill");
    if (deaths > 0) await site.startAgent({ wait: false });
    await waitFor(() => site.reached(point), { what: point, timeoutMs: passageMs }).catch(() => site.disarm(point));
    if (!(await site.reached(point))) return deaths;
    await site.agent?.finished;
  }
  await site.startAgent({ wait: false });
  return 2;
}

/**
 * As an operator does with `siteagent resume ID`: several kills of the agent in the same step of a job hold that job back until somebody has
 * looked. Returns how many; none while the agent does not answer.
 */
async function resumeQuarantined(site: TestSite): Promise<number> {
  const control = new Control(site);
  let resumed = 0;
  try {
    const { jobs } = (await control.get("/v1/jobs")).body as { jobs: readonly LocalJob[] };
    for (const { id } of jobs.filter(({ hold }) => hold?.reason.startsWith("quarantined:") === true)) {
      const answer = await control.post(`/v1/jobs/${encodeURIComponent(id)}/resume`);
      if (answer.status === 200) resumed++;
    }
  } catch {
    // It was just killed or does not listen yet: the next call finds them.
  }
  return resumed;
}

/** Returns how many jobs had to be resumed meanwhile. Throws for those that have not ended after ten minutes without any end. */
async function untilAllEnded(site: TestSite, made: readonly Made[]): Promise<number> {
  let resumed = 0;
  let open = made.map(({ id }) => id);
  for (let quiet = 0; open.length > 0; quiet++) {
    if (quiet > 600) throw new Error(`${open.length} jobs have not ended: ${open.slice(0, 20).join(", ")}`);
    resumed += await resumeQuarantined(site);
    // No more at once than the first round asked: each call that waits is a connection that the hub holds.
    const views = await Promise.all(open.slice(0, 7).map((id) => site.client.job(id)));
    const ended = new Set(views.filter((job) => job.ended_at !== null).map((job) => job.id));
    open = open.filter((id) => !ended.has(id));
    if (ended.size > 0) quiet = 0;
    else await delay(1_000);
  }
  return resumed;
}

/** An order that is lost with the hub is given again: the client says so. */
async function cancelOne(site: TestSite, left: Made[]): Promise<void> {
  const next = left.shift();
  if (next) await site.client.cancel(next.id, "changed my mind");
}
