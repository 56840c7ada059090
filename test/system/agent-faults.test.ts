/** What goes wrong around the agent: sources, destinations, central, its disk, its own process. */
import { appendFile, chmod, mkdir, readdir, readFile, rename, rm, stat, symlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { describe, expect, it } from "vitest";
import { json, raw, ScriptedServer } from "../helpers/scripted-server.ts";
import { runCli } from "../helpers/cli.ts";
import { TestSite, traced } from "../helpers/site.ts";
import { waitFor } from "../helpers/wait.ts";
import { Control } from "../integration/agent/control.ts";

const quick = { command: traced("exit 0") };
const untilGo = { command: traced("while [ ! -e go ]; do sleep 0.05; done; exit 0") };
const staged = {
  parameters: { url: { type: "string", from: "config.url" } },
  inputs: { text: { from: "{{config.url}}", to: "text.txt" } },
  command: traced("cat ../in/text.txt > result.txt"),
};

async function phaseIs(site: TestSite, id: string, phase: string): Promise<void> {
  await waitFor(async () => (await site.client.job(id)).phase === phase, {
    what: `phase ${phase}`,
    timeoutMs: 30_000,
  });
}

describe("inputs", () => {
  it("G1, BAL-17: that are missing or not allowed fail the job with a code and whose it is; nothing starts", async () => {
    await using site = await TestSite.start({ apps: { staged } });
    await site.startAgent();
    const missing = await site.submit("staged", { url: `file://${site.root}/inputs/none.txt` });
    const refused = await site.submit("staged", { url: "file:///etc/hostname" });
    await Promise.all([site.ended(missing.id), site.ended(refused.id)]);
    expect((await site.client.job(missing.id)).failure).toMatchObject({
      code: "STAGE_IN_TRANSFER_REFUSED",
      category: "user",
      message: expect.stringMatching(/none\.txt/),
    });
    expect((await site.client.job(refused.id)).failure).toMatchObject({
      code: "STAGE_IN_POLICY",
      category: "user",
      message: expect.stringMatching(/policy\.sources refuses.*not below/),
    });
    expect((await site.starts()).size).toBe(0);
  });

  it("BAL-17: whose server is away block the job until it is back; a cancel does not wait for a slow one", async () => {
    await using server = await ScriptedServer.start();
    const away = json(503, {});
    server.on("HEAD /a.txt", away).on("GET /a.txt", away);
    server.on("HEAD /slow.txt", () => {}).on("GET /slow.txt", () => {});
    await using site = await TestSite.start({ apps: { staged }, sources: [`${server.url}/`] });
    await site.startAgent();
    const blocked = await site.submit("staged", { url: `${server.url}/a.txt` });
    const slow = await site.submit("staged", { url: `${server.url}/slow.txt` });
    await phaseIs(site, slow.id, "staging");
    await waitFor(() => server.requests.some(({ path }) => path === "/slow.txt"), { what: "the slow request" });
    await site.client.cancel(slow.id, "too slow");
    expect(await site.ended(slow.id)).toMatchObject({ status: "CANCELLED" });
    await waitFor(() => server.requests.filter(({ path }) => path === "/a.txt").length > 1, { what: "a second try" });
    const there = raw(200, "text/plain", "text", { "content-length": "4" });
    server.on("HEAD /a.txt", there).on("GET /a.txt", there);
    expect(await site.ended(blocked.id, 60_000)).toMatchObject({ status: "FINISHED" });
    expect(await site.imbalances([blocked.id, slow.id])).toEqual([]);
  });
});

describe("the cache of inputs", () => {
  it("is used by later jobs, shown by status and looked at by the doctor", async () => {
    await using server = await ScriptedServer.start();
    const there = raw(200, "text/plain", "text", { "content-length": "4", etag: '"1"' });
    server.on("HEAD /a.txt", there).on("GET /a.txt", there);
    await using site = await TestSite.start({
      apps: { staged },
      sources: [`${server.url}/`],
      cache: { max_size: "1GiB" },
    });
    await site.startAgent();
    for (let count = 0; count < 2; count++) {
      const { id } = await site.submit("staged", { url: `${server.url}/a.txt` });
      expect(await site.ended(id)).toMatchObject({ status: "FINISHED" });
    }
    expect(server.requests.filter(({ method }) => method === "GET")).toHaveLength(1);
    const directory = join(site.root, "work", "input-cache");
    expect((await new Control(site).status()).cache).toMatchObject({ directory, files: 1, hits: 1, saved_bytes: 4 });
    const doctor = async (): Promise<unknown> => {
      const { stdout } = await runCli(["doctor", "--config", site.siteFile, "-o", "json"]);
      const { checks } = JSON.parse(stdout) as { checks: { id: string }[] };
      return checks.find(({ id }) => id === "input-cache");
    };
    expect(await doctor()).toMatchObject({ result: "ok", found: expect.stringContaining(directory) });
    await chmod(directory, 0o777);
    expect(await doctor()).toMatchObject({
      result: "error",
      found: expect.stringContaining("others may write to it"),
      repair: `chmod 700 '${directory}'`,
    });
  });
});

describe("outputs", () => {
  it("BAL-17: that cannot be delivered fail the job and keep its exit code and data", async () => {
    await using site = await TestSite.start({
      apps: {
        made: {
          command: traced("echo precious > result.txt"),
          outputs: { result: { from: "result.txt", to: "file:///somewhere/else/result.txt" } },
        },
      },
    });
    await site.startAgent();
    const { id } = await site.submit("made");
    await site.ended(id);
    const job = await site.client.job(id);
    expect(job).toMatchObject({ status: "FAILED", failure: { code: "STAGE_OUT_POLICY" }, end: { exit_code: 0 } });
    const { directory } = await new Control(site).job(id);
    expect(await readFile(join(directory, "work", "result.txt"), "utf8")).toBe("precious\n");
  });

  it("F15: whose destination refuses them hold the job: end and data are kept, and it goes on when a person says so", async () => {
    await using site = await TestSite.start({
      apps: {
        made: {
          command: traced("echo precious > result.txt"),
          outputs: { result: { from: "result.txt", to: "$DELIVERED/result.txt" } },
        },
      },
    });
    await site.startAgent();
    await rename(site.delivered, `${site.delivered}.away`);
    const { id } = await site.submit("made");
    await site.waitFor(id, (job) => job.status === "PAUSED", "PAUSED");
    const held = await site.client.job(id);
    expect(held).toMatchObject({
      state: "POSTPROCESSED",
      end: { exit_code: 0 },
      failure: null,
      hold: { by: "siteagent" },
    });
    expect(held.hold?.reason).toMatch(/has succeeded and its outputs cannot be delivered: .*resumed or cancelled/);
    // Also by an agent that knows it from its journal alone.
    await site.killAgent();
    await site.startAgent();
    const { directory } = await new Control(site).job(id);
    expect(await readFile(join(directory, "work", "result.txt"), "utf8")).toBe("precious\n");
    await rename(`${site.delivered}.away`, site.delivered);
    await site.client.resume(id);
    expect(await site.ended(id)).toMatchObject({ status: "FINISHED" });
    expect(await readFile(join(site.delivered, "result.txt"), "utf8")).toBe("precious\n");
    expect(await site.imbalances([id])).toEqual([]);
  });

  it("for the hub wait until its credentials are accepted again", async () => {
    await using site = await TestSite.start({
      apps: { made: { command: untilGo.command, outputs: { go: { from: "go" } } } },
    });
    await site.startAgent();
    const { id } = await site.submit("made");
    await site.waitFor(id, (job) => job.state === "RUNNING", "RUNNING");
    const secret = await readFile(join(site.root, "secret"), "utf8");
    // A new process knows no token any more.
    await site.killAgent();
    await writeFile(join(site.root, "secret"), "not the secret");
    await site.startAgent();
    const control = new Control(site);
    await writeFile(join(await site.workDirectory(), "go"), "");
    await control.untilJob("blocked", id, (job) => job.state === "POSTPROCESSED" && job.hold?.kind === "blocked");
    const refused = await control.status();
    expect(refused.api.reachable).toBe(false);
    expect(refused.problems.length).toBeGreaterThan(0);
    await writeFile(join(site.root, "secret"), secret);
    expect(await site.ended(id, 90_000)).toMatchObject({ status: "FINISHED" });
    expect(await site.imbalances([id])).toEqual([]);
  });
});

describe("orders", () => {
  it("to pause and resume hold a job before its start, also when told while the agent is away", async () => {
    await using server = await ScriptedServer.start();
    server.on("HEAD /a.txt", json(503, {})).on("GET /a.txt", json(503, {}));
    await using site = await TestSite.start({ apps: { staged }, sources: [`${server.url}/`] });
    await site.startAgent();
    const { id } = await site.submit("staged", { url: `${server.url}/a.txt` });
    await phaseIs(site, id, "staging");
    await site.killAgent();
    await site.client.pause(id, "later");
    await site.startAgent();
    await site.waitFor(id, (job) => job.status === "PAUSED", "PAUSED");
    await new Control(site).untilJob("paused here", id, (job) => job.hold?.kind === "paused");
    const there = raw(200, "text/plain", "text", { "content-length": "4" });
    server.on("HEAD /a.txt", there).on("GET /a.txt", there);
    await site.client.resume(id, "now");
    expect(await site.ended(id)).toMatchObject({ status: "FINISHED", attempt: 1 });
    expect(await site.imbalances([id])).toEqual([]);
  });

  it.each([
    "order.after-receive",
    "cancel.before-intent",
    "cancel.after-intent",
    "cancel.before-stop",
    "cancel.after-stop",
    "cancel.before-record",
    "cancel.after-record",
  ])("a cancel is carried out although the agent died at %s", async (point) => {
    await using site = await TestSite.start({ apps: { long: { command: traced("exec sleep 300") } } });
    const agent = await site.startAgent({ failpoints: `${point}=kill`, wait: false });
    const { id } = await site.submit("long");
    await site.waitFor(id, (job) => job.state === "RUNNING", "RUNNING");
    await site.client.cancel(id, "enough");
    expect(await agent.finished).toMatchObject({ signal: "SIGKILL" });
    await site.startAgent();
    expect(await site.ended(id)).toMatchObject({ status: "CANCELLED", attempt: 1 });
    expect(await site.imbalances([id])).toEqual([]);
  });
});

describe("a job that is taken away", () => {
  it("is not written for any more, its process is left alone, and status says so", async () => {
    await using site = await TestSite.start({ apps: { untilGo, quick } });
    await site.startAgent();
    const control = new Control(site);
    const { id } = await site.submit("untilGo");
    await site.waitFor(id, (job) => job.state === "RUNNING", "RUNNING");
    const work = await site.workDirectory();
    const changes = (await control.job(id)).history.length;
    await handAway(site, id);
    await control.post("/v1/sync");
    const fenced = await control.untilJob("fenced", id, (job) => job.fenced !== null);
    expect(fenced).toMatchObject({ state: "RUNNING", unsent: 0 });
    expect((await control.status()).problems.map((problem) => problem.what).join()).toContain(id);
    // A restart changes nothing of that.
    await site.killAgent();
    await site.startAgent();
    await control.untilJob("still fenced", id, (job) => job.fenced !== null);
    expect((await control.job(id)).history.length).toBe(changes);
    const other = await site.submit("quick");
    expect(await site.ended(other.id)).toMatchObject({ status: "FINISHED" });
    await writeFile(join(work, "go"), "");
    await control.until("forgotten", ({ jobs }) => jobs.every((job) => job.id !== id));
    expect((await stat(work)).isDirectory()).toBe(true);
    expect(await site.client.job(id)).toMatchObject({ state: "RUNNING", ended_at: null });
  });
});

describe("the journal's disk", () => {
  it("fails: the agent ends with 74, the attempt goes on and is adopted by the next start", async () => {
    await using site = await TestSite.start({ apps: { untilGo } });
    const agent = await site.startAgent({ failpoints: "journal.before-sync=error@7", wait: false });
    const { id } = await site.submit("untilGo");
    expect(await agent.finished).toMatchObject({ code: 74 });
    await waitFor(async () => (await site.starts()).size === 1, { what: "the attempt's own word that it runs" });
    await site.startAgent();
    await site.waitFor(id, (job) => job.state === "RUNNING", "RUNNING");
    await writeFile(join(await site.workDirectory(), "go"), "");
    expect(await site.ended(id)).toMatchObject({ status: "FINISHED", attempt: 1 });
    expect(await site.imbalances([id])).toEqual([]);
  });

  it("has too little space for new jobs: none is claimed, and status says why", async () => {
    await using site = await TestSite.start({ apps: { quick }, agent: { min_free_space: "1000TiB" } });
    await site.startAgent();
    const control = new Control(site);
    const { id } = await site.submit("quick");
    const status = await control.until("the problem", ({ problems }) => problems.length > 0);
    expect(status.problems[0]?.what).toMatch(/min_free_space/);
    await control.post("/v1/sync");
    await control.until("another round", ({ api }) => api.last_sync_at !== status.api.last_sync_at);
    expect((await site.client.job(id)).site).toBeNull();
  });
});

describe("poison", () => {
  /** An agent that died twice in the same step of one job, started again without what killed it. */
  async function quarantined() {
    const site = await TestSite.start({ apps: { staged, quick } });
    await mkdir(join(site.root, "inputs"));
    await writeFile(join(site.root, "inputs", "a.txt"), "text");
    const failpoints = "stage.after-directories=kill";
    const first = await site.startAgent({ failpoints, wait: false });
    const { id } = await site.submit("staged", { url: `file://${site.root}/inputs/a.txt` });
    expect(await first.finished).toMatchObject({ signal: "SIGKILL" });
    const second = await site.startAgent({ failpoints, wait: false });
    expect(await second.finished).toMatchObject({ signal: "SIGKILL" });
    await site.startAgent();
    const control = new Control(site);
    const held = await control.untilJob("quarantined", id, (job) => /quarantined/.test(job.hold?.reason ?? ""));
    expect(held).toMatchObject({ state: "READY", hold: { kind: "blocked" } });
    return { site, id };
  }

  it("B12: a job in whose step the agent dies twice is quarantined; the others are served; a cancel ends it", async () => {
    const { site, id } = await quarantined();
    await using _ = site;
    const other = await site.submit("quick");
    expect(await site.ended(other.id)).toMatchObject({ status: "FINISHED" });
    expect(await site.client.job(id)).toMatchObject({ status: "BLOCKED" });
    await site.client.cancel(id, "poison");
    expect(await site.ended(id)).toMatchObject({ status: "CANCELLED", attempt: 0 });
  });

  it.each(["hub", "site"] as const)("a quarantined job goes on when a person at the %s says so", async (where) => {
    const { site, id } = await quarantined();
    await using _ = site;
    if (where === "hub") await site.client.resume(id, "the machine was restarted, the job is well");
    else expect(await runCli(["resume", id, "--config", site.siteFile])).toMatchObject({ code: 0 });
    expect(await site.ended(id)).toMatchObject({ status: "FINISHED" });
    expect(await site.imbalances([id])).toEqual([]);
  });
});

describe("what is kept", () => {
  it("is removed after its time, read-only directories too, nothing outside, and not before the end is reported", async () => {
    await using site = await TestSite.start({
      agent: { keep: "0s" },
      apps: {
        made: {
          command: traced('mkdir deep; echo x > deep/x; chmod 500 deep; ln -s "$1" outside; exit 0').concat(
            "made",
            "/nowhere",
          ),
        },
      },
    });
    const outside = join(site.root, "delivered");
    await appendFile(join(outside, "precious"), "x");
    await site.startAgent();
    const { id } = await site.submit("made");
    await site.waitFor(id, (job) => job.ended_at !== null, "the end");
    const control = new Control(site);
    const { directory } = await control.job(id);
    await rm(join(directory, "work", "outside"));
    await symlink(outside, join(directory, "work", "outside"));
    await chmod(join(directory, "work"), 0o500);
    await site.killAgent();
    // The first round of cleaning comes with the start.
    await site.startAgent();
    await control.until("forgotten", (status) => status.mode === "running" && status.jobs.length === 0);
    await expect(stat(directory)).rejects.toThrow(/ENOENT/);
    expect(await readFile(join(outside, "precious"), "utf8")).toBe("x");
  });

  it("stays while central has not acknowledged the end", async () => {
    await using site = await TestSite.start({ agent: { keep: "0s" }, apps: { untilGo } });
    await site.startAgent();
    const { id } = await site.submit("untilGo");
    await site.waitFor(id, (job) => job.state === "RUNNING", "RUNNING");
    const work = await site.workDirectory();
    await site.killHub();
    await writeFile(join(work, "go"), "");
    const control = new Control(site);
    await control.untilJob("its end", id, (job) => job.ended_at !== null);
    await site.killAgent();
    await site.startAgent();
    await control.untilJob("kept", id, (job) => job.unsent > 0);
    expect((await stat(work)).isDirectory()).toBe(true);
    await site.restartHub();
    expect(await site.ended(id, 60_000)).toMatchObject({ status: "FINISHED" });
  });
});

/** As after a restored database: the hub has given the job to somebody else meanwhile. */
async function handAway(site: TestSite, id: string): Promise<void> {
  await site.killHub();
  const names = await readdir(join(site.root, "hub"));
  const file = names.find((name) => /\.(db|sqlite3?)$/.test(name));
  if (file === undefined) throw new Error(`no database among ${names.join(", ")}`);
  const db = new DatabaseSync(join(site.root, "hub", file));
  db.prepare("UPDATE jobs SET epoch = epoch + 1 WHERE id = ?").run(id);
  db.close();
  await site.restartHub();
}
