/** SIGKILL of agent, runner and hub while attempts run or have just ended: nothing is lost, nothing runs twice. Kills at failpoints: kill-matrix.test.ts. */
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { runCli } from "../helpers/cli.ts";
import { TestSite, traced } from "../helpers/site.ts";
import { waitFor } from "../helpers/wait.ts";

const work = {
  parameters: { url: { type: "string", from: "config.url" } },
  inputs: { text: { from: "{{config.url}}", to: "text.txt" } },
  outputs: { result: { from: "result.txt" } },
  hooks: { preprocess: { command: ["/bin/true"] } },
};

async function siteWithInput(script: string): Promise<{ site: TestSite; url: string }> {
  const site = await TestSite.start({ dialect: "hub", apps: { work: { ...work, command: traced(script) } } });
  await mkdir(join(site.root, "inputs"));
  await writeFile(join(site.root, "inputs", "a.txt"), "some input\n");
  return { site, url: `file://${site.root}/inputs/a.txt` };
}

describe("while an attempt runs", () => {
  const script = "while [ ! -e go ]; do sleep 0.1; done; cat ../in/text.txt > result.txt; exit 0";

  async function running() {
    const { site, url } = await siteWithInput(script);
    await site.startAgent();
    const { id } = await site.submit("work", { url });
    await site.waitFor(id, (job) => job.state === "RUNNING", "RUNNING");
    return { site, id, go: async () => writeFile(join(await site.workDirectory(), "go"), "") };
  }

  it("BAL-10: the agent is killed: it starts again at once, is the one holder, and adopts the attempt", async () => {
    const { site, id, go } = await running();
    await using _ = site;
    await site.killAgent();
    await site.startAgent();
    const second = await runCli(["run", "--config", site.siteFile]);
    expect(second).toMatchObject({ code: 75, stderr: expect.stringContaining(`pid ${site.agent?.pid}`) });
    await go();
    expect(await site.ended(id)).toMatchObject({ status: "FINISHED", attempt: 1, end: { exit_code: 0 } });
    expect(await site.imbalances([id])).toEqual([]);
    site.agent?.signal("SIGTERM");
    expect(await site.agent?.finished).toMatchObject({ code: 0 });
  });

  it("BAL-3: agent and runner are killed, with attempts that have ended and are not recorded: none runs again, none is lost", async () => {
    const script = 'while [ ! -e "$SITEAGENT_JOB_DIR/../../go" ]; do sleep 0.1; done; exit 0';
    await using site = await TestSite.start({ apps: { held: { command: traced(script) } }, slots: 6 });
    await site.startAgent();
    const ids = await Promise.all(Array.from({ length: 6 }, async () => (await site.submit("held")).id));
    for (const id of ids) await site.waitFor(id, (job) => job.state === "RUNNING", "RUNNING");
    await site.killAgent();
    site.killRunner();
    await writeFile(join(site.root, "go"), "");
    const ended = async (): Promise<boolean> => (await readFile(site.traceFile, "utf8")).split(" 0 nmdc:").length > 6;
    await waitFor(ended, { what: "six exits", timeoutMs: 30_000 });
    await site.startAgent();
    for (const id of ids) expect(await site.ended(id)).toMatchObject({ status: "FINISHED", attempt: 1 });
    expect([...(await site.starts()).values()]).toEqual(ids.map(() => 1));
    expect(await site.imbalances(ids)).toEqual([]);
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
