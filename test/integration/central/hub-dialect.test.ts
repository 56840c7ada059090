import { createHash } from "node:crypto";
import { writeFile } from "node:fs/promises";
import { expect, test } from "vitest";
import { openCentral } from "../../../src/central/discover.ts";
import type { Central, Report } from "../../../src/central/types.ts";
import { after, answerLost, json, raw, reset, ScriptedServer, silent } from "../../helpers/scripted-server.ts";
import { temporaryDirectory } from "../../helpers/temporary.ts";
import { serveTokens, testContext } from "./context.ts";

const base = "/siteagent/v1";
const version = { "nmdc-runtime": "2.19.0", siteagent: { version: "0.1.0", features: [] } };
const request = { agent_id: "agent-1", instance_id: "i", version: "0", state: "running" } as const;
const emptyAnswer = {
  session_epoch: 4,
  session_current: true,
  next_sync_ms: 10_000,
  server_time: "2026-03-01T10:00:00.000Z",
  assign: [],
  orders: [],
};

async function start(): Promise<ScriptedServer> {
  const server = await ScriptedServer.start();
  serveTokens(server);
  return server.on("GET /version", json(200, version));
}

function centralOf(server: ScriptedServer, more: Partial<Parameters<typeof openCentral>[0]> = {}): Promise<Central> {
  return openCentral({
    url: server.url,
    site: "lab-a",
    agentId: "agent-1",
    clientId: "c",
    clientSecret: async () => "s",
    dialect: "hub",
    timeoutMs: 2_000,
    ...more,
  });
}

function report(seq: number, job = "nmdc:sys0j"): Report {
  return {
    job,
    op_id: "op",
    epoch: 2,
    seq,
    attempt: 0,
    state: "READY",
    phase: "claimed",
    at: "2026-03-01T10:00:00.000Z",
    done: false,
  };
}

function applied(reports: readonly Report[]): object {
  return { results: reports.map(({ job, epoch, seq }) => ({ job, epoch, seq, outcome: "applied" })) };
}

const assignment = {
  job: "nmdc:sys0j",
  op_id: "op",
  epoch: 2,
  lease_ms: 90_000,
  spec: { workflow: "w", config: {}, field_of_the_future: true },
};

test("synchronizes: sends what it is given, gives back what is assigned, ordered and fenced", async () => {
  await using server = await start();
  const order = { id: "o", kind: "cancel", job: "j", reason: "", actor: "user:ann", at: "2026-03-01T10:00:00Z" };
  const answer = { ...emptyAnswer, assign: [assignment], orders: [order], fenced: [{ job: "x", reason: "epoch" }] };
  server.on(`POST ${base}/synchronize`, json(200, answer));
  await using central = await centralOf(server);
  const held = [{ job: "j", epoch: 1, seq: 3, state: "RUNNING" as const }];
  const result = await central.synchronize({ ...request, held }, testContext());
  expect(JSON.parse(server.received(`POST ${base}/synchronize`)[0]?.body ?? "")).toStrictEqual({ ...request, held });
  expect(result).toMatchObject({
    session_epoch: 4,
    assign: [{ job: "nmdc:sys0j", epoch: 2, spec: { workflow: "w", parents: [], tags: {} } }],
    orders: [order],
    fenced: [{ job: "x" }],
    missing: [],
    candidates: [],
    log_interval_ms: 5_000,
  });
});

test("an assignment or order that cannot be read hides no other; an order of an unknown kind is handed on", async () => {
  await using server = await start();
  const order = (kind: unknown): object => ({
    id: "o",
    kind,
    job: "j",
    reason: "",
    actor: "a",
    at: "2026-03-01T10:00:00Z",
  });
  const body = JSON.stringify({
    ...emptyAnswer,
    assign: [{ ...assignment, job: "bad", epoch: "two" }, assignment, { ...assignment, job: "PROTO" }],
    orders: [order(7), order("teleport")],
    fenced: [{}, { job: "f", reason: "r" }],
  }).replace('"job":"PROTO"', '"job":"p","__proto__":{"polluted":1}');
  server.on(`POST ${base}/synchronize`, raw(200, "application/json", body));
  await using central = await centralOf(server);
  const context = testContext();
  const result = await central.synchronize(request, context);
  expect(result.assign.map(({ job }) => job)).toStrictEqual(["nmdc:sys0j"]);
  expect(result.orders.map(({ kind }) => kind)).toStrictEqual(["teleport"]);
  expect(result.fenced).toStrictEqual([{ job: "f", reason: "r" }]);
  expect(context.warnings.length).toBe(4);
});

test("a long poll may last as long as the hub was allowed to hold it, also above the limit of other calls", async () => {
  await using server = await start();
  const gate = Promise.withResolvers<void>();
  server.on(`POST ${base}/synchronize`, after(gate.promise, json(200, emptyAnswer))).on(`POST ${base}/reports`, silent);
  await using central = await centralOf(server, { timeoutMs: 100 });
  const poll = central.synchronize({ ...request, hold_ms: 5_000 }, testContext());
  // This one fails by its limit while the poll is held.
  await expect(central.report([report(1)], testContext())).rejects.toMatchObject({ details: { kind: "timeout" } });
  gate.resolve();
  expect(await poll).toMatchObject({ session_epoch: 4 });
});

test("claims with a key of agent and job, so that a lost answer is asked for again", async () => {
  await using server = await start();
  server.on(`POST ${base}/jobs/*`, json(200, assignment));
  await using central = await centralOf(server);
  server.next(`POST ${base}/jobs/*`, answerLost(json(200, assignment)));
  await expect(central.claim("nmdc:sys0j", testContext())).rejects.toMatchObject({ code: "UNREACHABLE" });
  expect(await central.claim("nmdc:sys0j", testContext())).toStrictEqual({ state: "won", opId: "op", epoch: 2 });
  const calls = server.received(`POST ${base}/jobs/*`);
  expect(calls.map(({ path }) => path)).toStrictEqual(Array.from({ length: 2 }, () => `${base}/jobs/nmdc:sys0j:claim`));
  expect(calls.map(({ headers }) => headers["idempotency-key"])).toStrictEqual(
    Array.from({ length: 2 }, () => "agent-1:nmdc:sys0j"),
  );
});

test.each([
  [409, "CLAIM_LOST", "lost"],
  [404, "NOT_FOUND", "refused"],
  [409, "CONFLICT", "refused"],
])("a claim answered %i %s is %s", async (status, code, state) => {
  await using server = await start();
  server.on(`POST ${base}/jobs/*`, json(status, { detail: "words", code }));
  await using central = await centralOf(server);
  expect(await central.claim("j", testContext())).toStrictEqual({ state, reason: "words" });
});

test("reports a batch and gives the results as they are", async () => {
  await using server = await start();
  const results = [
    { job: "nmdc:sys0j", epoch: 2, seq: 1, outcome: "duplicate" },
    { job: "nmdc:sys0j", epoch: 2, seq: 3, outcome: "gap", expected_seq: 2 },
  ];
  server.on(`POST ${base}/reports`, json(200, { results }));
  await using central = await centralOf(server);
  expect(await central.report([report(1), report(3)], testContext())).toStrictEqual(results);
  expect(await central.report([], testContext())).toStrictEqual([]);
  expect(server.received(`POST ${base}/reports`).length).toBe(1);
});

test.each([
  ["about other reports", { results: [{ job: "other", epoch: 2, seq: 1, outcome: "applied" }] }],
  ["about another epoch", { results: [{ job: "nmdc:sys0j", epoch: 1, seq: 1, outcome: "applied" }] }],
  ["too short", { results: [] }],
])("an answer %s acknowledges nothing", async (_name, body) => {
  await using server = await start();
  server.on(`POST ${base}/reports`, json(200, body));
  await using central = await centralOf(server);
  await expect(central.report([report(1)], testContext())).rejects.toMatchObject({ code: "UNREACHABLE" });
});

test("an outcome of the future acknowledges nothing and leaves the others their own", async () => {
  await using server = await start();
  const [first, second] = [report(1), report(1, "other")];
  const { results } = applied([first, second]) as { results: object[] };
  server.on(`POST ${base}/reports`, json(200, { results: [{ ...results[0], outcome: "postponed" }, results[1]] }));
  await using central = await centralOf(server);
  const outcomes = await central.report([first, second], testContext());
  expect(outcomes.map(({ outcome }) => outcome)).toStrictEqual(["gap", "applied"]);
});

test("a batch that is too large goes in halves, down to the one that is refused", async () => {
  await using server = await start();
  server.on(`POST ${base}/reports`, (received, response) => {
    const { reports } = JSON.parse(received.body) as { reports: Report[] };
    const bad = reports.some(({ seq }) => seq === 3);
    const answer = bad ? json(413, { detail: "too large", code: "TOO_LARGE" }) : json(200, applied(reports));
    return answer(received, response);
  });
  await using central = await centralOf(server);
  const results = await central.report(
    [1, 2, 3, 4, 5].map((seq) => report(seq, `job-${seq}`)),
    testContext(),
  );
  expect(results.map(({ seq, outcome }) => `${seq} ${outcome}`)).toStrictEqual([
    "1 applied",
    "2 applied",
    "3 refused",
    "4 applied",
    "5 applied",
  ]);
});

test.each([
  [200, { id: "j" }, "released"],
  [409, { detail: "epoch 1 is over", code: "STALE_EPOCH" }, "gone"],
  [404, { detail: "Not found", code: "NOT_FOUND" }, "gone"],
])("a release answered %i means %j", async (status, body, outcome) => {
  await using server = await start();
  server.on(`POST ${base}/jobs/*`, json(status, body));
  await using central = await centralOf(server);
  const held = { job: "j", opId: "op", epoch: 2, reason: "drained" };
  expect(await central.release(held, testContext())).toBe(outcome);
  expect(JSON.parse(server.requests.at(-1)?.body ?? "")).toStrictEqual({ epoch: 2, reason: "drained" });
});

test("a release that the hub refuses for the job's state is told, not hidden", async () => {
  await using server = await start();
  server.on(`POST ${base}/jobs/*`, json(409, { detail: "it runs", code: "ILLEGAL_TRANSITION" }));
  await using central = await centralOf(server);
  const held = { job: "j", opId: "op", epoch: 2, reason: "" };
  await expect(central.release(held, testContext())).rejects.toMatchObject({ code: "ILLEGAL_TRANSITION" });
});

test("sends log bytes from their offset and learns where the hub is", async () => {
  await using server = await start();
  server
    .on(`PUT ${base}/jobs/*`, json(200, { offset: 15 }))
    .next(
      `PUT ${base}/jobs/*`,
      json(200, { offset: 15 }),
      json(416, { detail: "ends at 4", code: "BAD_OFFSET", details: { offset: 4 } }),
      json(409, { detail: "over", code: "STALE_EPOCH" }),
    );
  await using central = await centralOf(server);
  const bytes = Buffer.from("grün\n");
  const chunk = { job: "nmdc:sys0j", epoch: 2, attempt: 1, stream: "stderr", offset: 9, bytes } as const;
  expect(await central.putLog(chunk, testContext())).toBe(15);
  const [sent] = server.received(`PUT ${base}/jobs/*`);
  expect(sent).toMatchObject({ path: `${base}/jobs/nmdc:sys0j/logs/stderr`, body: "grün\n" });
  expect(Object.fromEntries(sent?.query ?? [])).toStrictEqual({ attempt: "1", offset: "9", epoch: "2" });
  expect(await central.putLog(chunk, testContext())).toBe(4);
  await expect(central.putLog(chunk, testContext())).rejects.toMatchObject({ code: "STALE_EPOCH" });
});

test("uploads an output file, also again after a reset, and compares the digest that the hub has", async () => {
  await using directory = await temporaryDirectory();
  const localPath = directory.join("out");
  const content = "x".repeat(300_000);
  await writeFile(localPath, content);
  const sha256 = createHash("sha256").update(content).digest("hex");
  await using server = await start();
  const stored = json(200, { bytes: content.length, sha256 });
  const served = new Set<number>();
  let resets = 0;
  // The first connection that serves a second call is reset.
  server.on(`PUT ${base}/jobs/*`, (received, response) => {
    if (resets === 0 && served.has(received.connection)) {
      resets++;
      return reset(received, response);
    }
    served.add(received.connection);
    return stored(received, response);
  });
  await using central = await centralOf(server);
  const file = {
    job: "j",
    epoch: 2,
    output: "stats",
    path: "a dir/stats?.json",
    localPath,
    bytes: content.length,
    sha256,
  };
  const connections = 8; // at most: then one has to be used again
  for (let calls = 0; calls <= connections; calls++) await central.putOutput(file, testContext());
  expect(resets).toBe(1);
  for (const sent of server.received(`PUT ${base}/jobs/*`)) {
    expect(sent.path).toBe(`${base}/jobs/j/outputs/a dir/stats?.json`);
    expect(sent.body.length).toBe(content.length);
    expect(sent.headers["content-length"]).toBe(String(content.length));
    expect(Object.fromEntries(sent.query)).toStrictEqual({ output: "stats", epoch: "2", sha256 });
  }
  server.next(
    `PUT ${base}/jobs/*`,
    json(200, { bytes: content.length, sha256: "0".repeat(64) }),
    json(413, { detail: "above the cap", code: "TOO_LARGE" }),
  );
  await expect(central.putOutput(file, testContext())).rejects.toMatchObject({ code: "DIGEST_MISMATCH" });
  await expect(central.putOutput(file, testContext())).rejects.toMatchObject({ code: "TOO_LARGE" });
});

test("finds out the dialect with the first call that gets through, and keeps to it", async () => {
  await using server = await start();
  server
    .next("GET /version", raw(200, "text/html", "<html>log in</html>"), json(200, { name: "another service" }))
    .on(`POST ${base}/synchronize`, json(200, emptyAnswer));
  const found: string[] = [];
  await using central = await centralOf(server, { dialect: "auto", onDialect: (dialect) => found.push(dialect) });
  expect(central.dialect).toBe("nmdc");
  for (let tries = 0; tries < 2; tries++) {
    await expect(central.synchronize(request, testContext())).rejects.toMatchObject({ code: "UNREACHABLE" });
  }
  expect(found).toStrictEqual([]);
  await Promise.all([central.synchronize(request, testContext()), central.synchronize(request, testContext())]);
  server.on("GET /version", json(200, { "nmdc-runtime": "2.19.0" }));
  await central.synchronize(request, testContext());
  expect(found).toStrictEqual(["hub"]);
  expect(central).toMatchObject({ dialect: "hub", capabilities: { longPoll: true, orders: true } });
  expect(server.received("GET /version").length).toBe(3);
});

test("speaks plain NMDC where the version names no hub, and assumes what it was told until it knows", async () => {
  await using server = await start();
  server.on("GET /version", json(200, { "nmdc-runtime": "2.19.0" }));
  await using central = await centralOf(server, { dialect: "auto", remembered: "hub" });
  expect(central.dialect).toBe("hub");
  const context = testContext();
  expect(await central.synchronize(request, context)).toMatchObject({ candidates: [], session_current: true });
  expect(central).toMatchObject({ dialect: "nmdc", capabilities: { orders: false } });
  expect(context.warnings).toStrictEqual(["the API speaks another dialect than before"]);
});

test("names the certificate file that cannot be read", async () => {
  await using server = await start();
  await expect(centralOf(server, { caFile: "/nonexistent/ca.pem" })).rejects.toMatchObject({
    code: "CONFIG",
    message: expect.stringContaining("/nonexistent/ca.pem"),
  });
});

test("gives the token for files of this hub and for nothing else", async () => {
  await using server = await start();
  await using central = await centralOf(server);
  const headers = (url: string): Promise<Readonly<Record<string, string>>> =>
    central.downloadHeaders(new URL(url), testContext());
  expect(await headers(`${server.url}${base}/files/reads.fq`)).toStrictEqual({ authorization: "Bearer t1" });
  for (const url of [
    `${server.url}${base}/files`,
    `${server.url}${base}/files/../jobs`,
    `${server.url}${base}/files/%2e%2e/jobs`,
    `${server.url}/objects/x`,
    `http://127.0.0.1:1${base}/files/x`,
    `${server.url.replace("http:", "https:")}${base}/files/x`,
    `http://${new URL(server.url).host}@elsewhere.example${base}/files/x`,
  ]) {
    expect(await headers(url), url).toStrictEqual({});
  }
});
