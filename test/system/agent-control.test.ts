/** The agent's own switches: pause, drain with hand-back, stop, reload, one instance. */
import { readFile, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { json, raw, ScriptedServer } from "../helpers/scripted-server.ts";
import { TestSite, traced } from "../helpers/site.ts";
import { waitFor } from "../helpers/wait.ts";
import { Control } from "../integration/agent/control.ts";

const untilGo = traced("while [ ! -e go ]; do sleep 0.05; done; exit 0");
const quick = { command: traced("exit 0") };

/** A site with a job that runs until its `go` file is there. */
async function running(options: Partial<Parameters<typeof TestSite.start>[0]> = {}) {
  const site = await TestSite.start({ apps: { work: { command: untilGo }, quick }, ...options });
  await site.startAgent();
  const { id } = await site.submit("work");
  await site.waitFor(id, (job) => job.state === "RUNNING", "RUNNING");
  const work = await site.workDirectory();
  return { site, id, control: new Control(site), go: async () => writeFile(join(work, "go"), "") };
}

describe("pause", () => {
  it("takes nothing new, also after a restart, leaves what runs alone, and ends by itself or by resume", async () => {
    const { site, id, control, go } = await running();
    await using _ = site;
    await control.post("/v1/pause", { reason: "tea", by: "ada" });
    const late = await site.submit("quick");
    await go();
    expect(await site.ended(id)).toMatchObject({ status: "FINISHED" });
    await site.killAgent();
    await site.startAgent();
    expect(await control.until("paused", (status) => status.mode === "paused")).toMatchObject({
      mode_reason: "tea",
      mode_by: "ada",
    });
    // Two rounds with the hub later it has still not been taken.
    for (let round = 0; round < 2; round++) {
      const { api } = await control.status();
      await control.post("/v1/sync");
      await control.until("another round", (status) => status.api.last_sync_at !== api.last_sync_at);
    }
    expect(await site.client.job(late.id)).toMatchObject({ state: "READY", attempt: 0 });
    const until = new Date(Date.now() + 1_500).toISOString();
    await control.post("/v1/pause", { reason: "more tea", until });
    expect(await site.ended(late.id)).toMatchObject({ status: "FINISHED" });
    expect((await control.status()).mode).toBe("running");
    expect(Date.now()).toBeGreaterThanOrEqual(Date.parse(until));
  });
});

/** Waits until nobody holds the job. */
async function isFree(site: TestSite, id: string): Promise<void> {
  const free = async (): Promise<boolean> => {
    const job = await site.client.job(id);
    return job.state === "READY" && job.site === null;
  };
  await waitFor(free, { what: "the job handed back", timeoutMs: 30_000 });
}

describe("drain", () => {
  /** A job that is held and cannot start: the server of its input is down. */
  async function waiting(failpoints?: string, dialect: "hub" | "nmdc" = "hub") {
    const server = await ScriptedServer.start();
    server.on("HEAD /in.txt", json(503, {})).on("GET /in.txt", json(503, {}));
    const inputs = { text: { from: `${server.url}/in.txt`, to: "in.txt" } };
    const site = await TestSite.start({
      dialect,
      sources: [`${server.url}/`],
      apps: { staged: { inputs, command: traced("cat ../in/in.txt") }, work: { command: untilGo } },
    });
    const agent = await site.startAgent(failpoints === undefined ? {} : { failpoints, wait: false });
    const { id } = await site.submit("staged");
    await waitFor(() => server.requests.length > 0, { what: "the first try to stage", timeoutMs: 30_000 });
    const repair = (): void => {
      const answer = raw(200, "text/plain", "some text", { "content-length": "9" });
      server.on("HEAD /in.txt", answer).on("GET /in.txt", answer);
    };
    return { site, server, agent, id, repair, control: new Control(site) };
  }

  it("hands back what has not begun, lets end what runs, then is drained; resume takes it again", async () => {
    const { site, server, id, control, repair } = await waiting();
    await using _server = server;
    await using _site = site;
    const runs = await site.submit("work");
    await site.waitFor(runs.id, (job) => job.state === "RUNNING", "RUNNING");
    const { directory } = await control.job(runs.id);
    expect((await control.post("/v1/drain", { reason: "upgrade" })).status).toBe(200);
    await isFree(site, id);
    expect(await site.client.job(id)).toMatchObject({ attempt: 0, ended_at: null });
    const draining = await control.until("only the running one held", ({ jobs }) => jobs.length === 1);
    expect(draining).toMatchObject({ mode: "draining", jobs: [{ id: runs.id }] });
    await writeFile(join(directory, "work", "go"), "");
    expect(await site.ended(runs.id)).toMatchObject({ status: "FINISHED" });
    await control.until("drained", (status) => status.mode === "drained");
    repair();
    await control.post("/v1/resume");
    expect(await site.ended(id)).toMatchObject({ status: "FINISHED", attempt: 1 });
    expect(await site.imbalances([id, runs.id])).toEqual([]);
  });

  it("a job that is just being handed back is not said to be taken from the site; its directories go", async () => {
    const { site, server, id, control } = await waiting("release.after-send=hang");
    await using _server = server;
    await using _site = site;
    const { directory } = await control.job(id);
    await control.post("/v1/drain", { reason: "upgrade" });
    await isFree(site, id);
    for (let looks = 0; looks < 2; looks++) {
      const last = (await control.status()).api.last_sync_at;
      await control.until("another look at central", ({ api }) => api.last_sync_at !== last);
    }
    expect((await control.status()).problems.filter(({ what }) => what.includes("taken"))).toEqual([]);
    await site.killAgent();
    await site.startAgent();
    await control.until("drained", (status) => status.mode === "drained" && status.jobs.length === 0);
    await expect(stat(directory)).rejects.toThrow("ENOENT");
  });

  it("hands back in the plain dialect too: the claim is released and its operation closed", async () => {
    const { site, server, id, control, repair } = await waiting(undefined, "nmdc");
    await using _server = server;
    await using _site = site;
    const { op_id: first } = await control.job(id);
    await control.post("/v1/drain", { reason: "upgrade" });
    await control.until("drained", (status) => status.mode === "drained" && status.jobs.length === 0);
    expect(await site.operation(first)).toMatchObject({ done: true });
    repair();
    await control.post("/v1/resume");
    const job = await site.ended(id);
    expect(job).toMatchObject({ status: "FINISHED", attempt: 1 });
    expect(job.op_id).not.toBe(first);
    expect((await site.starts()).size).toBe(1);
  });

  it.each(["release.before-intent", "release.after-intent", "release.before-send", "release.after-send"])(
    "killed at %s the hand-back is finished by the next start",
    async (point) => {
      const { site, server, agent, id, control, repair } = await waiting(`${point}=kill`);
      await using _server = server;
      await using _site = site;
      await control.post("/v1/drain", { reason: "upgrade" }).catch(() => undefined);
      expect(await agent.finished).toMatchObject({ signal: "SIGKILL" });
      await site.startAgent();
      await isFree(site, id);
      await control.until("drained", (status) => status.mode === "drained" && status.jobs.length === 0);
      repair();
      await control.post("/v1/resume");
      expect(await site.ended(id)).toMatchObject({ status: "FINISHED", attempt: 1 });
      expect((await site.starts()).size).toBe(1);
    },
  );

  it("with exit ends with 76 when the last job is over, told by socket or QUIT", async () => {
    const { site, id, control, go } = await running();
    await using _ = site;
    const first = site.agent;
    first?.signal("SIGQUIT");
    await control.until("draining", (status) => status.mode === "draining");
    await go();
    expect(await first?.finished).toMatchObject({ code: 76 });
    expect(await site.client.job(id)).toMatchObject({ status: "FINISHED" });
    const second = await site.startAgent();
    await control.until("drained", (status) => status.mode === "drained");
    await control.post("/v1/drain", { exit: true }).catch(() => undefined);
    expect(await second.finished).toMatchObject({ code: 76 });
  });
});

describe("signals", () => {
  it("H7: TERM twice at once is one orderly stop; USR1 writes the state to the log and nothing else", async () => {
    const { site, id, control, go } = await running();
    await using _ = site;
    const agent = site.agent;
    agent?.signal("SIGUSR1");
    await agent?.output(/state dump/);
    expect((await control.status()).mode).toBe("running");
    agent?.signal("SIGTERM");
    agent?.signal("SIGTERM");
    expect(await agent?.finished).toMatchObject({ code: 0 });
    await site.startAgent();
    await go();
    expect(await site.ended(id)).toMatchObject({ status: "FINISHED", attempt: 1 });
  });

  it("TERM during the start is an orderly stop", async () => {
    await using site = await TestSite.start({ apps: { quick } });
    const agent = await site.startAgent({ wait: false, failpoints: "agent.before-journal=delay:1000" });
    await waitFor(() => readFile(join(site.root, "state", "agent-id")), { what: "the start under way" });
    agent.signal("SIGTERM");
    expect(await agent.finished).toMatchObject({ code: 0 });
  });
});

describe("one instance", () => {
  it("H12: a second agent on the same state directory ends with 75 and names the first", async () => {
    const { site, id, go } = await running();
    await using _ = site;
    const first = site.agent;
    const second = await site.startAgent({ wait: false });
    const { code, stdout, stderr } = await second.finished;
    expect(code).toBe(75);
    expect(`${stdout}${stderr}`).toContain(String(first?.pid));
    site.agent = first;
    await go();
    expect(await site.ended(id)).toMatchObject({ status: "FINISHED", attempt: 1 });
  });
});

describe("reload", () => {
  it("H10: of a bad file keeps the old one and says so until it is mended; a good one is taken by itself", async () => {
    await using site = await TestSite.start({ apps: { quick } });
    await site.startAgent();
    const control = new Control(site);
    await control.until("running", (status) => status.mode === "running");
    const text = await readFile(site.siteFile, "utf8");
    await writeFile(site.siteFile, `${text}\nsurprise: 1\n`);
    const bad = await control.until("the problem", (status) => status.config.problem !== null);
    expect(bad.config.problem).toMatch(/surprise/);
    const answer = await control.post("/v1/reload");
    expect(answer.body).toMatchObject({ code: "CONFIG" });
    const { id } = await site.submit("quick");
    expect(await site.ended(id)).toMatchObject({ status: "FINISHED" });
    await writeFile(site.siteFile, text.replace("slots: 4", "slots: 2"));
    const good = await control.until("the new file", (status) => status.targets[0]?.slots === 2);
    expect(good.config.problem).toBeNull();
    expect(good.problems).toEqual([]);
  });

  it("H11: that removes the target of a running job: it is followed to its end, and nothing new is taken", async () => {
    const { site, id, control, go } = await running();
    await using _ = site;
    const text = await readFile(site.siteFile, "utf8");
    const moved = text.replace(/^ {2}local:$/m, "  other:").replaceAll("target: local", "target: other");
    expect(moved).not.toBe(text);
    await writeFile(site.siteFile, moved);
    await control.until("the new target", (status) => status.targets[0]?.name === "other");
    await go();
    expect(await site.ended(id)).toMatchObject({ status: "FINISHED", attempt: 1, end: { exit_code: 0 } });
  });

  it("H11: a restart without the target of a running job waits and says so; the job can be cancelled once it is back", async () => {
    const { site, id, control } = await running();
    await using _ = site;
    const text = await readFile(site.siteFile, "utf8");
    await site.killAgent();
    await writeFile(
      site.siteFile,
      text.replace(/^ {2}local:$/m, "  other:").replaceAll("target: local", "target: other"),
    );
    await site.startAgent();
    await control.untilJob("a word about the target", id, (job) => /target 'local'/.test(job.waiting ?? ""));
    await site.client.cancel(id, "enough");
    await control.untilJob("cancelling", id, (job) => job.hold?.kind === "cancelling");
    const { journal } = await control.status();
    expect((await control.job(id)).state).toBe("RUNNING");
    await writeFile(site.siteFile, text);
    await control.until("the target back", (status) => status.targets[0]?.name === "local");
    expect(await site.ended(id)).toMatchObject({ status: "CANCELLED" });
    // Waiting for the target wrote no journal full.
    expect((await control.status()).journal.records - journal.records).toBeLessThan(30);
    expect(await site.imbalances([id])).toEqual([]);
  });
});
