import { expect, it } from "vitest";
import { systemClock } from "../../../src/common/clock.ts";
import { isFinalStatus, type Status } from "../../../src/jobs/status.ts";
import { createJobs } from "../../../src/hub/jobs/lifecycle.ts";
import { countedAtMost } from "../../../src/hub/v1/jobs-query.ts";
import type { HubClient, JobQuery, JobView } from "../../../src/sdk/client.ts";
import { onBothStores, startTestHub } from "./hub.ts";
import { testSite } from "./site.ts";

/** Jobs in many statuses: waiting, held by a site in two states, finished, failed, cancelled. */
async function mixedJobs(client: HubClient, hub: Awaited<ReturnType<typeof startTestHub>>): Promise<void> {
  await using site = await testSite(hub, "lab-a");
  const specs = Array.from({ length: 60 }, (_, i) => ({
    workflow: i % 3 === 0 ? "v" : "w",
    name: `job ${(i * 7) % 60}`,
    tags: { ...(i % 4 === 0 ? {} : { project: `p${i % 3}` }), ...(i % 5 === 0 ? { urgent: "yes" } : {}) },
  }));
  await client.bulk(specs);
  for (let i = 0; i < 25; i++) {
    const claim = await site.take("w");
    if (i % 5 === 0) continue;
    await site.report(claim, { state: "RUNNING", phase: "started", attempt: 1 });
    if (i % 5 === 1) continue;
    const failure = { code: "X", category: "user", message: "no" } as const;
    const end = i % 5 === 2 ? "FAILED" : "JOB_FINISHED";
    await site.report(claim, { state: end, attempt: 1, done: true, ...(end === "FAILED" ? { failure } : {}) });
  }
  const waiting = await client.jobPage({ workflow: "v", limit: 4 });
  await client.bulkAction(
    "cancel",
    waiting.jobs.map((job) => job.id),
  );
}

function fits(job: JobView, query: JobQuery): boolean {
  const statuses = query.status === undefined ? undefined : [query.status].flat();
  const tags = query.tag === undefined ? [] : [query.tag].flat();
  return (
    (statuses?.includes(job.status) ?? true) &&
    (query.active === undefined || query.active !== isFinalStatus(job.status)) &&
    (query.workflow === undefined || query.workflow === job.workflow.id) &&
    tags.every((tag) => {
      const [key = "", value] = tag.split("=");
      return value === undefined ? key in job.tags : job.tags[key] === value;
    })
  );
}

const filters: readonly JobQuery[] = [
  {},
  { status: "FINISHED" },
  { status: ["FAILED", "PENDING", "CANCELLED"] satisfies Status[] },
  { active: true },
  { active: false, status: ["FAILED", "RUNNING"] },
  { tag: "project=p1" },
  { tag: "project=p1", status: "FINISHED" },
  { tag: "project=p2", status: ["PENDING", "FAILED"] },
  { tag: ["project=p1", "urgent"], active: true },
  { tag: ["urgent=yes", "project=p2"], active: false },
  { tag: "project", workflow: "w" },
  { tag: "project=none", active: true },
];
const sorts = ["-created_at", "created_at", "name", "-name", "-updated_at"] as const;

onBothStores("lists of jobs", (kind) => {
  it("hold what matches, each once, in order, whatever the filter, the sort and the size of pages", async () => {
    await using hub = await startTestHub(kind);
    const client = await hub.client("operator");
    await mixedJobs(client, hub);
    for (const sort of sorts) {
      const all = (await client.jobPage({ sort, limit: 1000 })).jobs;
      expect(new Set(all.map((job) => job.status)).size).toBeGreaterThan(4);
      for (const filter of filters) {
        const expected = all.filter((job) => fits(job, filter)).map((job) => job.id);
        const paged = await Array.fromAsync(client.jobs({ ...filter, sort, limit: 7 }));
        expect([filter, sort, paged.map((job) => job.id)]).toEqual([filter, sort, expected]);
        const { total, total_capped } = await client.jobPage({ ...filter, sort, limit: 3 });
        expect([filter, total, total_capped]).toEqual([filter, expected.length, false]);
      }
    }
  });

  it("count up to a thousand, and say when there are more", async () => {
    await using hub = await startTestHub(kind);
    const client = await hub.client("viewer");
    const { store } = hub.ctx;
    const make = (count: number, project: string) =>
      store.transaction((tx) =>
        createJobs(
          { store, clock: systemClock },
          tx,
          Array.from({ length: count }, () => ({ workflow: { id: "w" }, config: {}, tags: { project }, actor: "hub" })),
        ),
      );
    await make(countedAtMost, "a");
    expect(await client.jobPage({ limit: 1 })).toMatchObject({ total: countedAtMost, total_capped: false });
    await make(2, "b");
    expect(await client.jobPage({ limit: 1 })).toMatchObject({ total: countedAtMost, total_capped: true });
    expect(await client.jobPage({ limit: 1, tag: "project=b" })).toMatchObject({ total: 2, total_capped: false });
    const last = await Array.fromAsync(client.jobs({ limit: 100 }));
    expect(last).toHaveLength(countedAtMost + 2);
  });
});
