import { expect, test } from "vitest";
import { waitFor } from "../../helpers/wait.ts";
import { temporaryDirectory } from "../../helpers/temporary.ts";
import { adminToken, ask, newJob, newSite } from "./client.ts";
import { devHub, type TestHub } from "./hubs.ts";

const v1 = "/siteagent/v1";

async function idsOf(hub: TestHub, path: string): Promise<string[]> {
  return ((await ask(hub, "GET", path)).json as { id: string }[]).map(({ id }) => id);
}

async function jobsOf(hub: TestHub, workflow: string): Promise<{ id: string; config: object }[]> {
  const filter = { "workflow.id": workflow };
  return (await ask(hub, "GET", "/jobs", { query: { filter } })).json.resources as { id: string; config: object }[];
}

test("a changed file counts from the next start: what went is gone, what the API made stays, new triggers find old objects", async () => {
  await using directory = await temporaryDirectory();
  const start = (registries: object): Promise<TestHub> =>
    devHub({ dataDir: directory.path, config: { presets: [], triggers_sweep: "200ms", ...registries } });
  const compat = { anonymous_types: true, anonymous_reads: true };
  const before = {
    compat,
    workflows: [{ id: "old-1" }, { id: "kept-1", name: "First" }],
    object_types: [{ id: "reads" }],
    triggers: [{ object_type: "reads", workflow: "old-1" }],
  };
  const after = {
    compat,
    workflows: [
      { id: "kept-1", name: "Second", claims: "exclusive" },
      { id: "new-1", capability_ids: ["gpu"] },
    ],
    object_types: [{ id: "reads" }, { id: "genomes" }],
    triggers: [{ object_type: "reads", workflow: "new-1" }],
  };

  let object = "";
  let made = "";
  {
    await using hub = await start(before);
    const site = await newSite(hub, "lab-a");
    const admin = await adminToken(hub);
    expect((await ask(hub, "PUT", `${v1}/workflows/mine-1`, { token: admin, json: {} })).status).toBe(200);
    const json = {
      checksums: [{ type: "sha256", checksum: "ab" }],
      created_time: "2026-01-01T00:00:00Z",
      size: 1,
      access_methods: [{ access_url: { url: "https://data.example/a" } }],
    };
    object = (await ask(hub, "POST", "/objects", { token: site.token, json })).json.id as string;
    await ask(hub, "PUT", `/objects/${object}/types`, { json: ["reads"] });
    expect(await jobsOf(hub, "old-1")).toMatchObject([{ config: { object_id: object } }]);
    made = await newJob(hub, site, { workflow: { id: "kept-1" } });
  }

  await using hub = await start(after);
  expect(await idsOf(hub, "/workflows")).toEqual(expect.arrayContaining(["kept-1", "mine-1", "new-1"]));
  expect(await idsOf(hub, "/workflows")).not.toContain("old-1");
  expect(await idsOf(hub, "/triggers")).toEqual(["reads--new-1"]);
  expect(await idsOf(hub, "/object_types")).toEqual(["reads", "genomes"]);
  expect((await ask(hub, "GET", "/workflows/kept-1")).json).toMatchObject({ name: "Second" });
  expect((await ask(hub, "GET", "/workflows/new-1")).json).toMatchObject({ capability_ids: ["gpu"] });
  // The trigger that is new finds the object that is not; the job of the old one stays the only one of its workflow.
  await waitFor(async () => (await jobsOf(hub, "new-1")).length > 0, { what: () => "the job of the new trigger" });
  expect(await jobsOf(hub, "new-1")).toMatchObject([{ config: { object_id: object } }]);
  expect(await jobsOf(hub, "old-1")).toHaveLength(1);
  // A job keeps the policy under which it was made; new ones get the new one.
  const site = await newSite(hub, "lab-b");
  expect((await ask(hub, "POST", `/jobs/${made}:claim`, { token: site.token })).status).toBe(200);
  const exclusive = await newJob(hub, site, { workflow: { id: "kept-1" } });
  expect((await ask(hub, "POST", `/jobs/${exclusive}:claim`, { token: site.token })).status).toBe(403);
  expect((await jobsOf(hub, "kept-1")).map(({ id }) => id)).toEqual([made]);
});

test("a workflow made through the API has its capability, as one of the file", async () => {
  await using hub = await devHub();
  const admin = await adminToken(hub);
  const put = (json: object) => ask(hub, "PUT", `${v1}/workflows/mine-1`, { token: admin, json });
  expect((await put({ name: "Mine" })).status).toBe(200);
  expect((await put({ name: "Still mine" })).status).toBe(200);
  expect((await ask(hub, "GET", "/capabilities/mine-1")).json).toMatchObject({ id: "mine-1", name: "Still mine" });
  expect((await ask(hub, "DELETE", `${v1}/workflows/mine-1`, { token: admin })).status).toBe(204);
  expect((await ask(hub, "GET", "/capabilities/mine-1")).status).toBe(404);
});
