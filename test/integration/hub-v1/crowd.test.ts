import { expect, it } from "vitest";
import { isFinal } from "../../../src/jobs/transitions.ts";
import { onBothStores, startTestHub, type TestHub } from "./hub.ts";
import { TestSite } from "./site.ts";

const sites = 8;
const roots = 40;

/** Works like an agent until nothing is left: claims, reports in steps, fails or hands back some, obeys cancel orders. */
async function work(site: TestSite, over: AbortSignal, done: Map<string, number>): Promise<void> {
  const free = [
    { workflow: "root", slots: 3 },
    { workflow: "child", slots: 3 },
  ];
  while (!over.aborted) {
    const answer = await site.sync({ free, max_assign: 4, hold_ms: 200 });
    await site.sync({
      orders: answer.orders.map((order) => ({ id: order.id, result: "accepted" as const })),
      state: "paused",
    });
    await Promise.all(
      answer.assign.map(async (claim) => {
        const hash = Array.from(claim.job, (letter) => letter.charCodeAt(0)).reduce(
          (sum, code) => sum + code,
          claim.epoch,
        );
        if (hash % 7 === 0 && claim.epoch === 1) {
          await site.post(`/jobs/${claim.job}:release`, { epoch: claim.epoch, reason: "not now" });
          return;
        }
        await site.report(claim, { state: "STAGED_IN" });
        await site.report(claim, { state: "RUNNING", phase: "started", attempt: 1 });
        const cancelled = answer.orders.some((order) => order.job === claim.job && order.kind === "cancel");
        const failure = { code: "X", category: "user", message: "no" } as const;
        const end = cancelled ? "CANCELLED" : hash % 5 === 0 ? "FAILED" : "JOB_FINISHED";
        await site.report(claim, { state: end, attempt: 1, done: true, ...(end === "FAILED" ? { failure } : {}) });
        done.set(claim.job, (done.get(claim.job) ?? 0) + 1);
      }),
    );
  }
}

onBothStores("a crowd", (kind) => {
  it("of sites and people on two hubs ends every job once, refuses nothing that is right, loses nothing", async () => {
    await using a = await startTestHub(kind);
    await using b = kind === "postgres" ? await startTestHub(kind, { url: a.databaseUrl }) : undefined;
    await using stack = new AsyncDisposableStack();
    const hubs: readonly TestHub[] = [a, b ?? a];
    const hubOf = (index: number): TestHub => (index % 2 === 0 ? a : (hubs[1] ?? a));
    const over = new AbortController();
    const done = new Map<string, number>();
    const workers: Promise<void>[] = [];
    for (let index = 0; index < sites; index++) {
      const site = stack.use(new TestSite(`s${index}`, hubOf(index).url, await a.siteToken(`s${index}`)));
      workers.push(work(site, over.signal, done));
    }
    const people = await Promise.all([0, 1].map((index) => hubOf(index).client("operator")));
    const ids: string[] = [];
    await Promise.all(
      Array.from({ length: roots }, async (_, index) => {
        const client = people[index % 2] ?? people[0];
        if (!client) return;
        const root = await client.submit({ workflow: "root", idempotency_key: `root-${index}` });
        const policy = index % 3 === 0 ? "all_ended" : "all_finished";
        const children = await client.bulk(
          Array.from({ length: 3 }, () => ({ workflow: "child", parents: [root.id], parent_policy: policy })),
        );
        ids.push(root.id, ...children.flatMap((child) => ("job" in child ? [child.job.id] : [])));
        if (index % 6 === 0) await client.cancel(root.id, "changed my mind");
      }),
    );
    expect(ids).toHaveLength(roots * 4);
    const [client] = people;
    const ended = (await client?.wait(ids, { timeoutMs: 50_000 })) ?? [];
    over.abort();
    await Promise.all(workers);
    for (const job of ended) expect([job.id, isFinal(job.state)]).toEqual([job.id, true]);
    for (const [id, times] of done) expect([id, times]).toEqual([id, 1]);
    const finished = ended.filter((job) => job.status === "FINISHED");
    expect(finished.length).toBeGreaterThan(roots);
    for (const job of finished) expect(done.get(job.id)).toBe(1);
    const open = await a.ctx.store.db.selectFrom("operations").select("id").where("done", "=", 0).execute();
    expect(open).toEqual([]);
    const orders = await a.ctx.store.db
      .selectFrom("orders")
      .select("id")
      .where("acknowledged_at", "is", null)
      .execute();
    expect(orders).toEqual([]);
  });
});
