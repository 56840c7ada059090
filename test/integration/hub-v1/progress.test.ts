import { expect, it } from "vitest";
import { progressOf } from "../../../src/hub/v1/progress.ts";
import { onBothStores, startTestHub } from "./hub.ts";
import { testSite } from "./site.ts";

const figures = {
  stage: "inputs",
  item: "reads",
  path: "",
  bytes: 10,
  total_bytes: 40,
  files: 1,
  total_files: 4,
  bytes_per_second: 5,
  eta_seconds: 6,
} as const;

onBothStores("how far files are", (kind) => {
  it("is shown as the job's holder says it, while it is new and files move", async () => {
    await using hub = await startTestHub(kind);
    await using site = await testSite(hub, "lab-a");
    await using other = await testSite(hub, "lab-b");
    const client = await hub.client("submitter");
    await client.submit({ workflow: "w" });
    const claim = await site.take("w");
    const say = async (of: typeof site, epoch: number, bytes: number): Promise<number> => {
      const jobs = [{ job: claim.job, epoch, ...figures, bytes }];
      const type = { "content-type": "application/json" };
      return (await of.call("PUT", "/progress", JSON.stringify({ jobs }), type)).status;
    };
    const shown = async () => (await client.job(claim.job)).progress;
    expect(await say(site, claim.epoch, 10)).toBe(200);
    expect(await shown()).toBeNull(); // nothing moves yet
    await site.report(claim, { state: "READY", phase: "staging", attempt: 0 });
    expect(await shown()).toEqual(figures);
    expect((await client.jobPage()).jobs).toMatchObject([{ progress: figures }]);
    await say(site, claim.epoch, 20);
    expect(await shown()).toEqual({ ...figures, bytes: 20 });
    // Another site, and this one of an earlier claim, say nothing that counts.
    await say(other, claim.epoch, 30);
    expect(await shown()).toMatchObject({ bytes: 20 });
    await say(site, claim.epoch + 1, 30);
    expect(await shown()).toBeNull();
    await say(site, claim.epoch, 20);
    const { db } = hub.ctx.store;
    const rows = await db.selectFrom("jobs").selectAll().execute();
    const now = hub.ctx.clock.now();
    expect((await progressOf(db, rows, now)).size).toBe(1);
    expect((await progressOf(db, rows, now + 40_000)).size).toBe(0);
    await site.report(claim, { state: "STAGED_IN", attempt: 0 });
    expect(await shown()).toBeNull();
  });

  it("is told to who waits for the job, about every two seconds", async () => {
    await using hub = await startTestHub(kind);
    await using site = await testSite(hub, "lab-a");
    const client = await hub.client("submitter");
    await client.submit({ workflow: "w" });
    const claim = await site.take("w");
    await site.report(claim, { state: "READY", phase: "staging", attempt: 0 });
    const seen = Promise.withResolvers<void>();
    const stop = new AbortController();
    const waiting = client
      .wait([claim.job], {
        signal: stop.signal,
        onChange: ({ progress }) => {
          if (progress?.bytes === 10) seen.resolve();
        },
      })
      .catch(() => undefined);
    const body = JSON.stringify({ jobs: [{ job: claim.job, epoch: claim.epoch, ...figures }] });
    await site.call("PUT", "/progress", body, { "content-type": "application/json" });
    await seen.promise;
    stop.abort();
    await waiting;
  });
});
