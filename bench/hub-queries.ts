/** The questions that agents and people ask most, put to a hub that keeps a million jobs. */
import type { Bench, BenchOptions, Figure } from "./lib/bench.ts";
import { median, quantile } from "./lib/bench.ts";
import { BenchHub, newPlace, storeKinds } from "./lib/hub.ts";
import { fillJobs, projects, workflows } from "./lib/many-jobs.ts";
import type { StoreKind } from "../src/hub/store/types.ts";

const goalMs = 20;
const startGoalMs = 5_000;
const api = "/siteagent/v1";

/** The production agent's: no claim, or all claims cancelled. */
const productionFilter = encodeURIComponent(
  JSON.stringify({
    $and: [
      { "workflow.id": { $in: workflows.slice(0, 2) } },
      { $or: [{ claims: { $size: 0 } }, { claims: { $not: { $elemMatch: { cancelled: { $ne: true } } } } }] },
    ],
  }),
);

export const bench: Bench = {
  about:
    "One hub process over 1,000,000 jobs of which 100 are open, asked through its HTTP routes, one request after the other: the production NMDC agent's filter for open jobs of two workflows; the newest 20 of a tag and status, for each of 10 tags (100,000 jobs each) and 4 statuses in turn, also those that never meet; page 5,000 of all jobs, reached by following the cursor. Beside: `GET /livez` of the same hub.",
  async run(options) {
    const figures: Figure[] = [];
    for (const kind of await storeKinds((line) => options.say(line))) figures.push(...(await measure(kind, options)));
    return figures;
  },
};

async function measure(kind: StoreKind, options: BenchOptions): Promise<Figure[]> {
  const { quick } = options;
  const count = quick ? 100_000 : 1_000_000;
  const calls = quick ? 100 : 400;
  await using place = await newPlace(kind);
  const fillMs = await timed(async () => {
    await using store = await place.open();
    await fillJobs(store, count);
  });
  options.say(`${kind}: ${count} jobs made in ${Math.round(fillMs / 1000)} s`);
  const starts: number[] = [];
  for (let i = 0; i < 3; i++) {
    starts.push(
      await timed(async () => {
        await using hub = await BenchHub.start(place);
        await hub.call("GET", "/livez");
      }),
    );
  }
  await using hub = await BenchHub.start(place);
  const admin = await hub.adminToken();
  const site = await hub.newSite(admin, "lab-bench");
  const idle = await times(calls, () => hub.call("GET", "/livez"));
  const filtered = await times(calls, () => hub.call("GET", `/jobs?filter=${productionFilter}`, site.token));
  options.say(`${kind}: filter ${describe(filtered)}`);
  const tagged = await times(calls, (i) => hub.call("GET", tagQuery(i), admin));
  options.say(`${kind}: tag and status ${describe(tagged)}`);
  const paged = await deepPages(hub, admin, quick ? 500 : 5_000, calls);
  options.say(`${kind}: deep pages ${describe(paged)}`);
  const beside = { what: "GET /livez", values: idle };
  return [
    { what: `${kind}: the production agent's filter, ms`, values: filtered, beside, goal: goal(filtered) },
    { what: `${kind}: newest 20 of a tag and status, ms`, values: tagged, beside, goal: goal(tagged) },
    { what: `${kind}: page 5,000 by cursor, ms`, values: paged, beside, goal: goal(paged) },
    {
      what: `${kind}: start of the hub until it answers, ms`,
      values: starts,
      goal: { text: `≤ ${startGoalMs} ms`, held: Math.max(...starts) <= startGoalMs },
    },
  ];
}

function goal(values: readonly number[]): { text: string; held: boolean } {
  return { text: `p50 and p99 ≤ ${goalMs} ms`, held: quantile(values, 0.99) <= goalMs };
}

const statuses = ["FINISHED", "FAILED", "CANCELLED", "PENDING"] as const;

function tagQuery(i: number): string {
  const status = statuses[i % statuses.length] ?? "PENDING";
  return `${api}/jobs?tag=project%3Dp${Math.floor(i / statuses.length) % projects}&status=${status}&limit=20`;
}

/** Follows the cursor to this page; the times of the last `calls` pages. */
async function deepPages(hub: BenchHub, token: string, page: number, calls: number): Promise<number[]> {
  let cursor = "";
  const took: number[] = [];
  for (let at = 1; at <= page; at++) {
    const query = cursor === "" ? "" : `&cursor=${cursor}`;
    let text = "";
    const ms = await timed(async () => {
      ({ text } = await hub.call("GET", `${api}/jobs?limit=20${query}`, token));
    });
    if (at > page - calls) took.push(ms);
    const next = (JSON.parse(text) as { next_cursor: string | null }).next_cursor;
    if (next === null) throw new Error(`the list ended at page ${at}`);
    cursor = next;
  }
  return took;
}

async function times(count: number, work: (i: number) => Promise<unknown>): Promise<number[]> {
  for (let i = 0; i < 20; i++) await work(i);
  const took: number[] = [];
  for (let i = 0; i < count; i++) took.push(await timed(() => work(i)));
  return took;
}

async function timed(work: () => Promise<unknown>): Promise<number> {
  const startedAt = performance.now();
  await work();
  return performance.now() - startedAt;
}

function describe(values: readonly number[]): string {
  return `p50 ${median(values).toFixed(1)} ms, p99 ${quantile(values, 0.99).toFixed(1)} ms`;
}
