import { expect, it } from "vitest";
import { createHubClient } from "../../../src/sdk/client.ts";
import { freshDatabase } from "../../helpers/engines/postgres.ts";
import { temporaryDirectory } from "../../helpers/temporary.ts";
import { onBothStores, startTestHub } from "./hub.ts";
import { TestSite, testSite } from "./site.ts";

onBothStores("a restart of the hub", (kind) => {
  it("loses nothing that was acknowledged: keys, claims, report numbers, orders, logs, tokens", async () => {
    await using stack = new AsyncDisposableStack();
    const url =
      kind === "sqlite" ? stack.use(await temporaryDirectory()).join("hub.db") : stack.use(await freshDatabase()).url;
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
});
