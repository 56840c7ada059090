import { expect, it } from "vitest";
import { sweepTriggers } from "../../../src/hub/triggers/triggers.ts";
import { describeWithEngine } from "../../helpers/engines/index.ts";
import { waitFor } from "../../helpers/wait.ts";
import { onBothStores, startTestHub, type TestHub } from "../hub-v1/hub.ts";
import { testSite } from "../hub-v1/site.ts";

async function registries(hub: TestHub): Promise<void> {
  const admin = await hub.client("admin");
  await admin.registries.putWorkflow("w1", {});
  await admin.registries.putWorkflow("w2", {});
  await admin.registries.putObjectType("reads");
  await admin.registries.putObjectType("other");
  await admin.registries.putTrigger("reads--w1", { object_type_id: "reads", workflow_id: "w1" });
  await admin.registries.putTrigger("reads--w2", { object_type_id: "reads", workflow_id: "w2" });
}

async function newObject(hub: TestHub, checksum: string): Promise<string> {
  const response = await fetch(`${hub.url}/objects`, {
    method: "POST",
    headers: { authorization: `Bearer ${await hub.siteToken("lab-a")}`, "content-type": "application/json" },
    body: JSON.stringify({
      name: "reads.fq",
      size: 4,
      created_time: "2026-01-01T00:00:00Z",
      checksums: [{ type: "sha256", checksum }],
      access_methods: [{ type: "https", access_url: { url: "https://data.example/reads.fq" } }],
    }),
  });
  expect(response.status).toBe(201);
  return ((await response.json()) as { id: string }).id;
}

async function setTypes(hub: TestHub, id: string, types: readonly string[]): Promise<void> {
  const response = await fetch(`${hub.url}/objects/${id}/types`, {
    method: "PUT",
    headers: { "content-type": "application/json" },
    body: JSON.stringify(types),
  });
  expect(response.status).toBe(200);
  await response.text();
}

async function jobsOf(hub: TestHub): Promise<readonly string[]> {
  const client = await hub.client("viewer");
  const jobs = await Array.fromAsync(client.jobs({ sort: "created_at" }));
  return jobs.map((job) => `${job.workflow.id} ${job.object_id ?? ""}`).toSorted();
}

onBothStores("triggers", (kind) => {
  it("make one job per trigger at once, in the shape of the contract, with the object resolved for the agent", async () => {
    await using hub = await startTestHub(kind);
    await using site = await testSite(hub, "lab-a");
    await registries(hub);
    const id = await newObject(hub, "a1");
    await setTypes(hub, id, ["reads"]);
    expect(await jobsOf(hub)).toEqual([`w1 ${id}`, `w2 ${id}`]);
    const listed = (await (
      await fetch(`${hub.url}/jobs?filter=${encodeURIComponent('{"workflow.id":"w1"}')}`)
    ).json()) as {
      resources: readonly Record<string, unknown>[];
    };
    expect(listed.resources).toMatchObject([{ workflow: { id: "w1" }, config: { object_id: id } }]);
    expect(listed.resources[0]).not.toHaveProperty("claims");
    const claim = await site.take("w1");
    expect(claim.spec.config).toEqual({ object_id: id });
    expect(claim.spec.object).toEqual({
      id,
      name: "reads.fq",
      size: 4,
      checksums: [{ type: "sha256", checksum: "a1" }],
      urls: ["https://data.example/reads.fq"],
    });
  });

  it("never make a second job, whatever happens to the types or the first job", async () => {
    await using hub = await startTestHub(kind);
    await registries(hub);
    const id = await newObject(hub, "a1");
    for (const types of [["reads"], [], ["reads", "other"], ["reads"]]) await setTypes(hub, id, types);
    const client = await hub.client("operator");
    for (const job of (await client.jobPage()).jobs) await client.cancel(job.id);
    await setTypes(hub, id, []);
    await setTypes(hub, id, ["reads"]);
    await sweepTriggers(hub.ctx);
    expect((await client.jobPage()).total).toBe(2);
  });

  it("leave out objects that another job of the workflow names already, alone or in a list", async () => {
    await using hub = await startTestHub(kind);
    await registries(hub);
    const id = await newObject(hub, "a1");
    const client = await hub.client("submitter");
    await client.submit({ workflow: "w1", config: { object_id: id } });
    await client.submit({ workflow: "w2", config: { object_id: ["x", id] } });
    await setTypes(hub, id, ["reads"]);
    expect((await client.jobPage()).total).toBe(2);
  });

  it("find what was missed in a sweep, also for triggers that come later", async () => {
    await using hub = await startTestHub(kind);
    const id = await newObject(hub, "a1");
    const admin = await hub.client("admin");
    await admin.registries.putObjectType("reads");
    await setTypes(hub, id, ["reads"]);
    expect(await jobsOf(hub)).toEqual([]);
    await admin.registries.putWorkflow("w1", {});
    await admin.registries.putTrigger("reads--w1", { object_type_id: "reads", workflow_id: "w1" });
    expect(await jobsOf(hub)).toEqual([`w1 ${id}`]);
    const missed = { object_id: "sys0other", type_id: "reads" };
    await hub.ctx.store.db.insertInto("object_type_links").values(missed).execute();
    await waitFor(async () => (await jobsOf(hub)).length === 2, { what: "the sweep" });
  });

  it("make one job under twenty assignments and sweeps at the same time", async () => {
    await using hub = await startTestHub(kind);
    await registries(hub);
    const ids = await Promise.all(Array.from({ length: 5 }, (_, index) => newObject(hub, `c${index}`)));
    await Promise.all([
      ...ids.flatMap((id) => Array.from({ length: 4 }, () => setTypes(hub, id, ["reads"]))),
      ...Array.from({ length: 5 }, () => sweepTriggers(hub.ctx)),
    ]);
    const jobs = await jobsOf(hub);
    expect(jobs).toHaveLength(10);
    expect(new Set(jobs).size).toBe(10);
  });
});

describeWithEngine("postgres", "triggers of two hubs", () => {
  it("make one job together, and none again after a restart", async () => {
    await using a = await startTestHub("postgres");
    await using b = await startTestHub("postgres", { url: a.databaseUrl });
    await registries(a);
    const ids = await Promise.all(Array.from({ length: 6 }, (_, index) => newObject(a, `d${index}`)));
    await Promise.all([
      ...ids.flatMap((id) => [setTypes(a, id, ["reads"]), setTypes(b, id, ["reads"])]),
      sweepTriggers(a.ctx),
      sweepTriggers(b.ctx),
    ]);
    expect(await jobsOf(b)).toHaveLength(12);
    await using c = await startTestHub("postgres", { url: a.databaseUrl });
    expect(await sweepTriggers(c.ctx)).toBe(0);
    expect(await jobsOf(c)).toHaveLength(12);
  });
});
