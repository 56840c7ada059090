/** An agent that lives and does nothing (frozen, hung), and one that has to share its processors with what it runs. */
import { readdir, writeFile } from "node:fs/promises";
import { availableParallelism } from "node:os";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { describe, expect, it } from "vitest";
import { TestSite, traced } from "../helpers/site.ts";
import { waitFor } from "../helpers/wait.ts";
import { Control } from "../integration/agent/control.ts";

const untilGo = { command: traced("while [ ! -e go ]; do sleep 0.05; done; exit 0") };
const quick = { command: traced("exit 0") };
const at = "2026-03-01T12:00:00.000Z";

/** Another site of the hub: its calls. */
async function neighbour(site: TestSite): Promise<(path: string, body: object) => Promise<Record<string, unknown>>> {
  const { token: admin } = await site.client.login();
  const post = async (
    path: string,
    token: string,
    body: object | URLSearchParams,
  ): Promise<Record<string, unknown>> => {
    const form = body instanceof URLSearchParams;
    const answer = await fetch(`${site.access.url}${path}`, {
      method: "POST",
      headers: { authorization: `Bearer ${token}`, ...(form ? {} : { "content-type": "application/json" }) },
      body: form ? body : JSON.stringify(body),
    });
    if (!answer.ok) throw new Error(`${path}: ${answer.status} ${await answer.text()}`);
    return (await answer.json()) as Record<string, unknown>;
  };
  await post("/sites", admin, { id: "neighbour" });
  const { client_id, client_secret } = await post("/sites/neighbour:generateCredentials", admin, {});
  const grant = {
    grant_type: "client_credentials",
    client_id: String(client_id),
    client_secret: String(client_secret),
  };
  const { access_token } = await post("/token", admin, new URLSearchParams(grant));
  return (path, body) => post(`/siteagent/v1${path}`, String(access_token), body);
}

/** As after a minute and a half without a word. */
async function endLease(site: TestSite, id: string): Promise<void> {
  await site.killHub();
  const file = (await readdir(join(site.root, "hub"))).find((name) => /\.(db|sqlite3?)$/.test(name));
  const database = new DatabaseSync(join(site.root, "hub", file ?? ""));
  database.prepare("UPDATE jobs SET lease_expires_at = 1 WHERE id = ?").run(id);
  database.close();
  await site.restartHub();
}

describe("an agent that hangs while its process lives", () => {
  it("H2, A23: its unconfirmed claim falls back and runs elsewhere, once; awake again it starts nothing of it and follows what it had", async () => {
    await using site = await TestSite.start({ apps: { untilGo, quick }, slots: 2 });
    await site.startAgent();
    const { id } = await site.submit("untilGo");
    await site.waitFor(id, (job) => job.state === "RUNNING", "RUNNING");
    const work = await site.workDirectory();
    const control = new Control(site);
    await control.until("it listens", ({ api }) => api.reachable);
    site.agent?.signal("SIGSTOP");
    // The long poll is answered into the socket of a process that does not read.
    const { id: lost } = await site.submit("quick");
    await waitFor(async () => (await site.client.job(lost)).site !== null, {
      what: "the assignment",
      timeoutMs: 60_000,
    });
    await endLease(site, lost);
    const call = await neighbour(site);
    const claim = await waitFor(() => call(`/jobs/${lost}:claim`, {}), { what: "the other claim", timeoutMs: 60_000 });
    const told = { job: lost, op_id: claim["op_id"], epoch: claim["epoch"], phase: "none", at, attempt: 1 };
    const reports = [
      { ...told, seq: 1, state: "RUNNING", done: false },
      { ...told, seq: 2, state: "JOB_FINISHED", done: true, outputs: [] },
    ];
    expect(await call("/reports", { reports })).toMatchObject({
      results: [{ outcome: "applied" }, { outcome: "applied" }],
    });
    site.agent?.signal("SIGCONT");
    await control.until(
      "it has spoken again",
      ({ api, jobs }) => {
        return (
          api.reachable &&
          Date.parse(api.last_sync_at ?? "") > Date.now() - 20_000 &&
          jobs.every((job) => job.id === id)
        );
      },
      90_000,
    );
    expect(await site.client.job(lost)).toMatchObject({ status: "FINISHED", site: "neighbour" });
    expect((await site.starts()).size).toBe(1);
    expect(await control.job(id)).toMatchObject({ state: "RUNNING", fenced: null });

    // Hung for good: the service manager kills it when the signs of life stop, and starts the next one.
    site.agent?.signal("SIGSTOP");
    await site.killAgent();
    await site.startAgent();
    await writeFile(join(work, "go"), "");
    expect(await site.ended(id, 90_000)).toMatchObject({ status: "FINISHED", attempt: 1 });
    expect(await site.imbalances([id])).toEqual([]);
  });
});

describe("jobs that use all of the processors", () => {
  /** Half of the lease of an unconfirmed claim (src/hub/v1/claims.ts). */
  const halfLeaseMs = 45_000;

  it("A22: claims are confirmed, orders carried out and ends told within half of a lease", async () => {
    const burners = availableParallelism() * 2;
    const burns = { command: traced("while [ ! -e go ]; do :; done; exit 0") };
    await using site = await TestSite.start({ apps: { burns, quick }, slots: burners + 1 });
    await site.startAgent();
    const ids = await Promise.all(Array.from({ length: burners }, async () => (await site.submit("burns")).id));
    for (const id of ids) await site.waitFor(id, (job) => job.state === "RUNNING", "RUNNING", 90_000);
    const began = performance.now();
    const { id } = await site.submit("quick");
    expect(await site.ended(id, halfLeaseMs)).toMatchObject({ status: "FINISHED" });
    for (const burning of ids) await site.client.cancel(burning, "enough");
    for (const burning of ids) expect(await site.ended(burning, halfLeaseMs)).toMatchObject({ status: "CANCELLED" });
    expect(performance.now() - began).toBeLessThan(2 * halfLeaseMs);
    expect(await site.imbalances([...ids, id])).toEqual([]);
  });
});
