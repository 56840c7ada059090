/** A site that has lost its journal, and what runs there all the same. */
import { readFile, rm } from "node:fs/promises";
import { join } from "node:path";
import { expect, it } from "vitest";
import { isAlive } from "../helpers/processes.ts";
import { TestSite, traced } from "../helpers/site.ts";
import { waitFor } from "../helpers/wait.ts";

const long = { command: traced("echo $$ > pid; trap '' TERM; while :; do sleep 0.1; done"), grace: "200ms" };

/** A job runs, confirmed, and the next agent knows nothing of it. */
async function forgotten(): Promise<{ site: TestSite; id: string; pid: number; directory: string }> {
  const site = await TestSite.start({ apps: { long } });
  await site.startAgent();
  const { id } = await site.submit("long");
  await site.waitFor(id, (job) => job.state === "RUNNING", "RUNNING");
  const directory = join(await site.workDirectory(), "..");
  const pid = await waitFor(async () => Number(await readFile(join(directory, "work", "pid"), "utf8")), {
    what: "pid",
  });
  await site.killAgent();
  await rm(join(site.root, "state", "journal"), { recursive: true });
  return { site, id, pid, directory };
}

it("a cancel of a job that the journal does not know ends what lies here of it, and the job once that is proven gone", async () => {
  const { site, id, pid } = await forgotten();
  await using _ = site;
  await site.startAgent();
  expect(await site.client.cancel(id, "not needed")).toMatchObject({ result: "requested" });
  expect(await site.ended(id, 60_000)).toMatchObject({ status: "CANCELLED", attempt: 1 });
  expect(isAlive(pid)).toBe(false);
  expect((await site.starts()).size).toBe(1);
  const { op_id } = await site.client.job(id);
  expect(await site.operation(op_id)).toMatchObject({ done: true, result: { code: "CANCELLED" } });
});

it("where nothing is found the job stays until an operator gives it up, and says that nobody knows what runs", async () => {
  const { site, id, directory } = await forgotten();
  await using _ = site;
  await rm(directory, { recursive: true });
  await site.startAgent();
  await site.client.cancel(id, "not needed");
  for await (const { data } of site.client.events({ job: id, after: 0 })) if (data["result"] === "not-held") break;
  expect(await site.client.job(id)).toMatchObject({ state: "RUNNING", hold: { kind: "cancelling" }, ended_at: null });
  expect(await site.client.cancel(id, "the disk is gone", { force: true })).toMatchObject({ result: "done" });
  expect(await site.client.job(id)).toMatchObject({
    status: "FAILED",
    failure: { code: "ABANDONED", category: "site", message: expect.stringContaining("the disk is gone; whether") },
  });
});
