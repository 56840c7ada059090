import { afterAll, describe, expect, it } from "vitest";
import { batchFailpoints, type BatchFailpoint } from "../../src/common/failpoints.ts";
import { FakePbs } from "../helpers/fake-pbs/index.ts";
import { TestSite, traced } from "../helpers/site.ts";
import { waitFor } from "../helpers/wait.ts";
import { Control } from "../integration/agent/control.ts";

const apps = {
  good: { command: traced("echo said; exit 0") },
  retried: {
    command: traced('[ "$SITEAGENT_ATTEMPT" -ge 2 ] || exit 9'),
    retry: { attempts: 2, on: ["exit:9"] },
  },
  slow: { command: traced("sleep 30"), resources: { walltime: "1s" } },
  long: { command: traced("sleep 300") },
};

/** A whole installation whose only target is a PBS, asked often and forgiven little. */
async function batchSite(pbs: FakePbs, target: Readonly<Record<string, unknown>> = {}): Promise<TestSite> {
  return await TestSite.start({
    apps,
    armable: true,
    host: { path: pbs.environment["PATH"] },
    target: {
      launcher: "batch",
      scheduler: "pbs",
      poll: "1s",
      settle: "2s",
      record_patience: "10s",
      arrays: false,
      ...target,
    },
  });
}

/** Jobs of the scheduler that were accepted under a name; an attempt's name is its token. */
function perName(pbs: FakePbs): ReadonlyMap<string, number> {
  const counts = new Map<string, number>();
  for (const { name } of pbs.jobs()) counts.set(name, (counts.get(name) ?? 0) + 1);
  return counts;
}

describe("jobs of a batch scheduler", () => {
  it("end as local ones do: success, retry, time limit, cancel", { timeout: 240_000 }, async () => {
    await using pbs = await FakePbs.start();
    await using site = await batchSite(pbs);
    await site.startAgent();
    const [good, retried, slow, long] = await Promise.all(
      ["good", "retried", "slow", "long"].map((app) => site.submit(app)),
    );
    if (!good || !retried || !slow || !long) throw new Error("no jobs");
    await site.waitFor(long.id, (job) => job.state === "RUNNING", "RUNNING", 60_000);
    await site.client.cancel(long.id);
    expect(await site.ended(good.id, 60_000)).toMatchObject({ status: "FINISHED", attempt: 1 });
    expect(await site.ended(retried.id, 60_000)).toMatchObject({ status: "FINISHED", attempt: 2 });
    expect(await site.ended(slow.id, 60_000)).toMatchObject({ status: "FAILED", end: { cause: "timeout" } });
    expect(await site.ended(long.id, 60_000)).toMatchObject({ status: "CANCELLED" });
    expect([...perName(pbs).values()]).toEqual([1, 1, 1, 1, 1]);
    expect(await site.imbalances([good, retried, slow, long].map(({ id }) => id))).toEqual([]);
  });

  it("go on while the agent is away, and are adopted", { timeout: 240_000 }, async () => {
    await using pbs = await FakePbs.start();
    await using site = await batchSite(pbs);
    await site.startAgent();
    const { id } = await site.submit("long");
    await site.waitFor(id, (job) => job.state === "RUNNING", "RUNNING", 60_000);
    await site.killAgent();
    await site.startAgent();
    await site.client.cancel(id);
    expect(await site.ended(id, 60_000)).toMatchObject({ status: "CANCELLED", attempt: 1 });
    expect([...perName(pbs).values()]).toEqual([1]);
    expect(await site.imbalances([id])).toEqual([]);
  });

  it("E4: a scheduler that is down is shown by status, and costs no job", { timeout: 240_000 }, async () => {
    await using pbs = await FakePbs.start();
    await using site = await batchSite(pbs);
    await site.startAgent();
    const { id } = await site.submit("good");
    await site.ended(id, 60_000);
    const held = await site.submit("long");
    await site.waitFor(held.id, (job) => job.state === "RUNNING", "RUNNING", 60_000);
    await pbs.setFaults({ down: true });
    const control = new Control(site);
    const { problems } = await control.until("the problem", (status) => status.problems.length > 0, 60_000);
    expect(problems[0]?.what).toContain("cannot be followed");
    await pbs.setFaults({});
    await control.until("its end", (status) => status.problems.length === 0, 60_000);
    await site.client.cancel(held.id);
    expect(await site.ended(held.id, 60_000)).toMatchObject({ status: "CANCELLED", attempt: 1 });
  });
});

describe("the agent is killed", () => {
  const points = (Object.keys(batchFailpoints) as BatchFailpoint[]).filter((point) => !point.includes("find"));
  let [pbs, site]: [FakePbs | undefined, TestSite | undefined] = [undefined, undefined];
  const ids: string[] = [];

  async function installation(): Promise<{ pbs: FakePbs; site: TestSite }> {
    pbs ??= await FakePbs.start();
    site ??= await batchSite(pbs);
    if (site.agent?.running !== true) await site.startAgent();
    return { pbs, site };
  }
  afterAll(async () => {
    await site?.[Symbol.asyncDispose]();
    await pbs?.[Symbol.asyncDispose]();
  });

  /** It was killed at `point`; the next one ends the job, and the scheduler saw each attempt once. */
  async function killed(at: { pbs: FakePbs; site: TestSite }, point: BatchFailpoint): Promise<void> {
    await waitFor(() => at.site.reached(point), { what: `a passage of ${point}`, timeoutMs: 60_000 });
    await at.site.agent?.finished;
    await at.site.startAgent({ wait: false });
  }

  async function balanced(at: { pbs: FakePbs; site: TestSite }, id: string, status: string): Promise<void> {
    ids.push(id);
    expect(await at.site.ended(id, 90_000)).toMatchObject({ status, attempt: 1 });
    expect([...perName(at.pbs).values()]).toEqual(ids.map(() => 1));
    expect(await at.site.imbalances(ids)).toEqual([]);
  }

  it.each(points)("at %s: one scheduler job for each attempt, and none lost", { timeout: 240_000 }, async (point) => {
    const at = await installation();
    const stops = point.includes("stop") || point.includes("mark");
    if (!stops) await at.site.arm(point, "kill");
    const { id } = await at.site.submit(stops ? "long" : "good");
    if (stops) {
      await at.site.waitFor(id, (job) => job.state === "RUNNING", "RUNNING", 60_000);
      await at.site.arm(point, "kill");
      await at.site.client.cancel(id);
    }
    await killed(at, point);
    await balanced(at, id, stops ? "CANCELLED" : "FINISHED");
  });

  it.each(["batch.before-find", "batch.after-find"] as const)(
    "E1: at %s, after a submission without an answer",
    { timeout: 240_000 },
    async (point) => {
      const at = await installation();
      await at.site.arm("batch.after-submit", "kill");
      const { id } = await at.site.submit("good");
      await waitFor(() => at.site.reached("batch.after-submit"), { what: "the submission", timeoutMs: 60_000 });
      await at.site.agent?.finished;
      await at.site.arm(point, "kill");
      await at.site.startAgent({ wait: false });
      await killed(at, point);
      await balanced(at, id, "FINISHED");
    },
  );
});
