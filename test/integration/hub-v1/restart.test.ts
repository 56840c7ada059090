import { expect, it } from "vitest";
import { systemClock } from "../../../src/common/clock.ts";
import { createHubClient } from "../../../src/sdk/client.ts";
import { freshDatabase } from "../../helpers/engines/postgres.ts";
import { temporaryDirectory } from "../../helpers/temporary.ts";
import { onBothStores, startTestHub, type StoreKind } from "./hub.ts";
import { TestSite, testSite } from "./site.ts";

/** Where hubs that follow one another keep their data; lives as long as `stack`. */
async function databaseFor(kind: StoreKind, stack: AsyncDisposableStack): Promise<string> {
  if (kind === "postgres") return stack.use(await freshDatabase()).url;
  return stack.use(await temporaryDirectory()).join("hub.db");
}

onBothStores("a restart of the hub", (kind) => {
  it("loses nothing that was acknowledged: keys, claims, report numbers, orders, logs, tokens", async () => {
    await using stack = new AsyncDisposableStack();
    const url = await databaseFor(kind, stack);
    const before = await startTestHub(kind, { url });
    const site = await testSite(before, "lab-a");
    const client = await before.client("submitter");
    const job = await client.submit({ workflow: "w", idempotency_key: "k" });
    const claim = await site.take("w");
    await site.report(claim, { state: "RUNNING", phase: "started", attempt: 1 });
    await site.call("PUT", `/jobs/${job.id}/logs/stdout?attempt=1&offset=0&epoch=${claim.epoch}`, "half");
    await client.cancel(job.id, "stop");
    const { secret } = await client.registries.createToken({ name: "t", role: "submitter" });
    const token = await before.siteToken("lab-a");
    await site[Symbol.asyncDispose]();
    await before[Symbol.asyncDispose]();

    await using after = await startTestHub(kind, { url });
    await using again = new TestSite("lab-a", after.url, token);
    await using script = createHubClient({ url: after.url, token: secret });
    expect((await script.submit({ workflow: "w", idempotency_key: "k" })).id).toBe(job.id);
    const held = [{ job: claim.job, epoch: claim.epoch, seq: 1, state: "RUNNING" as const }];
    const answer = await again.sync({ held, free: [{ workflow: "w", slots: 1 }] });
    expect(answer).toMatchObject({ assign: [], fenced: [], orders: [{ kind: "cancel", job: job.id }] });
    const tail = await again.call(
      "PUT",
      `/jobs/${job.id}/logs/stdout?attempt=1&offset=4&epoch=${claim.epoch}&final=true`,
      " done",
    );
    expect(tail.body).toEqual({ offset: 9 });
    const [first, second] = [
      again.draft(claim, { seq: 1, state: "RUNNING", phase: "started", attempt: 1 }),
      again.draft(claim, { seq: 2, state: "CANCELLED", attempt: 1, done: true }),
    ];
    expect((await again.send([first, second])).map((result) => result.outcome)).toEqual(["duplicate", "applied"]);
    const pieces = await Array.fromAsync(script.logs(job.id, { follow: true }));
    expect(Buffer.concat(pieces.map((piece) => piece.bytes)).toString()).toBe("half done");
  });

  it("TAP-5: does not lengthen the lease of a claim that its site has not confirmed", async () => {
    await using stack = new AsyncDisposableStack();
    const url = await databaseFor(kind, stack);
    let laterMs = 0;
    const clock = { ...systemClock, now: () => systemClock.now() + laterMs };
    const before = await startTestHub(kind, { url, clock });
    const silent = await testSite(before, "lab-a");
    const token = await before.siteToken("lab-b");
    const { id } = await (await before.client("submitter")).submit({ workflow: "w" });
    const { lease_ms: leaseMs } = await silent.take("w");
    await silent[Symbol.asyncDispose]();
    await before[Symbol.asyncDispose]();
    for (const [part, assigned] of [
      [0.6, []],
      [1.1, [id]],
    ] as const) {
      laterMs = part * leaseMs;
      await using hub = await startTestHub(kind, { url, clock });
      await using other = new TestSite("lab-b", hub.url, token);
      const { assign } = await other.sync({ free: [{ workflow: "w", slots: 1 }] });
      expect(assign.map(({ job }) => job)).toEqual(assigned);
    }
  });
});
