import { createHash } from "node:crypto";
import { readdir, readFile } from "node:fs/promises";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { describe, expect, it } from "vitest";
import { createHubClient } from "../../../src/sdk/client.ts";
import { temporaryDirectory } from "../../helpers/temporary.ts";
import { waitFor } from "../../helpers/wait.ts";
import { startTestHub } from "../hub-v1/hub.ts";
import { testSite } from "../hub-v1/site.ts";
import { CuttingProxy } from "./proxy.ts";

describe("the hub client", () => {
  it("throws the hub's own code, and UNREACHABLE for anything that is no answer of the API", async () => {
    await using hub = await startTestHub("sqlite");
    const client = await hub.client("viewer");
    await expect(client.job("nmdc:none")).rejects.toMatchObject({ code: "NOT_FOUND" });
    await expect(client.submit({ workflow: "w" })).rejects.toMatchObject({ code: "FORBIDDEN" });
    const submitter = await hub.client("submitter");
    await expect(submitter.submit({ workflow: "" })).rejects.toMatchObject({
      code: "INVALID",
      message: expect.stringContaining("body.workflow"),
    });
    await using nobody = createHubClient({ url: hub.url });
    await expect(nobody.me()).rejects.toMatchObject({ code: "UNAUTHENTICATED" });
    await using closed = createHubClient({ url: "http://127.0.0.1:1" });
    await expect(closed.me()).rejects.toMatchObject({ code: "UNREACHABLE" });
    const stranger = createServer((_request, response) => {
      response.writeHead(404, { "content-type": "text/html" }).end("<h1>nothing here</h1>");
    });
    await new Promise<void>((resolve) => stranger.listen(0, "127.0.0.1", resolve));
    try {
      const url = `http://127.0.0.1:${(stranger.address() as AddressInfo).port}`;
      await using lost = createHubClient({ url, token: "t" });
      await expect(lost.job("nmdc:none")).rejects.toMatchObject({ code: "UNREACHABLE" });
    } finally {
      stranger.closeAllConnections();
      stranger.close();
    }
  });

  it("gives up an answer that does not come in time", async () => {
    const silent = createServer(() => {});
    await new Promise<void>((resolve) => silent.listen(0, "127.0.0.1", resolve));
    try {
      const url = `http://127.0.0.1:${(silent.address() as AddressInfo).port}`;
      await using client = createHubClient({ url, token: "t", timeoutMs: 100 });
      await expect(client.me()).rejects.toMatchObject({ code: "UNREACHABLE" });
    } finally {
      silent.closeAllConnections();
      silent.close();
    }
  });

  it("asks its provider for a new token after a refusal, once for all callers", async () => {
    await using hub = await startTestHub("sqlite");
    const tokens = ["expired", await hub.userToken("viewer")];
    let asked = 0;
    const tokenProvider = async (): Promise<string> => {
      await Promise.resolve();
      return tokens[Math.min(asked++, 1)] ?? "";
    };
    await using client = createHubClient({ url: hub.url, tokenProvider });
    const answers = await Promise.all(Array.from({ length: 5 }, () => client.me()));
    expect(answers.map((me) => me.name)).toEqual(Array.from({ length: 5 }, () => "viewer"));
    expect(asked).toBe(2);
  });

  it("makes one job although the answer was lost on the way", async () => {
    await using hub = await startTestHub("sqlite");
    await using proxy = await CuttingProxy.start(hub.url);
    await using client = createHubClient({ url: proxy.url, token: await hub.userToken("submitter") });
    await client.me();
    proxy.answerBytes = 30;
    const job = await client.submit({ workflow: "w" });
    proxy.answerBytes = 30;
    const [bulk] = await client.bulk([{ workflow: "w" }]);
    expect(bulk).toMatchObject({ created: false });
    const page = await client.jobPage({ sort: "created_at" });
    expect(page.total).toBe(2);
    expect(page.jobs[0]?.id).toBe(job.id);
  });

  it("follows a log over cut connections without a missing or doubled byte", async () => {
    await using hub = await startTestHub("sqlite");
    await using site = await testSite(hub, "lab-a");
    await using proxy = await CuttingProxy.start(hub.url);
    await using client = createHubClient({ url: proxy.url, token: await hub.userToken("submitter") });
    await client.submit({ workflow: "w" });
    const claim = await site.take("w");
    await site.report(claim, { state: "RUNNING", phase: "started", attempt: 1 });
    let text = "";
    const reading = (async () => {
      for await (const piece of client.logs(claim.job, { follow: true, pollMs: 5 })) {
        text += Buffer.from(piece.bytes).toString();
      }
    })();
    let expected = "";
    for (let round = 0; round < 20; round++) {
      const line = `line ${round} ${"x".repeat(round * 50)}\n`;
      const query = `attempt=1&offset=${expected.length}&epoch=${claim.epoch}`;
      await site.call("PUT", `/jobs/${claim.job}/logs/stdout?${query}`, line);
      expected += line;
      if (round % 4 === 1) proxy.cut();
      if (round % 4 === 3) proxy.answerBytes = 200;
      await waitFor(() => text.length >= expected.length - 2_000, { what: "the reader to come along" });
    }
    await site.report(claim, { state: "JOB_FINISHED", attempt: 1, done: true });
    const query = `attempt=1&offset=${expected.length}&epoch=${claim.epoch}&final=true`;
    await site.call("PUT", `/jobs/${claim.job}/logs/stdout?${query}`, "");
    await reading;
    expect(text).toBe(expected);
  });

  it("resumes a download where it broke off, and keeps nothing that is not what was promised", async () => {
    await using hub = await startTestHub("sqlite");
    await using site = await testSite(hub, "lab-a");
    await using proxy = await CuttingProxy.start(hub.url);
    await using directory = await temporaryDirectory();
    await using client = createHubClient({ url: proxy.url, token: await hub.userToken("submitter") });
    await client.submit({ workflow: "w" });
    const claim = await site.take("w");
    const bytes = Buffer.alloc(3_000_000, "0123456789abcdef");
    const sha256 = createHash("sha256").update(bytes).digest("hex");
    await site.call("PUT", `/jobs/${claim.job}/outputs/big?output=o&epoch=${claim.epoch}&sha256=${sha256}`, bytes);
    await client.outputs.list(claim.job);
    proxy.answerBytes = 1_000_000;
    await client.outputs.save(claim.job, "big", directory.join("big"));
    expect(await readFile(directory.join("big"))).toEqual(bytes);
    await hub.ctx.store.db
      .updateTable("outputs")
      .set({ content: Buffer.alloc(bytes.length) })
      .execute();
    await expect(client.outputs.save(claim.job, "big", directory.join("other"))).rejects.toMatchObject({
      code: "DIGEST_MISMATCH",
    });
    expect(await readdir(directory.path)).toEqual(["big"]);
  });

  it("waits for jobs to end, tells what is still open when the time is over, and stops when told", async () => {
    await using hub = await startTestHub("sqlite");
    await using site = await testSite(hub, "lab-a");
    const client = await hub.client("submitter");
    const [one, two] = [await client.submit({ workflow: "w" }), await client.submit({ workflow: "w" })];
    const seen: string[] = [];
    const waiting = client.wait([two.id, one.id], { onChange: (job) => seen.push(job.status) });
    for (let i = 0; i < 2; i++) await site.finish(await site.take("w"));
    expect((await waiting).map((job) => [job.id, job.status])).toEqual([
      [two.id, "FINISHED"],
      [one.id, "FINISHED"],
    ]);
    expect(seen.filter((status) => status === "FINISHED")).toHaveLength(2);
    const open = await client.submit({ workflow: "w" });
    await expect(client.wait([one.id, open.id], { timeoutMs: 100 })).rejects.toMatchObject({
      code: "TIMEOUT",
      details: { open: [open.id] },
    });
    await expect(client.wait([open.id], { signal: AbortSignal.timeout(50) })).rejects.toMatchObject({
      code: "CANCELLED",
    });
    await expect(client.wait(["nmdc:none"])).rejects.toMatchObject({ code: "NOT_FOUND" });
  });

  it("polls for events where streams do not come through", async () => {
    await using hub = await startTestHub("sqlite");
    const submitter = await hub.client("submitter");
    const token = await hub.userToken("viewer");
    let streams = 0;
    const blocker = createServer((request, response) => {
      if (request.headers.accept?.includes("event-stream")) {
        streams++;
        response.writeHead(502, { "content-type": "text/html" }).end("no streams here");
        return;
      }
      void fetch(`${hub.url}${request.url ?? ""}`, { headers: { authorization: `Bearer ${token}` } }).then(
        async (answer) => {
          response.writeHead(answer.status, { "content-type": "application/json" }).end(await answer.text());
        },
      );
    });
    await new Promise<void>((resolve) => blocker.listen(0, "127.0.0.1", resolve));
    try {
      const url = `http://127.0.0.1:${(blocker.address() as AddressInfo).port}`;
      await using client = createHubClient({ url, token });
      const made: string[] = [];
      const seen: (string | null)[] = [];
      const stop = new AbortController();
      const reading = (async () => {
        for await (const event of client.events({ after: 0, signal: stop.signal, pollMs: 20 })) seen.push(event.job);
      })();
      for (let i = 0; i < 3; i++) made.push((await submitter.submit({ workflow: "w" })).id);
      await waitFor(() => seen.length === 3, { what: "three events" });
      stop.abort();
      await reading;
      expect(seen).toEqual(made);
      expect(streams).toBeGreaterThan(0);
    } finally {
      blocker.closeAllConnections();
      blocker.close();
    }
  });
});
