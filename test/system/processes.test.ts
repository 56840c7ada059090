/** What users and operators see of processes that do not behave. */
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, it } from "vitest";
import { TestSite, traced } from "../helpers/site.ts";
import { waitFor } from "../helpers/wait.ts";
import { Control } from "../integration/agent/control.ts";

it("D14: a job that was stopped is shown so, also by the next agent, and is cancelled like any other", async () => {
  const app = { command: traced("kill -STOP $$; exit 0") };
  await using site = await TestSite.start({ apps: { stops: app } });
  await site.startAgent();
  const { id } = await site.submit("stops");
  await site.waitFor(id, (job) => job.state === "RUNNING", "RUNNING");
  await waitFor(async () => (await site.starts()).size === 1, { what: "the start" });
  await site.killAgent();
  await site.startAgent();
  const seen = await new Control(site).untilJob("suspended", id, (job) => job.phase === "suspended");
  expect(seen).toMatchObject({ state: "RUNNING", waiting: expect.stringContaining("SIGSTOP") });
  await waitFor(async () => (await site.client.job(id)).phase === "suspended", { what: "the hub hears of it" });
  await site.client.cancel(id, "not needed");
  expect(await site.ended(id, 60_000)).toMatchObject({ status: "CANCELLED" });
  expect(await site.imbalances([id])).toEqual([]);
});

it("BAL-7a, BAL-26: the next attempt begins when nothing of the last is alive, and has an output of its own", async () => {
  const script = [
    `[ "$SITEAGENT_ATTEMPT" = 2 ] && { kill -0 "$(cat pid)" 2>/dev/null && exit 8; echo second; exit 0; }`,
    `setsid sh -c 'trap "" TERM; echo $$ >pid; sleep 300' &`,
    `until [ -s pid ]; do sleep 0.02; done; echo first; exit 9`,
  ].join("\n");
  const app = { command: traced(script), retry: { attempts: 2, on: ["exit:9"], delay: "0s" } };
  await using site = await TestSite.start({ apps: { leaves: app } });
  await site.startAgent();
  const { id } = await site.submit("leaves");
  expect(await site.ended(id, 60_000)).toMatchObject({ status: "FINISHED", attempt: 2 });
  const { attempts } = await new Control(site).job(id);
  const outputs = await Promise.all(attempts.map(({ directory }) => readFile(join(directory, "out"), "utf8")));
  expect(outputs).toEqual(["first\n", "second\n"]);
  expect(await site.imbalances([id])).toEqual([]);
});

it("H7: a second TERM later than a second ends a stop that hangs at once; the attempt goes on and is adopted", async () => {
  await using site = await TestSite.start({
    apps: { work: { command: traced("until [ -e go ]; do sleep 0.1; done") } },
  });
  const agent = await site.startAgent({ failpoints: "start.after-launch=hang" });
  const { id } = await site.submit("work");
  await waitFor(async () => (await site.starts()).size === 1, { what: "the start", timeoutMs: 30_000 });
  agent.signal("SIGTERM");
  await agent.output(/stopping; attempts go on/);
  const first = performance.now();
  await waitFor(() => performance.now() - first > 1_100, { what: "more than a second" });
  agent.signal("SIGTERM");
  expect(await agent.finished).toMatchObject({ code: 0 });
  // Without the second it waits ten seconds for what hangs.
  expect(performance.now() - first).toBeLessThan(9_000);
  await site.startAgent();
  await site.waitFor(id, (job) => job.state === "RUNNING", "RUNNING");
  await writeFile(join(await site.workDirectory(), "go"), "");
  expect(await site.ended(id)).toMatchObject({ status: "FINISHED", attempt: 1 });
  expect((await site.starts()).size).toBe(1);
});
