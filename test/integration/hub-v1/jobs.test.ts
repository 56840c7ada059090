import { expect, it } from "vitest";
import { onBothStores, startTestHub } from "./hub.ts";
import { testSite } from "./site.ts";

onBothStores("jobs", (kind) => {
  it("BAL-30: makes one job per idempotency key, also for twenty requests at once", async () => {
    await using hub = await startTestHub(kind);
    const client = await hub.client("submitter");
    const request = { workflow: "w", config: { b: 1, a: [2] }, idempotency_key: "k" };
    const made = await Promise.all(Array.from({ length: 20 }, () => client.submit(request)));
    expect(new Set(made.map((job) => job.id)).size).toBe(1);
    expect((await client.jobPage()).total).toBe(1);
    const reordered = await client.submit({ idempotency_key: "k", config: { a: [2], b: 1 }, workflow: "w" });
    expect(reordered.id).toBe(made[0]?.id);
    await expect(client.submit({ ...request, config: {} })).rejects.toMatchObject({ code: "IDEMPOTENCY_MISMATCH" });
    const other = await hub.client("submitter", "somebody-else");
    expect((await other.submit(request)).id).not.toBe(made[0]?.id);
  });

  it("answers 201 for a new job and 200 for a repeated one, with the key in the header", async () => {
    await using hub = await startTestHub(kind);
    const token = await hub.userToken("submitter");
    const post = (key: string, body: object) =>
      fetch(`${hub.url}/siteagent/v1/jobs`, {
        method: "POST",
        headers: { authorization: `Bearer ${token}`, "content-type": "application/json", "idempotency-key": key },
        body: JSON.stringify(body),
      });
    expect((await post("h", { workflow: "w" })).status).toBe(201);
    expect((await post("h", { workflow: "w" })).status).toBe(200);
    const mismatch = await post("h", { workflow: "w", idempotency_key: "i" });
    expect(mismatch.status).toBe(422);
    const invalid = await post("x", { workflow: "", nonsense: 1, priority: 5000 });
    expect(invalid.status).toBe(422);
    const { detail } = (await invalid.json()) as { detail: readonly { loc: readonly string[] }[] };
    expect(detail.map((entry) => entry.loc.join("."))).toEqual(
      expect.arrayContaining(["body.workflow", "body.priority"]),
    );
  });

  it("makes many with a result per item; bad items and repeated keys stop nothing", async () => {
    await using hub = await startTestHub(kind);
    const client = await hub.client("submitter");
    const known = await client.submit({ workflow: "w", idempotency_key: "old" });
    const results = await client.bulk([
      { workflow: "a", name: "first" },
      { workflow: "" },
      { workflow: "w", idempotency_key: "old" },
      { workflow: "b", idempotency_key: "old" },
      { workflow: "c", idempotency_key: "new" },
      { workflow: "c", idempotency_key: "new" },
      { workflow: "d", parents: [known.id, "nmdc:none"], site: "nowhere" },
      { workflow: "d", parents: [known.id] },
    ]);
    const shown = results.map((result) =>
      "job" in result ? [result.job.workflow.id, result.created] : result.error.code,
    );
    expect(shown).toEqual([
      ["a", true],
      "INVALID",
      ["w", false],
      "IDEMPOTENCY_MISMATCH",
      ["c", true],
      ["c", false],
      "INVALID",
      ["d", true],
    ]);
    expect((await client.jobPage()).total).toBe(4);
    const bad = results[6];
    expect(bad && "error" in bad ? bad.error.detail : "").toMatch(/'nmdc:none'.*'nowhere'/);
  });

  it("BAL-4: releases children when their parents end, by policy, with the parents' outputs", async () => {
    await using hub = await startTestHub(kind);
    await using site = await testSite(hub, "lab-a");
    const client = await hub.client("submitter");
    const left = await client.submit({ workflow: "p" });
    const right = await client.submit({ workflow: "p" });
    const parents = [left.id, right.id];
    const all = await client.submit({ workflow: "all", parents });
    const any = await client.submit({ workflow: "any", parents, parent_policy: "any_finished" });
    const ended = await client.submit({ workflow: "ended", parents, parent_policy: "all_ended" });
    const grandchild = await client.submit({ workflow: "g", parents: [all.id] });
    expect(all).toMatchObject({ state: "AWAITING_PARENTS", status: "PENDING" });
    const free = ["all", "any", "ended", "g"].map((workflow) => ({ workflow, slots: 5 }));
    expect((await site.sync({ free })).assign).toEqual([]);
    const first = await site.take("p");
    const sha256 = "b".repeat(64);
    await site.finish(first, { outputs: [{ output: "o", path: "o.txt", bytes: 1, sha256, stored: false }] });
    expect((await client.job(any.id)).state).toBe("READY");
    expect((await client.job(all.id)).state).toBe("AWAITING_PARENTS");
    const second = await site.take("p");
    await site.report(second, { state: "FAILED", done: true, failure: { code: "X", category: "user", message: "no" } });
    expect(await client.job(all.id)).toMatchObject({ state: "FAILED", failure: { code: "PARENT" } });
    expect(await client.job(grandchild.id)).toMatchObject({ state: "FAILED", failure: { code: "PARENT" } });
    expect((await client.job(ended.id)).state).toBe("READY");
    const claim = await site.take("ended");
    expect(claim.spec.parents).toMatchObject([
      { id: left.id, state: "JOB_FINISHED", outputs: [{ path: "o.txt", sha256 }] },
      { id: right.id, state: "FAILED", outputs: [] },
    ]);
    const late = await client.submit({ workflow: "late", parents: [left.id] });
    expect(late.state).toBe("READY");
  });

  it("BAL-4: loses no child that is made while its parent ends", async () => {
    await using hub = await startTestHub(kind);
    await using site = await testSite(hub, "lab-a");
    const client = await hub.client("submitter");
    const rounds = 15;
    await client.bulk(Array.from({ length: rounds }, () => ({ workflow: "p" })));
    const { assign } = await site.sync({ free: [{ workflow: "p", slots: rounds }] });
    expect(assign).toHaveLength(rounds);
    const children = await Promise.all(
      assign.flatMap((claim) => [
        site.finish(claim).then(() => undefined),
        ...Array.from({ length: 4 }, () => client.submit({ workflow: "c", parents: [claim.job] })),
      ]),
    );
    for (const child of children) {
      if (child) expect((await client.job(child.id)).state).toBe("READY");
    }
  });

  it("cancels, pauses, resumes and retries jobs that nobody holds at once, many with a result per id", async () => {
    await using hub = await startTestHub(kind);
    const client = await hub.client("submitter");
    const one = await client.submit({
      workflow: "w",
      name: "n",
      config: { x: 1 },
      parameters: { p: 2 },
      tags: { t: "v" },
    });
    const two = await client.submit({ workflow: "w" });
    expect(await client.retry(one.id)).toMatchObject({ result: "refused" });
    expect(await client.cancel(one.id, "mistake")).toMatchObject({ result: "done", job: { status: "CANCELLED" } });
    const again = await client.retry(one.id);
    expect(again).toMatchObject({
      result: "done",
      job: { retry_of: one.id, name: "n", config: { x: 1 }, parameters: { p: 2 }, tags: { t: "v" }, status: "PENDING" },
    });
    const results = await client.bulkAction("cancel", [one.id, "nmdc:none", two.id], "all");
    expect(results.map((result) => result.result)).toEqual(["already-ended", "not-found", "done"]);
    await expect(client.cancel("nmdc:none")).rejects.toMatchObject({ code: "NOT_FOUND" });
    const paused = await client.bulkAction("pause", [again.job?.id ?? ""]);
    expect(paused[0]?.job).toMatchObject({ status: "PAUSED", hold: { kind: "paused", by: "user:submitter" } });
  });

  it("lists by filter, tag and words, in order, page by page", async () => {
    await using hub = await startTestHub(kind);
    const client = await hub.client("submitter");
    const other = await hub.client("submitter", "bob");
    for (let i = 0; i < 7; i++) {
      await client.submit({
        workflow: i % 2 === 0 ? "even" : "odd",
        name: `job-${i}`,
        tags: { i: String(i), set: "x" },
      });
    }
    const special = await other.submit({ workflow: "odd", description: "100% Lambda_phage", tags: { set: "y" } });
    const names = async (query: Parameters<typeof client.jobs>[0]) => {
      const found = await Array.fromAsync(client.jobs({ limit: 2, sort: "created_at", ...query }));
      return found.map((job) => job.name ?? job.id);
    };
    expect(await names({})).toEqual([...Array.from({ length: 7 }, (_, i) => `job-${i}`), special.id]);
    expect(await names({ sort: "-name", workflow: "even" })).toEqual(["job-6", "job-4", "job-2", "job-0"]);
    expect(await names({ owner: "bob" })).toEqual([special.id]);
    expect(await names({ tag: ["set=x", "i=3"] })).toEqual(["job-3"]);
    expect(await names({ tag: "i", workflow: "odd" })).toEqual(["job-1", "job-3", "job-5"]);
    expect(await names({ search: "LAMBDA_phage 100%" })).toEqual([special.id]);
    expect(await names({ search: "100_" })).toEqual([]);
    await client.cancel((await client.jobPage({ search: "job-2" })).jobs[0]?.id ?? "");
    expect(await names({ status: "CANCELLED" })).toEqual(["job-2"]);
    expect(await names({ active: false })).toEqual(["job-2"]);
    expect(await names({ status: ["PENDING", "RUNNING"], workflow: "even" })).toEqual(["job-0", "job-4", "job-6"]);
    const page = await client.jobPage({ limit: 3, workflow: "even", sort: "created_at" });
    expect(page).toMatchObject({ total: 4 });
    await expect(client.jobPage({ cursor: page.next_cursor ?? "", sort: "name" })).rejects.toMatchObject({
      code: "BAD_PAGE_TOKEN",
    });
    await expect(client.jobPage({ cursor: "junk" })).rejects.toMatchObject({ code: "BAD_PAGE_TOKEN" });
  });
});
