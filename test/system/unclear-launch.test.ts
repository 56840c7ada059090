import { rm } from "node:fs/promises";
import { join } from "node:path";
import { expect, it } from "vitest";
import { installationProcesses } from "../helpers/oracle.ts";
import { killIfThere } from "../helpers/processes.ts";
import { TestSite, traced } from "../helpers/site.ts";

it("shows a launcher that never answers clearly as BLOCKED with the reason, and goes on when it is mended", async () => {
  await using site = await TestSite.start({ apps: { work: { command: traced("exit 0") } } });
  await site.startAgent();
  await site.ended((await site.submit("work")).id);
  // The runner lives on without the scripts that it starts, and without the process that has them in memory.
  await rm(join(site.root, "state", "recorder"), { recursive: true });
  for (const { pid, command } of installationProcesses(site.root)) {
    if (/ --serve\b/.test(command)) killIfThere(pid);
  }
  const { id } = await site.submit("work");
  await site.waitFor(id, (job) => job.status === "BLOCKED", "BLOCKED");
  expect((await site.client.job(id)).hold?.reason).toContain("the launcher gives no clear answer");
  // The next runner installs them anew.
  site.tryKillRunner();
  expect(await site.ended(id, 60_000)).toMatchObject({ status: "FINISHED" });
  expect(await site.imbalances([id])).toEqual([]);
});
