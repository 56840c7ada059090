/** The agent is told to stop before it is up. */
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, it } from "vitest";
import { newestJournal, withNonsense } from "../helpers/kill-scenarios.ts";
import { TestSite, traced } from "../helpers/site.ts";
import { waitFor } from "../helpers/wait.ts";
import { Control } from "../integration/agent/control.ts";

const untilGo = { command: traced("while [ ! -e go ]; do sleep 0.05; done; exit 0") };
const inStart = ["agent.before-journal", "agent.before-start", "agent.after-start"] as const;
const inSalvage = [
  "journal.before-snapshot-write",
  "journal.before-rename",
  "journal.before-move-aside",
  "journal.after-move-aside",
] as const;

it("H8: TERM anywhere in a start or a salvage is an orderly end; the attempt lives, and the next start follows it to its end", async () => {
  await using site = await TestSite.start({ apps: { untilGo }, armable: true });
  await site.startAgent();
  const { id } = await site.submit("untilGo");
  await site.waitFor(id, (job) => job.state === "RUNNING", "RUNNING");
  const work = await site.workDirectory();
  await site.killAgent();
  for (const point of [...inStart, ...inSalvage]) {
    if (point.startsWith("journal.")) await withNonsense(await newestJournal(site));
    await site.arm(point, "delay:300");
    const agent = await site.startAgent({ wait: false });
    await waitFor(() => site.reached(point), { what: point, timeoutMs: 60_000 });
    agent.signal("SIGTERM");
    expect(await agent.finished, `${point}\n${agent.stdout.slice(-2_000)}`).toMatchObject({ code: 0 });
  }
  await site.startAgent();
  const control = new Control(site);
  await control.untilJob("the attempt is followed", id, (job) => job.state === "RUNNING");
  await writeFile(join(work, "go"), "");
  expect(await site.ended(id, 60_000)).toMatchObject({ status: "FINISHED", attempt: 1 });
  expect((await site.starts()).size).toBe(1);
  expect(await site.imbalances([id])).toEqual([]);
});
