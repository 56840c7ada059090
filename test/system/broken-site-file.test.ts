import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, it } from "vitest";
import { runCli } from "../helpers/cli.ts";
import { TestSite, traced } from "../helpers/site.ts";
import { waitFor } from "../helpers/wait.ts";

const app = { command: traced("while [ ! -e go ]; do sleep 0.05; done; exit 0") };

it("H16: a site file broken at a cold start while a job runs: the job is followed to its end, nothing is claimed until it is mended", async () => {
  await using site = await TestSite.start({ apps: { work: app } });
  await site.startAgent();
  const { id } = await site.submit("work");
  await site.waitFor(id, (job) => job.state === "RUNNING", "RUNNING");
  const work = await site.workDirectory();
  await site.killAgent();
  const good = await readFile(site.siteFile, "utf8");
  await writeFile(site.siteFile, good.replace("targets:", "targest:"));

  const agent = await site.startAgent();
  const next = await site.submit("work");
  await writeFile(join(work, "go"), "");
  expect(await site.ended(id)).toMatchObject({ status: "FINISHED", attempt: 1 });
  expect(await site.view(next.id)).toMatchObject({ state: "READY", attempt: 0 });
  expect(agent.running).toBe(true);

  await writeFile(site.siteFile, good);
  await site.waitFor(next.id, (job) => job.state === "RUNNING", "RUNNING with the mended file");
  expect((await site.client.cancel(next.id)).result).toBe("requested");
  await site.ended(next.id);
  expect(await site.imbalances([id, next.id])).toEqual([]);
});

it("without a held job a broken site file ends the start with 78 and names the fault", async () => {
  await using site = await TestSite.start({ apps: { work: app } });
  await site.startAgent();
  site.agent?.signal("SIGTERM");
  await site.agent?.finished;
  const good = await readFile(site.siteFile, "utf8");
  await writeFile(site.siteFile, good.replace("targets:", "targest:"));
  const agent = await site.startAgent({ wait: false });
  const { code, stderr } = await waitFor(() => agent.finished, { what: "the end of the agent" });
  expect(code).toBe(78);
  expect(stderr).toMatch(/targest.*targets/s);
  expect((await runCli(["validate", site.siteFile])).code).toBe(78);
});
