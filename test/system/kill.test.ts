/** SIGKILL of agent, runner and hub between claim, start, end and report: nothing is lost, nothing runs twice. */
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { TestSite, traced } from "../helpers/site.ts";

const work = {
  parameters: { url: { type: "string", from: "config.url" } },
  inputs: { text: { from: "{{config.url}}", to: "text.txt" } },
  outputs: { result: { from: "result.txt" } },
  hooks: { preprocess: { command: ["/bin/true"] } },
};

async function siteWithInput(dialect: "hub" | "nmdc", script: string): Promise<{ site: TestSite; url: string }> {
  const site = await TestSite.start({ dialect, apps: { work: { ...work, command: traced(script) } } });
  await mkdir(join(site.root, "inputs"));
  await writeFile(join(site.root, "inputs", "a.txt"), "some input\n");
  return { site, url: `file://${site.root}/inputs/a.txt` };
}

/** Before and after each side effect on the way of one job; where a dialect does not pass a point, it is left out. */
const points = {
  hub: [
    "claim.before-sync",
    "claim.after-sync",
    "claim.before-record",
    "claim.after-record",
    "stage.before-directories",
    "stage.after-directories",
    "stage.before-record",
    "stage.after-record",
    "hook.before-preprocess",
    "hook.after-preprocess",
    "start.before-intent",
    "start.after-intent",
    "start.before-launch",
    "start.after-launch",
    "start.after-record",
    "end.before-record",
    "end.after-record",
    "archive.before-record",
    "archive.after-record",
    "report.before-send",
    "report.after-send",
    "report.before-ack",
    "report.after-ack",
  ],
  nmdc: ["claim.before-send", "claim.after-send", "start.after-launch", "end.before-record", "report.after-send"],
} as const;

/** One job, an agent that dies at the failpoint, and the next one: the job ends well and the books balance. */
async function survives(dialect: "hub" | "nmdc", failpoints: string): Promise<void> {
  const { site, url } = await siteWithInput(dialect, "cat ../in/text.txt > result.txt");
  await using _ = site;
  const agent = await site.startAgent({ failpoints, wait: false });
  const { id } = await site.submit("work", { url });
  expect(await agent.finished).toMatchObject({ signal: "SIGKILL" });
  await site.startAgent();
  expect(await site.ended(id, 60_000)).toMatchObject({ status: "FINISHED" });
  expect(await site.imbalances([id])).toEqual([]);
  expect((await site.starts()).size).toBe(1);
}

describe.each(["hub", "nmdc"] as const)("the agent is killed, dialect %s", (dialect) => {
  it.each(points[dialect])("at %s: the next start goes on, each attempt runs once", async (point) => {
    await survives(dialect, `${point}=kill`);
  });
});

describe("the agent is killed after its n-th write to the disk", () => {
  it.each([2, 3, 4, 5, 6, 7, 8, 9, 10])("n = %i: the next start goes on, each attempt runs once", async (n) => {
    await survives("hub", `journal.after-sync=kill@${n}`);
  });
});

describe("while an attempt runs", () => {
  const script = "while [ ! -e go ]; do sleep 0.1; done; cat ../in/text.txt > result.txt; exit 0";

  async function running() {
    const { site, url } = await siteWithInput("hub", script);
    await site.startAgent();
    const { id } = await site.submit("work", { url });
    await site.waitFor(id, (job) => job.state === "RUNNING", "RUNNING");
    return { site, id, go: async () => writeFile(join(await site.workDirectory(), "go"), "") };
  }

  it("the agent is killed and started again: the attempt is adopted and its exit code known", async () => {
    const { site, id, go } = await running();
    await using _ = site;
    await site.killAgent();
    await go();
    await site.startAgent();
    expect(await site.ended(id)).toMatchObject({ status: "FINISHED", attempt: 1, end: { exit_code: 0 } });
    expect(await site.imbalances([id])).toEqual([]);
  });

  it("the runner is killed: the attempt goes on and its exit code is known", async () => {
    const { site, id, go } = await running();
    await using _ = site;
    site.killRunner();
    await go();
    expect(await site.ended(id)).toMatchObject({ status: "FINISHED", attempt: 1, end: { exit_code: 0 } });
    expect(await site.imbalances([id])).toEqual([]);
  });

  it("agent and runner are killed: the attempt goes on, is adopted, and its exit code is known", async () => {
    const { site, id, go } = await running();
    await using _ = site;
    await site.killAgent();
    site.killRunner();
    await go();
    await site.startAgent();
    expect(await site.ended(id)).toMatchObject({ status: "FINISHED", attempt: 1, end: { exit_code: 0 } });
    expect(await site.imbalances([id])).toEqual([]);
  });

  it("the hub is killed: the attempt goes on, and its end is told when the hub is back", async () => {
    const { site, id, go } = await running();
    await using _ = site;
    await site.killHub();
    await go();
    await site.restartHub();
    expect(await site.ended(id, 60_000)).toMatchObject({ status: "FINISHED", attempt: 1 });
    expect(await site.imbalances([id])).toEqual([]);
  });

  it("all three are killed: nothing is lost, nothing runs twice", async () => {
    const { site, id, go } = await running();
    await using _ = site;
    await site.killAgent();
    site.killRunner();
    await site.killHub();
    await go();
    await site.restartHub();
    await site.startAgent();
    expect(await site.ended(id, 60_000)).toMatchObject({ status: "FINISHED", attempt: 1 });
    expect(await site.imbalances([id])).toEqual([]);
  });

  it("TERM stops the agent and leaves the attempt running", async () => {
    const { site, id, go } = await running();
    await using _ = site;
    site.agent?.signal("SIGTERM");
    expect(await site.agent?.finished).toMatchObject({ code: 0 });
    await go();
    await site.startAgent();
    expect(await site.ended(id)).toMatchObject({ status: "FINISHED", attempt: 1 });
  });
});
