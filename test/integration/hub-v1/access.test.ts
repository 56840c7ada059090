import { expect, it } from "vitest";
import { createHubClient } from "../../../src/sdk/client.ts";
import type { Role } from "../../../src/wire/user-api.ts";
import { onBothStores, startTestHub, type TestHub } from "./hub.ts";
import { testSite } from "./site.ts";

interface Case {
  readonly method: string;
  readonly path: string;
  readonly body?: object;
  /** The least role that may; `site`: a site client only. */
  readonly needs: Role | "site";
}

const cases: readonly Case[] = [
  { method: "GET", path: "/me", needs: "viewer" },
  { method: "GET", path: "/jobs", needs: "viewer" },
  { method: "GET", path: "/jobs/JOB", needs: "viewer" },
  { method: "GET", path: "/jobs/JOB/outputs", needs: "viewer" },
  { method: "GET", path: "/jobs/JOB/logs/stdout", needs: "viewer" },
  { method: "GET", path: "/events", needs: "viewer" },
  { method: "GET", path: "/sites", needs: "viewer" },
  { method: "GET", path: "/workflows", needs: "viewer" },
  { method: "GET", path: "/object_types", needs: "viewer" },
  { method: "GET", path: "/triggers", needs: "viewer" },
  { method: "GET", path: "/tokens", needs: "viewer" },
  { method: "GET", path: "/files", needs: "viewer" },
  { method: "POST", path: "/jobs", body: { workflow: "w" }, needs: "submitter" },
  { method: "POST", path: "/jobs:bulk", body: { jobs: [{ workflow: "w" }] }, needs: "submitter" },
  { method: "POST", path: "/jobs/JOB:pause", body: {}, needs: "operator" },
  { method: "POST", path: "/jobs/JOB:resume", needs: "operator" },
  { method: "PUT", path: "/workflows/mine", body: {}, needs: "admin" },
  { method: "PUT", path: "/object_types/mine", body: {}, needs: "admin" },
  { method: "GET", path: "/users", needs: "admin" },
  { method: "PUT", path: "/users/carol", body: { role: "viewer", password: "long enough" }, needs: "admin" },
  { method: "POST", path: "/reports", body: { reports: [] }, needs: "site" },
  { method: "POST", path: "/synchronize", body: {}, needs: "site" },
  { method: "PUT", path: "/jobs/JOB/logs/stdout?attempt=1&offset=0&epoch=1", needs: "site" },
];

const order: readonly Role[] = ["viewer", "submitter", "operator", "admin"];

async function statusOf(hub: TestHub, one: Case, job: string, token: string | undefined): Promise<number> {
  const response = await fetch(`${hub.url}/siteagent/v1${one.path.replace("JOB", job)}`, {
    method: one.method,
    headers: {
      ...(token === undefined ? {} : { authorization: `Bearer ${token}` }),
      ...(one.body ? { "content-type": "application/json" } : {}),
    },
    ...(one.body ? { body: JSON.stringify(one.body) } : {}),
  });
  await response.text();
  return response.status;
}

onBothStores("access", (kind) => {
  it("lets each role do what it may, and nobody anything without a token", async () => {
    await using hub = await startTestHub(kind);
    const owner = await hub.client("submitter", "owner");
    const { id } = await owner.submit({ workflow: "w" });
    const site = await hub.siteToken("lab-a");
    for (const one of cases) {
      expect([one.path, await statusOf(hub, one, id, undefined)]).toEqual([one.path, 401]);
      for (const role of order) {
        const status = await statusOf(hub, one, id, await hub.userToken(role));
        const may = one.needs !== "site" && order.indexOf(role) >= order.indexOf(one.needs);
        expect([one.path, role, status === 403]).toEqual([one.path, role, !may]);
        if (may) expect([one.path, role, status < 300]).toEqual([one.path, role, true]);
      }
      const asSite = await statusOf(hub, one, id, site);
      expect([one.path, "site", asSite === 403]).toEqual([
        one.path,
        "site",
        one.needs !== "site" && one.needs !== "viewer",
      ]);
    }
  });

  it("lets submitters act on their own jobs only", async () => {
    await using hub = await startTestHub(kind);
    const alice = await hub.client("submitter", "alice");
    const bob = await hub.client("submitter", "bob");
    const { id } = await alice.submit({ workflow: "w" });
    await expect(bob.cancel(id)).rejects.toMatchObject({ code: "FORBIDDEN" });
    const [refused] = await bob.bulkAction("cancel", [id]);
    expect(refused).toMatchObject({ result: "refused" });
    expect(await alice.cancel(id)).toMatchObject({ result: "done" });
    expect((await (await hub.client("operator")).retry(id)).job).toMatchObject({ owner: "alice" });
  });

  it("makes API tokens that are shown once, are never more than their user, and end", async () => {
    await using hub = await startTestHub(kind);
    const operator = await hub.client("operator", "olga");
    await expect(operator.registries.createToken({ name: "t", role: "admin" })).rejects.toMatchObject({
      code: "FORBIDDEN",
    });
    const made = await operator.registries.createToken({ name: "ci", role: "submitter" });
    expect(made.secret).toMatch(/^sat_[A-Za-z0-9_-]{43}$/);
    const stored = JSON.stringify(await hub.ctx.store.db.selectFrom("api_tokens").selectAll().execute());
    expect(stored).not.toContain(made.secret);
    await using script = createHubClient({ url: hub.url, token: made.secret });
    expect(await script.me()).toEqual({ name: "olga", kind: "token", role: "submitter", sites: [] });
    const listed = await operator.registries.tokens();
    expect(listed).toMatchObject([{ id: made.id, name: "ci", role: "submitter", owner: "olga" }]);
    expect(JSON.stringify(listed)).not.toContain("sat_");
    const admin = await hub.client("admin");
    await admin.registries.putUser("olga", { role: "viewer" });
    expect((await script.me()).role).toBe("viewer");
    await operator.registries.revokeToken(made.id);
    await expect(script.me()).rejects.toMatchObject({ code: "UNAUTHENTICATED" });
    const short = await operator.registries.createToken({
      name: "x",
      role: "viewer",
      expires_at: "2020-01-01T00:00:00Z",
    });
    await using late = createHubClient({ url: hub.url, token: short.secret });
    await expect(late.me()).rejects.toMatchObject({ code: "UNAUTHENTICATED" });
  });

  it("makes users who can log in, and locks disabled ones out", async () => {
    await using hub = await startTestHub(kind);
    const admin = await hub.client("admin");
    await expect(admin.registries.putUser("dora", { role: "submitter" })).rejects.toMatchObject({ code: "INVALID" });
    await admin.registries.putUser("dora", { role: "submitter", password: "correct horse" });
    await using dora = createHubClient({ url: hub.url, username: "dora", password: "correct horse" });
    expect(await dora.me()).toMatchObject({ name: "dora", kind: "user", role: "submitter" });
    expect((await dora.login()).token).toMatch(/^ey/);
    await using wrong = createHubClient({ url: hub.url, username: "dora", password: "wrong horse" });
    await expect(wrong.me()).rejects.toMatchObject({ code: "UNAUTHENTICATED" });
    await admin.registries.putUser("dora", { role: "submitter", disabled: true });
    await expect(dora.me()).rejects.toBeInstanceOf(Error);
    await expect(admin.registries.putUser("admin", { role: "viewer" })).rejects.toMatchObject({ code: "CONFLICT" });
  });

  it("edits registries, and leaves entries of the configuration alone", async () => {
    await using hub = await startTestHub(kind);
    await using site = await testSite(hub, "lab-a");
    const { registries } = await hub.client("admin");
    const made = await registries.putWorkflow("w", { claims: "exclusive", description: "d" });
    expect(made).toMatchObject({ id: "w", name: "w", claims: "exclusive", description: "d", source: "api" });
    expect(await registries.putWorkflow("w", { name: "W" })).toMatchObject({ name: "W", claims: "nmdc" });
    await registries.putObjectType("t");
    await expect(registries.putTrigger("x", { object_type_id: "t", workflow_id: "none" })).rejects.toMatchObject({
      code: "INVALID",
    });
    expect(await registries.putTrigger("t--w", { object_type_id: "t", workflow_id: "w" })).toMatchObject({
      id: "t--w",
    });
    await expect(registries.remove("workflows", "w")).rejects.toMatchObject({ code: "CONFLICT" });
    await registries.remove("triggers", "t--w");
    await registries.remove("workflows", "w");
    await expect(registries.remove("workflows", "w")).rejects.toMatchObject({ code: "NOT_FOUND" });
    expect((await registries.workflows()).map((workflow) => workflow.id)).not.toContain("w");
    const row = { id: "fixed", name: "fixed", description: null, created_at: 0, source: "config" };
    await hub.ctx.store.db.insertInto("object_types").values(row).execute();
    await expect(registries.putObjectType("fixed")).rejects.toMatchObject({ code: "CONFLICT" });
    expect((await site.call("GET", "/object_types/fixed")).body).toMatchObject({ id: "fixed" });
  });

  it("hides jobs that wait, and closes cancelled ones for NMDC clients", async () => {
    await using hub = await startTestHub(kind);
    const client = await hub.client("submitter");
    const parent = await client.submit({ workflow: "w" });
    const child = await client.submit({ workflow: "w", parents: [parent.id] });
    const paused = await client.submit({ workflow: "w" });
    await client.pause(paused.id);
    const list = async (filter: object) => {
      const response = await fetch(`${hub.url}/jobs?filter=${encodeURIComponent(JSON.stringify(filter))}`);
      return ((await response.json()) as { resources: readonly { id: string }[] }).resources.map((job) => job.id);
    };
    const open = {
      $or: [{ claims: { $size: 0 } }, { claims: { $not: { $elemMatch: { cancelled: { $ne: true } } } } }],
    };
    expect(await list(open)).toEqual([parent.id]);
    const claim = await fetch(`${hub.url}/jobs/${child.id}:claim`, {
      method: "POST",
      headers: { authorization: `Bearer ${await hub.siteToken("lab-a")}` },
    });
    expect([claim.status, await claim.json()]).toMatchObject([409, { code: "CONFLICT" }]);
    await client.resume(paused.id);
    await client.cancel(parent.id);
    expect(await list(open)).toEqual([paused.id]);
    expect((await client.job(child.id)).status).toBe("FAILED");
    expect(await list({})).toEqual([parent.id, paused.id]);
  });

  it("hides jobs of exclusive workflows from NMDC clients and refuses their claims", async () => {
    await using hub = await startTestHub(kind);
    await using site = await testSite(hub, "lab-a");
    const admin = await hub.client("admin");
    await admin.registries.putWorkflow("mine", { claims: "exclusive" });
    const { id } = await admin.submit({ workflow: "mine" });
    const nmdc = async (method: string, path: string) => {
      const response = await fetch(`${hub.url}${path}`, {
        method,
        headers: { authorization: `Bearer ${await hub.siteToken("lab-a")}` },
      });
      return { status: response.status, body: (await response.json()) as Record<string, unknown> };
    };
    expect((await nmdc("GET", "/jobs?filter={}")).body["resources"]).toEqual([]);
    expect(await nmdc("POST", `/jobs/${id}:claim`)).toMatchObject({ status: 403, body: { code: "CLAIM_EXCLUSIVE" } });
    expect((await site.take("mine")).job).toBe(id);
  });
});
