import { setTimeout as sleep } from "node:timers/promises";
import { expect, it } from "vitest";
import { TestSite, traced } from "../helpers/site.ts";
import { waitFor } from "../helpers/wait.ts";

const count = 40;
/** Between two jobs: 10 a second. */
const paceMs = 100;
const visibleMs = 2_000;

it("BAL-2: at 10 jobs a second every state of every job is seen at central within 2 s of its time", async () => {
  await using site = await TestSite.start({ apps: { quick: { command: traced("exit 0") } } });
  await site.startAgent();
  const stop = new AbortController();
  const seen = new Map<string, string[]>();
  const delays: number[] = [];
  const reading = (async () => {
    for await (const { type, job, data } of site.client.events({ after: 0, signal: stop.signal })) {
      const { reported_at: reportedAt, state } = data;
      if (type !== "job.state" || job === null || typeof reportedAt !== "string" || typeof state !== "string") continue;
      delays.push(Date.now() - Date.parse(reportedAt));
      const states = seen.get(job);
      if (states) states.push(state);
      else seen.set(job, [state]);
    }
  })();
  const ids: string[] = [];
  for (let n = 0; n < count; n++) {
    ids.push((await site.submit("quick")).id);
    await sleep(paceMs);
  }
  const isOver = (id: string): boolean => seen.get(id)?.at(-1) === "JOB_FINISHED";
  await waitFor(() => ids.every(isOver), { what: "the ends of all jobs", timeoutMs: 60_000 });
  stop.abort();
  await reading;
  for (const id of ids) expect(seen.get(id)).toEqual(expect.arrayContaining(["RUNNING", "RUN_DONE", "JOB_FINISHED"]));
  expect(delays.length).toBeGreaterThanOrEqual(3 * count);
  expect(Math.max(...delays)).toBeLessThanOrEqual(visibleMs);
});
