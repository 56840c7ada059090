import { expect, it } from "vitest";
import { describeWithEngine } from "../../helpers/engines/index.ts";
import { waitFor } from "../../helpers/wait.ts";
import { startTestHub } from "./hub.ts";
import { TestSite, testSite } from "./site.ts";

describeWithEngine("postgres", "two hubs on one database", () => {
  it("wake a synchronize held at one by a job made at the other", async () => {
    await using a = await startTestHub("postgres");
    await using b = await startTestHub("postgres", { url: a.databaseUrl });
    await using site = await testSite(a, "lab-a");
    const atB = await b.client("submitter");
    await site.sync();
    const started = performance.now();
    const held = site.sync({ free: [{ workflow: "w", slots: 1 }], hold_ms: 30_000 });
    await waitFor(async () => (await atB.sites())[0]?.workflows.includes("w"), { what: "the held call" });
    const { id } = await atB.submit({ workflow: "w" });
    expect((await held).assign.map((assignment) => assignment.job)).toEqual([id]);
    expect(performance.now() - started).toBeLessThan(15_000);
    expect(await atB.job(id)).toMatchObject({ site: "lab-a" });
    const waiting = site.sync({ hold_ms: 30_000, held: [{ job: id, epoch: 1, seq: 0, state: "READY" }] });
    await atB.cancel(id, "from b");
    expect((await waiting).orders).toMatchObject([{ kind: "cancel", job: id }]);
  });

  it("share sessions, claims, keys and reports", async () => {
    await using a = await startTestHub("postgres");
    await using b = await startTestHub("postgres", { url: a.databaseUrl });
    await using site = await testSite(a, "lab-a");
    await using elsewhere = new TestSite("lab-a", b.url, await a.siteToken("lab-a"));
    const [atA, atB] = [await a.client("submitter"), await b.client("submitter")];
    const made = await Promise.all(
      Array.from({ length: 12 }, (_, index) =>
        (index % 2 === 0 ? atA : atB).submit({ workflow: "w", idempotency_key: "one" }),
      ),
    );
    expect(new Set(made.map((job) => job.id)).size).toBe(1);
    const claim = await site.take("w");
    expect((await elsewhere.sync({ free: [{ workflow: "w", slots: 1 }] })).assign).toEqual([claim]);
    await site.report(claim, { state: "RUNNING", phase: "started", attempt: 1 });
    const again = site.draft(claim, { seq: 1, state: "RUNNING", phase: "started", attempt: 1 });
    const next = site.draft(claim, { seq: 2, state: "JOB_FINISHED", attempt: 1, done: true });
    const results = await elsewhere.send([again, next]);
    expect(results.map((result) => result.outcome)).toEqual(["duplicate", "applied"]);
    expect(await atA.wait([claim.job], { timeoutMs: 10_000 })).toMatchObject([{ status: "FINISHED" }]);
  });

  it("let one of fifty sites win a claim, wherever it asks", async () => {
    await using a = await startTestHub("postgres");
    await using b = await startTestHub("postgres", { url: a.databaseUrl });
    await using stack = new AsyncDisposableStack();
    const client = await a.client("submitter");
    const { id } = await client.submit({ workflow: "w" });
    const sites = await Promise.all(
      Array.from({ length: 50 }, async (_, index) => {
        const site = new TestSite(`s${index}`, index % 2 === 0 ? a.url : b.url, await a.siteToken(`s${index}`));
        return stack.use(site);
      }),
    );
    const answers = await Promise.all(sites.map((site) => site.post(`/jobs/${id}:claim`)));
    expect(answers.filter((answer) => answer.status === 200)).toHaveLength(1);
    expect(answers.filter((answer) => answer.body["code"] === "CLAIM_LOST")).toHaveLength(49);
  });

  it("stream events of both to readers of either, in one order", async () => {
    await using a = await startTestHub("postgres");
    await using b = await startTestHub("postgres", { url: a.databaseUrl });
    const stop = new AbortController();
    const follow = async (hub: typeof a, seen: number[]): Promise<void> => {
      const client = await hub.client("viewer");
      for await (const event of client.events({ after: 0, signal: stop.signal })) seen.push(event.seq);
    };
    const atA: number[] = [];
    const atB: number[] = [];
    const streams = [follow(a, atA), follow(b, atB)];
    const [one, two] = [await a.client("submitter"), await b.client("submitter")];
    await Promise.all(
      Array.from({ length: 40 }, (_, index) => (index % 2 === 0 ? one : two).submit({ workflow: "w" })),
    );
    await waitFor(() => atA.length === 40 && atB.length === 40, {
      what: () => `40 events, saw ${atA.length}, ${atB.length}`,
    });
    stop.abort();
    await Promise.all(streams);
    expect(atA).toEqual(atB);
    expect(atA).toEqual(atA.toSorted((left, right) => left - right));
  });
});
