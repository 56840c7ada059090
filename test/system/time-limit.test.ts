import { expect, it } from "vitest";
import { listProcesses } from "../helpers/processes.ts";
import { TestSite, traced } from "../helpers/site.ts";
import { waitFor } from "../helpers/wait.ts";

it("TAP-5: the time limit of an attempt ends it while no agent lives; the next start begins no new one", async () => {
  const timed = { command: traced("sleep 60"), resources: { walltime: "2s" }, grace: "1s" };
  await using site = await TestSite.start({ apps: { timed } });
  await site.startAgent();
  const { id } = await site.submit("timed");
  const isAlive = () =>
    listProcesses().some(({ command, cwd }) => command === "sleep 60" && cwd?.startsWith(site.root) === true);
  await waitFor(isAlive, { what: "the process of the attempt", timeoutMs: 30_000 });
  await site.killAgent();
  await waitFor(() => !isAlive(), { what: "the end of the attempt by its time limit", timeoutMs: 60_000 });
  await site.startAgent();
  expect(await site.ended(id, 60_000)).toMatchObject({ status: "FAILED", attempt: 1 });
  expect((await site.client.job(id)).end).toMatchObject({ cause: "timeout" });
  expect((await site.starts()).size).toBe(1);
});
