/** Making and handing out jobs: bulk requests, 50 agents at once, and the hub's memory while 50,000 jobs pass. */
import { readFile } from "node:fs/promises";
import type { StoreKind } from "../src/hub/store/types.ts";
import type { Assignment, SyncAnswer } from "../src/wire/agent-api.ts";
import { type Bench, type BenchOptions, type Figure, median } from "./lib/bench.ts";
import { BenchHub, newPlace, type SiteLogin, storeKinds } from "./lib/hub.ts";

const api = "/siteagent/v1";
const workflow = "bench-1.0.0";
const bulk = 1_000;
const agents = 50;
const take = 10;
/** Balsam's raw creation through its API, and its acquisition of 10 among 100,000 open jobs, measured on two such cores. */
const balsamPerSecond = 7_200;
const balsamAcquireMs = 9.7;

export const bench: Bench = {
  about:
    "One hub process, spoken to from one client process. Made: bulk requests of 1,000 jobs with a tag and parameters, two at a time. Claimed: among 100,000 open jobs, 10 at each synchronize; by one agent, then by 50 agents at once that confirm what they took (one report for each job) and hold it. Passed: jobs made, claimed and reported to their end by 50 agents, with the hub's memory at the first and the last fifth. PostgreSQL on the same machine syncs each commit to disk, as SQLite does. Balsam's figures are those measured on two such cores, not in this run.",
  async run(options) {
    const figures: Figure[] = [];
    for (const kind of await storeKinds((line) => options.say(line))) figures.push(...(await measure(kind, options)));
    return figures;
  },
};

async function measure(kind: StoreKind, options: BenchOptions): Promise<Figure[]> {
  const { quick } = options;
  await using place = await newPlace(kind);
  await using hub = await BenchHub.start(place);
  const admin = await hub.adminToken();
  await hub.call("PUT", `${api}/workflows/${workflow}`, admin, JSON.stringify({ claims: "exclusive" }));
  const sites: Agent[] = [];
  for (let i = 0; i <= agents; i++) sites.push(new Agent(hub, await hub.newSite(admin, `lab-${i}`)));
  const [alone, ...crowd] = sites;
  if (!alone) throw new Error("no agent");

  const open = quick ? 10_000 : 100_000;
  const created = await create(hub, admin, open);
  options.say(`${kind}: ${median(created).toFixed(0)} jobs/s made`);
  await alone.take();
  const single: number[] = [];
  for (let i = 0; i < (quick ? 20 : 100); i++) {
    await alone.finish(await alone.take((ms) => single.push(ms)));
  }
  options.say(`${kind}: ${take} claimed by one agent in ${median(single).toFixed(1)} ms`);
  const crowded: number[] = [];
  const rates: number[] = [];
  for (let round = 0; round < (quick ? 2 : 5); round++) {
    const startedAt = performance.now();
    await Promise.all(crowd.map(async (agent) => agent.confirm(await agent.take((ms) => crowded.push(ms)))));
    rates.push((agents * take) / ((performance.now() - startedAt) / 1000));
  }
  options.say(
    `${kind}: ${median(rates).toFixed(0)} claims/s by ${agents} agents, ${median(crowded).toFixed(0)} ms each`,
  );
  await Promise.all(crowd.map((agent) => agent.finishAll()));
  const passed = await pass(hub, admin, crowd, quick ? 5_000 : 50_000);
  options.say(`${kind}: ${passed.perSecond.toFixed(0)} jobs/s passed`);
  return [
    {
      what: `${kind}: jobs made in bulk, 1/s`,
      values: created,
      beside: { what: "Balsam", values: [balsamPerSecond] },
      goal: { text: `> ${balsamPerSecond}`, held: median(created) > balsamPerSecond },
    },
    {
      what: `${kind}: ${take} of ${open.toLocaleString("en")} claimed by one agent, ms`,
      values: single,
      beside: { what: "Balsam", values: [balsamAcquireMs] },
      goal: { text: `p50 < ${balsamAcquireMs}`, held: median(single) < balsamAcquireMs },
    },
    { what: `${kind}: claimed and confirmed by ${agents} agents at once, 1/s`, values: rates },
    { what: `${kind}: one such claim of ${take}, ms`, values: crowded },
    { what: `${kind}: jobs made, claimed and ended, 1/s`, values: [passed.perSecond] },
    {
      what: `${kind}: memory of the hub in the last fifth of these jobs, MiB`,
      values: passed.late,
      beside: { what: "in the second fifth", values: passed.early },
      goal: { text: "flat (≤ 1.25 of it)", held: median(passed.late) <= 1.25 * median(passed.early) },
    },
  ];
}

/** Jobs per second, one value for each twentieth. */
async function create(hub: BenchHub, token: string, count: number): Promise<number[]> {
  await createBulk(hub, token, 0);
  const rates: number[] = [];
  const share = count / 20;
  for (let part = 0; part < 20; part++) {
    const startedAt = performance.now();
    const numbers = Array.from({ length: Math.ceil(share / bulk) }, (_, i) => part * share + i * bulk);
    await inTurn(numbers, 2, (number) => createBulk(hub, token, number));
    rates.push((numbers.length * bulk) / ((performance.now() - startedAt) / 1000));
  }
  return rates;
}

async function createBulk(hub: BenchHub, token: string, first: number): Promise<void> {
  const jobs = Array.from({ length: bulk }, (_, i) => ({
    workflow,
    name: `sample ${first + i}`,
    parameters: { threads: 4, sample: `s${first + i}` },
    config: { reads: `https://data.example.org/reads/${first + i}.fastq.gz` },
    tags: { campaign: "bench" },
  }));
  const { text } = await hub.call("POST", `${api}/jobs:bulk`, token, JSON.stringify({ jobs }));
  if (text.includes('"error"')) throw new Error(`a job was refused: ${text.slice(0, 300)}`);
}

/** Runs `work` on each of the items, so many at a time. */
async function inTurn<Item>(
  items: readonly Item[],
  atOnce: number,
  work: (item: Item) => Promise<void>,
): Promise<void> {
  const left = [...items];
  const lane = async (): Promise<void> => {
    for (let item = left.shift(); item !== undefined; item = left.shift()) await work(item);
  };
  await Promise.all(Array.from({ length: atOnce }, lane));
}

/** Makes jobs and has the agents end them, while the hub's memory is looked at. */
async function pass(
  hub: BenchHub,
  token: string,
  crowd: readonly Agent[],
  count: number,
): Promise<{ perSecond: number; early: number[]; late: number[] }> {
  const startedAt = performance.now();
  const memory: { readonly ended: number; readonly mib: number }[] = [];
  let made = 0;
  let ended = 0;
  const maker = (async () => {
    for (; made < count; made += bulk) {
      await createBulk(hub, token, made);
      while (made - ended > 5 * bulk) await new Promise((resolve) => setTimeout(resolve, 5));
    }
  })();
  await Promise.all(
    crowd.map(async (agent) => {
      while (ended < count) {
        const taken = await agent.take();
        await agent.finish(taken);
        ended += taken.length;
        memory.push({ ended, mib: await residentMiB(hub.pid) });
        if (taken.length === 0) await new Promise((resolve) => setTimeout(resolve, 20));
      }
    }),
  );
  await maker;
  const share = (from: number, to: number): number[] =>
    memory.filter((look) => look.ended > from * count && look.ended <= to * count).map((look) => look.mib);
  return {
    perSecond: ended / ((performance.now() - startedAt) / 1000),
    early: share(0.2, 0.4),
    late: share(0.8, 1.1),
  };
}

async function residentMiB(pid: number): Promise<number> {
  const status = await readFile(`/proc/${pid}/status`, "utf8");
  return Number(/^VmRSS:\s+(\d+) kB/m.exec(status)?.[1] ?? 0) / 1024;
}

/** What a site's agent says to the hub. */
class Agent {
  readonly #hub: BenchHub;
  readonly #site: SiteLogin;
  readonly #held = new Map<string, Assignment>();
  #epoch: number | undefined;

  constructor(hub: BenchHub, site: SiteLogin) {
    this.#hub = hub;
    this.#site = site;
  }

  /** Asks for work once; `took` hears how long that call took. */
  async take(took?: (ms: number) => void): Promise<readonly Assignment[]> {
    const body = JSON.stringify({
      instance_id: `${this.#site.id}-1`,
      agent_id: "agent",
      version: "0.0.0",
      ...(this.#epoch === undefined ? {} : { session_epoch: this.#epoch }),
      state: "running",
      held: [...this.#held.values()].map(({ job, epoch }) => ({ job, epoch, seq: 0, state: "READY" })),
      free: [{ workflow, slots: take }],
      max_assign: take,
      hold_ms: 0,
    });
    const startedAt = performance.now();
    const { text } = await this.#hub.call("POST", `${api}/synchronize`, this.#site.token, body);
    took?.(performance.now() - startedAt);
    const answer = JSON.parse(text) as SyncAnswer;
    this.#epoch = answer.session_epoch;
    for (const assignment of answer.assign) this.#held.set(assignment.job, assignment);
    return answer.assign;
  }

  /** The first report of each: from now on they are this site's. */
  async confirm(assignments: readonly Assignment[]): Promise<void> {
    await this.#report(assignments, (assignment) => [report(assignment, 1, { phase: "staging", state: "READY" })]);
  }

  /** As an agent reports a job without inputs that ran at once. */
  async finish(assignments: readonly Assignment[]): Promise<void> {
    await this.#report(assignments, (assignment) => [
      report(assignment, 1, { state: "STAGED_IN" }),
      report(assignment, 2, { state: "RUNNING", phase: "started", attempt: 1 }),
      report(assignment, 3, { state: "RUN_DONE", attempt: 1, end: exited() }),
      report(assignment, 4, { state: "JOB_FINISHED", attempt: 1, done: true, outputs: [] }),
    ]);
    for (const { job } of assignments) this.#held.delete(job);
  }

  /** Ends what was only confirmed. */
  async finishAll(): Promise<void> {
    const all = [...this.#held.values()];
    await this.#report(all, (assignment) => [
      report(assignment, 2, { state: "RUNNING", phase: "started", attempt: 1 }),
      report(assignment, 3, { state: "JOB_FINISHED", attempt: 1, done: true, outputs: [] }),
    ]);
    this.#held.clear();
  }

  async #report(assignments: readonly Assignment[], of: (assignment: Assignment) => readonly object[]): Promise<void> {
    if (assignments.length === 0) return;
    const reports = assignments.flatMap((assignment) => of(assignment));
    const { text } = await this.#hub.call("POST", `${api}/reports`, this.#site.token, JSON.stringify({ reports }));
    const { results } = JSON.parse(text) as { results: readonly { readonly outcome: string }[] };
    const refused = results.find(({ outcome }) => outcome !== "applied");
    if (refused) throw new Error(`a report was not applied: ${JSON.stringify(refused)}`);
  }
}

function exited(): object {
  return { cause: "exit", exit_code: 0, evidence: "record", ended_at: new Date().toISOString() };
}

function report(assignment: Assignment, seq: number, change: object): object {
  const { job, op_id, epoch } = assignment;
  return { job, op_id, epoch, seq, attempt: 0, phase: "none", at: new Date().toISOString(), ...change };
}
