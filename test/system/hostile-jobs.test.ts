/** Jobs and requests that try to hang or mislead the agent: they harm themselves alone. */
import { stat } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { TestSite, traced } from "../helpers/site.ts";
import { Control, rawControl } from "../integration/agent/control.ts";

/** More than the threads that a process has for its files. */
const many = 6;

describe("jobs that put something else in the place of their evidence and output", () => {
  it.each([
    ["fifos, which hold up who opens them", 'mkfifo "$f"'],
    ["links to other files", 'ln -s "$SITEAGENT_JOB_DIR/../../secret" "$f"'],
    ["directories", 'mkdir "$f"'],
  ])(
    "%s: the agent serves the others, no end is taken for success by guess, nothing foreign is sent",
    async (_, make) => {
      const spoil = `cd "$SITEAGENT_ATTEMPT_DIR"; for f in out err rc timeout stop gone cgroup out.dropped; do rm -f "$f"; ${make}; done; exit 1`;
      await using site = await TestSite.start({
        slots: many + 1,
        apps: { spoils: { command: traced(spoil) }, good: { command: traced("echo all well; exit 0") } },
      });
      await site.startAgent();
      const control = new Control(site);
      const bad = await Promise.all(Array.from({ length: many }, () => site.submit("spoils")));
      for (const { id } of bad) await control.untilJob("started", id, (job) => job.attempt > 0);
      for (const { id } of bad) {
        const { job, log } = await lookAt(control, join(site.root, "run"), id);
        expect(job.status).not.toBe("FINISHED");
        expect(log).toBe("");
      }
      const { id } = await site.submit("good");
      expect(await site.ended(id)).toMatchObject({ status: "FINISHED" });
      for (const { id: spoilt } of bad) expect(await site.ended(spoilt, 60_000)).toMatchObject({ status: "FAILED" });
    },
  );
});

async function lookAt(control: Control, run: string, id: string) {
  const job = await control.job(id);
  const log = (await rawControl(run, "GET", `/v1/jobs/${encodeURIComponent(id)}/logs/stdout`, "")).text;
  return { job, log };
}

it("G1, BAL-13: a workflow that the site does not serve is known at the hub before anything is claimed, and stays free", async () => {
  await using site = await TestSite.start({ apps: { good: { command: traced("exit 0") } } });
  await site.client.registries.putWorkflow("other", { name: "other" });
  await site.startAgent();
  const other = await site.submit("other", { command: "/bin/sh", app: "good" });
  const good = await site.submit("good");
  expect(await site.ended(good.id)).toMatchObject({ status: "FINISHED" });
  const [told] = await site.client.sites();
  expect(told?.apps.map(({ workflow }) => workflow)).toEqual(["good"]);
  expect(await site.client.job(other.id)).toMatchObject({ state: "READY", status: "PENDING", site: null, attempt: 0 });
  expect((await site.starts()).size).toBe(1);
});

describe("BAL-28: a loop of the agent", () => {
  // The loops begin in one order: the number tells which of them passes the failpoint.
  it.each([
    ["outbox", 1],
    ["sync", 8],
  ])("('%s') that breaks off by an exception is begun again and shown; the site works on", async (loop, turn) => {
    await using site = await TestSite.start({ apps: { good: { command: traced("exit 0") } } });
    await site.startAgent({ failpoints: `loop.before-run=error@${turn}` });
    const broken = (what: string): boolean => what.startsWith(`the loop '${loop}' broke off`);
    await new Control(site).until("the loop shown", ({ problems }) => problems.some(({ what }) => broken(what)));
    const { id } = await site.submit("good");
    expect(await site.ended(id)).toMatchObject({ status: "FINISHED" });
    expect(site.agent?.running).toBe(true);
  });
});

describe("the control socket", () => {
  it("belongs to the account alone, and refuses in words what is no request of ours", async () => {
    await using site = await TestSite.start({ apps: { good: { command: traced("exit 0") } } });
    const agent = await site.startAgent();
    const { mode } = await stat(join(site.root, "run", "agent.sock"));
    expect((mode & 0o777).toString(8)).toBe("600");
    expect(((await stat(join(site.root, "run"))).mode & 0o077).toString(8)).toBe("0");
    for (const path of [
      "/v1/jobs/%ff",
      "//",
      "/v1/jobs/%2e%2e%2f",
      "/v1/status/..",
      "/v1/jobs/x/logs/..%2fsecret",
      "/v1/%00",
    ]) {
      const { status, text } = await rawControl(join(site.root, "run"), "GET", path, "");
      expect([400, 404], path).toContain(status);
      expect(JSON.parse(text)).toMatchObject({ detail: expect.any(String) });
    }
    expect(agent.stdout).not.toContain("a control call failed");
  });
});
