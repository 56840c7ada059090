/** What status says for people: why a job waits, which changed settings need a restart, what happens next. */
import { readFile, rename, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { json, ScriptedServer } from "../helpers/scripted-server.ts";
import { TestSite, traced } from "../helpers/site.ts";
import { Control } from "../integration/agent/control.ts";

const untilGo = { command: traced("while [ ! -e go ]; do sleep 0.05; done") };
const quick = { command: traced("exit 0") };

describe("a job that waits", () => {
  it("says for what: its next attempt, a pause, an input, an order to end", async () => {
    await using server = await ScriptedServer.start();
    server.on("HEAD /in.txt", json(503, {})).on("GET /in.txt", json(503, {}));
    const apps = {
      fails: { command: traced("exit 9"), retry: { attempts: 2, on: ["exit:9"], delay: "1h" } },
      staged: { inputs: { text: { from: `${server.url}/in.txt`, to: "in.txt" } }, command: traced("exit 0") },
    };
    await using site = await TestSite.start({ apps, sources: [`${server.url}/`] });
    await site.startAgent();
    const control = new Control(site);
    const waits = async (id: string, words: RegExp) =>
      control.untilJob(String(words), id, (job) => words.test(job.waiting ?? ""));

    const failed = await site.submit("fails");
    await waits(failed.id, /^waits for its next attempt until 20\d\d-.*Z$/);
    expect(await control.job(failed.id)).toMatchObject({ state: "RESTART_READY", attempt: 1 });

    const staged = await site.submit("staged");
    await waits(staged.id, /^blocked \(try \d+\): .*; next try 20\d\d-.*Z$/);
    await site.client.pause(staged.id, "the server is being mended");
    await waits(staged.id, /^paused by \S+: the server is being mended$/);

    const status = await control.until("what happens next", ({ next }) =>
      next.some((line) => /2 jobs wait/.test(line)),
    );
    expect(status.next.join("\n")).toMatch(/listen for work/);
    expect((await control.get("/v1/jobs")).body).toMatchObject({ jobs: [{ id: failed.id }, { id: staged.id }] });
    for (const { id } of [failed, staged]) {
      await site.client.cancel(id, "seen");
      expect(await site.ended(id)).toMatchObject({ status: "CANCELLED" });
    }
    const { history } = await control.job(staged.id);
    expect(history.at(-1)).toMatchObject({ state: "CANCELLED", message: "seen" });
  });

  it("for a slot says how many are in use, and goes on when one is free", async () => {
    await using site = await TestSite.start({ apps: { work: untilGo, quick }, slots: 2 });
    await site.startAgent();
    const control = new Control(site);
    const [first, second] = [await site.submit("work"), await site.submit("work")];
    for (const { id } of [first, second]) await site.waitFor(id, (job) => job.state === "RUNNING", "RUNNING");
    await site.replaceInSiteFile("slots: 2", "slots: 3");
    await control.until("three slots", ({ targets }) => targets[0]?.slots === 3);
    const third = await site.submit("work");
    await site.waitFor(third.id, (job) => job.state === "RUNNING", "RUNNING");
    const status = await control.status();
    expect(status.targets).toMatchObject([{ slots: 3, used: 3, problem: null }]);
    expect(status.apps).toMatchObject([
      { name: "work", running: 3 },
      { name: "quick", running: 0 },
    ]);
    expect(status.next).toContain("follow 3 running attempts");
    await control.post("/v1/pause", { reason: "tea", by: "ada" });
    expect((await control.status()).next.join("\n")).toMatch(/no new work: paused/);
    for (const { id } of [first, second, third]) {
      await writeFile(join((await control.job(id)).directory, "work", "go"), "");
      expect(await site.ended(id)).toMatchObject({ status: "FINISHED" });
    }
  });
});

describe("a changed site file", () => {
  it("says which settings wait for a restart while the others hold at once, and no more when they are put back", async () => {
    await using site = await TestSite.start({ apps: { quick } });
    await site.startAgent();
    const control = new Control(site);
    await control.until("running", ({ mode }) => mode === "running");
    const text = await readFile(site.siteFile, "utf8");
    const changed = text
      .replace("poll: 200ms", "poll: 300ms")
      .replace("runtime_dir: run", "runtime_dir: run2")
      .replace("slots: 4", "slots: 3")
      .replace(/^site: .*$/m, "site: another");
    await writeFile(site.siteFile, changed);
    const restart = await control.until("the problem", ({ problems }) =>
      problems.some(({ what }) => /restart/.test(what)),
    );
    expect(restart.problems).toMatchObject([
      {
        what: "changed settings need a restart: site, api, agent.state_dir, agent.runtime_dir",
        repair: expect.stringContaining("restart"),
      },
    ]);
    expect(restart.targets).toMatchObject([{ slots: 3 }]);
    // A further change does not make that one go away: the process still runs on what it began with.
    await writeFile(site.siteFile, changed.replace("slots: 3", "slots: 5"));
    expect((await control.until("five slots", ({ targets }) => targets[0]?.slots === 5)).problems).toHaveLength(1);
    await writeFile(site.siteFile, text);
    await control.until("no problem", ({ problems, targets }) => problems.length === 0 && targets[0]?.slots === 4);
    const { id } = await site.submit("quick");
    expect(await site.ended(id)).toMatchObject({ status: "FINISHED" });
  });

  it("that is gone for a moment changes nothing, and all who ask for a reload at once are answered", async () => {
    await using site = await TestSite.start({ apps: { quick } });
    await site.startAgent();
    const control = new Control(site);
    await control.until("running", ({ mode }) => mode === "running");
    await rename(site.siteFile, `${site.siteFile}.away`);
    const gone = await control.post("/v1/reload");
    expect(gone.body).toMatchObject({ code: "CONFIG" });
    expect((await control.status()).config.problem).toMatch(/site\.yaml/);
    await rename(`${site.siteFile}.away`, site.siteFile);
    const answers = await Promise.all(Array.from({ length: 4 }, () => control.post("/v1/reload")));
    expect(answers.map(({ status }) => status)).toEqual([200, 200, 200, 200]);
    expect(await control.status()).toMatchObject({ config: { problem: null }, problems: [] });
  });
});
