import { expect, it } from "vitest";
import { waitFor } from "../../helpers/wait.ts";
import { chunkBytes, logCapBytes } from "../../../src/hub/v1/logs.ts";
import { onBothStores, startTestHub } from "./hub.ts";
import { testSite, type TestSite } from "./site.ts";
import type { LogOptions } from "../../../src/sdk/logs.ts";
import type { Assignment } from "../../../src/wire/agent-api.ts";

async function put(site: TestSite, claim: Assignment, offset: number, text: string | Uint8Array, more = "") {
  const epoch = claim.epoch;
  return site.call("PUT", `/jobs/${claim.job}/logs/stdout?attempt=1&offset=${offset}&epoch=${epoch}${more}`, text);
}

onBothStores("logs", (kind) => {
  it("appends by offset: repeated chunks are harmless, gaps are refused with the offset to go on from", async () => {
    await using hub = await startTestHub(kind);
    await using site = await testSite(hub, "lab-a");
    const client = await hub.client("submitter");
    await client.submit({ workflow: "w" });
    const claim = await site.take("w");
    expect((await put(site, claim, 0, "hello ")).body).toEqual({ offset: 6 });
    expect((await put(site, claim, 0, "hello ")).body).toEqual({ offset: 6 });
    expect((await put(site, claim, 3, "lo wor")).body).toEqual({ offset: 9 });
    const gap = await put(site, claim, 20, "x");
    expect(gap).toMatchObject({ status: 416, body: { code: "BAD_OFFSET", details: { offset: 9 } } });
    expect((await put(site, claim, 9, "ld\n")).body).toEqual({ offset: 12 });
    const [piece] = await Array.fromAsync(client.logs(claim.job));
    expect(Buffer.from(piece?.bytes ?? []).toString()).toBe("hello world\n");
    const [middle] = await Array.fromAsync(client.logs(claim.job, { offset: 6 }));
    expect(Buffer.from(middle?.bytes ?? []).toString()).toBe("world\n");
    const [tail] = await Array.fromAsync(client.logs(claim.job, { offset: -3 }));
    expect(tail).toMatchObject({ offset: 9, attempt: 1 });
    const stale = await put(site, { ...claim, epoch: claim.epoch + 1 }, 12, "x");
    expect(stale.body["code"]).toBe("STALE_EPOCH");
  });

  it("keeps the first bytes up to its cap and swallows the rest", async () => {
    await using hub = await startTestHub(kind);
    await using site = await testSite(hub, "lab-a");
    const client = await hub.client("submitter");
    await client.submit({ workflow: "w" });
    const claim = await site.take("w");
    expect((await put(site, claim, 0, new Uint8Array(chunkBytes + 1))).status).toBe(413);
    const chunk = new Uint8Array(chunkBytes).fill(120);
    for (let offset = 0; offset < logCapBytes + 2 * chunkBytes; offset += chunkBytes) {
      expect((await put(site, claim, offset, chunk)).body).toEqual({ offset: offset + chunkBytes });
    }
    expect((await put(site, claim, 0, chunk)).body).toEqual({ offset: logCapBytes + 2 * chunkBytes });
    let size = 0;
    for await (const piece of client.logs(claim.job)) size += piece.bytes.length;
    expect(size).toBe(logCapBytes);
  });

  it("lets a reader follow over attempts to the end without a missing or doubled byte", async () => {
    await using hub = await startTestHub(kind);
    await using site = await testSite(hub, "lab-a");
    const client = await hub.client("submitter");
    await client.submit({ workflow: "w" });
    const claim = await site.take("w");
    await site.report(claim, { state: "RUNNING", phase: "started", attempt: 1 });
    const seen: string[] = [];
    const reading = (async () => {
      for await (const piece of client.logs(claim.job, { follow: true, pollMs: 20 })) {
        seen.push(`${piece.attempt}:${Buffer.from(piece.bytes).toString()}`);
      }
    })();
    await put(site, claim, 0, "one ");
    await waitFor(() => seen.join("") === "1:one ", { what: "the first piece" });
    await put(site, claim, 4, "two", "&final=true");
    await site.report(claim, { state: "RUN_ERROR", attempt: 1 });
    await site.report(claim, { state: "RESTART_READY", attempt: 1 });
    await site.report(claim, { state: "RUNNING", phase: "started", attempt: 2 });
    await site.call("PUT", `/jobs/${claim.job}/logs/stdout?attempt=2&offset=0&epoch=${claim.epoch}`, "three");
    await waitFor(() => seen.at(-1) === "2:three", { what: "the second attempt" });
    await site.report(claim, { state: "JOB_FINISHED", attempt: 2, done: true });
    await site.call("PUT", `/jobs/${claim.job}/logs/stdout?attempt=2&offset=5&epoch=${claim.epoch}&final=true`, "!");
    await reading;
    expect(seen.join(" ")).toBe("1:one  1:two 2:three 2:!");
  });

  it("keeps the log of a holder that gave the job back beside that of the next one", async () => {
    await using hub = await startTestHub(kind);
    await using site = await testSite(hub, "lab-a");
    await using other = await testSite(hub, "lab-b");
    const client = await hub.client("submitter");
    const text = async (options: LogOptions = {}): Promise<string> => {
      const pieces = await Array.fromAsync(client.logs(first.job, options));
      return pieces.map(({ claim, bytes }) => `${claim}:${Buffer.from(bytes).toString()}`).join(" ");
    };
    await client.submit({ workflow: "w" });
    const first = await site.take("w");
    const seen: string[] = [];
    const following = (async () => {
      for await (const { claim, bytes } of client.logs(first.job, { follow: true, pollMs: 20 }))
        seen.push(`${claim}:${Buffer.from(bytes).toString()}`);
    })();
    await site.report(first, { state: "RUNNING", phase: "started", attempt: 1 });
    await put(site, first, 0, "first");
    await site.report(first, { seq: 2, state: "RUN_ERROR", attempt: 1 });
    await site.report(first, { seq: 3, state: "RESTART_READY", attempt: 1 });
    await site.post(`/jobs/${first.job}:release`, { epoch: first.epoch, reason: "draining" });
    expect(await text()).toBe(`${first.epoch}:first`);
    const second = await other.take("w");
    expect(await text()).toBe("");
    expect((await put(site, first, 5, "late")).body["code"]).toBe("STALE_EPOCH");
    await other.report(second, { state: "RUNNING", phase: "started", attempt: 1 });
    await put(other, second, 0, "second", "&final=true");
    expect(await text()).toBe(`${second.epoch}:second`);
    expect(await text({ claim: first.epoch })).toBe(`${first.epoch}:first`);
    expect(await text({ claim: first.epoch, follow: true, pollMs: 20 })).toBe(`${first.epoch}:first`);
    const [piece] = await Array.fromAsync(client.logs(first.job));
    expect(piece?.claims).toEqual([first.epoch, second.epoch]);
    await other.report(second, { seq: 2, state: "JOB_FINISHED", attempt: 1, done: true });
    await following;
    expect(seen.join(" ")).toBe(`${first.epoch}:first ${second.epoch}:second`);
  });

  it("tells the site to send faster while somebody reads", async () => {
    await using hub = await startTestHub(kind);
    await using site = await testSite(hub, "lab-r");
    const client = await hub.client("submitter");
    await client.submit({ workflow: "w" });
    const claim = await site.take("w");
    expect((await site.sync()).log_interval_ms).toBe(5_000);
    await Array.fromAsync(client.logs(claim.job));
    expect((await site.sync()).log_interval_ms).toBe(1_000);
  });

  it("begins with what came since a time, to the minute", async () => {
    await using hub = await startTestHub(kind);
    await using site = await testSite(hub, "lab-a");
    const client = await hub.client("submitter");
    await client.submit({ workflow: "w" });
    const claim = await site.take("w");
    const text = async (since: number) => {
      const pieces = await Array.fromAsync(client.logs(claim.job, { since: new Date(since).toISOString() }));
      return Buffer.concat(pieces.map((piece) => piece.bytes)).toString();
    };
    const now = Date.now();
    await put(site, claim, 0, "old\n");
    await hub.ctx.store.db
      .updateTable("logs")
      .set({ created_at: now - 600_000 })
      .execute();
    await put(site, claim, 4, "new\n");
    expect(await text(now - 3_600_000)).toBe("old\nnew\n");
    expect(await text(now - 300_000)).toBe("new\n");
    expect(await text(now + 3_600_000)).toBe("");
    const following = client.logs(claim.job, {
      since: new Date(now + 3_600_000).toISOString(),
      follow: true,
      pollMs: 20,
    });
    let come = false;
    const next = following.next().finally(() => (come = true));
    // What comes before its first look it does not show.
    for (let offset = 8; !come; offset += 5) await put(site, claim, offset, "next\n");
    const { value } = await next;
    expect(Buffer.from(value?.bytes ?? []).toString()).toMatch(/^(?:next\n)+$/);
    await following.return(undefined);
  });
});
