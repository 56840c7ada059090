import { createHash } from "node:crypto";
import { writeFile } from "node:fs/promises";
import { afterAll, beforeAll, expect, test } from "vitest";
import { silentLogger } from "../../../src/common/logger.ts";
import { openCentral } from "../../../src/central/discover.ts";
import type { Central, Report } from "../../../src/central/types.ts";
import { type RunningHub, startHub } from "../../../src/hub/main.ts";
import { createHubClient, type HubClient } from "../../../src/sdk/client.ts";
import type { SyncRequest } from "../../../src/wire/agent-api.ts";
import { FaultProxy } from "../../helpers/fault-proxy.ts";
import { temporaryDirectory, type TemporaryDirectory } from "../../helpers/temporary.ts";
import { testContext } from "./context.ts";

interface Site {
  readonly id: string;
  readonly client_id: string;
  readonly client_secret: string;
}

let directory: TemporaryDirectory;
let hub: RunningHub;
let client: HubClient;
let sites: readonly [Site, Site];
const resources = new AsyncDisposableStack();

beforeAll(async () => {
  directory = resources.use(await temporaryDirectory());
  hub = await startHub({ dev: true, dataDir: directory.path, port: 0, log: silentLogger });
  resources.defer(() => hub.close());
  const { admin, site } = hub;
  if (!admin || !site) throw new Error("a development hub has credentials");
  client = resources.use(createHubClient({ url: hub.url, ...admin }));
  const { token } = await client.login();
  sites = [site, await makeSite("lab-b", token)];
  await client.registries.putWorkflow("open-w", { name: "open" });
  await client.registries.putWorkflow("exclusive-w", { name: "exclusive", claims: "exclusive" });
});

afterAll(() => resources.disposeAsync());

async function makeSite(id: string, token: string): Promise<Site> {
  const headers = { authorization: `Bearer ${token}`, "content-type": "application/json" };
  const made = await fetch(`${hub.url}/sites`, { method: "POST", headers, body: JSON.stringify({ id }) });
  expect(made.status).toBe(201);
  const answer = await fetch(`${hub.url}/sites/${id}:generateCredentials`, { method: "POST", headers });
  expect(answer.status).toBe(200);
  return { id, ...((await answer.json()) as { client_id: string; client_secret: string }) };
}

function centralOf(site: Site, dialect: "auto" | "nmdc" | "hub", url = hub.url): Promise<Central> {
  return openCentral({
    url,
    site: site.id,
    agentId: `agent-of-${site.id}`,
    clientId: site.client_id,
    clientSecret: async () => site.client_secret,
    dialect,
    timeoutMs: 10_000,
  });
}

function request(changes: Partial<SyncRequest> = {}): SyncRequest {
  return { agent_id: "agent", instance_id: "instance", version: "0", state: "running", hold_ms: 0, ...changes };
}

function report(of: { job: string; op_id: string; epoch: number }, changes: Partial<Report>): Report {
  const { job, op_id, epoch } = of;
  const at = new Date().toISOString();
  return { job, op_id, epoch, at, seq: 1, attempt: 0, state: "READY", phase: "claimed", done: false, ...changes };
}

/** The states of a job that goes well, as the agent reports them. */
const life: readonly Partial<Report>[] = [
  { seq: 1, state: "READY", phase: "claimed" },
  { seq: 2, state: "STAGED_IN", phase: "none" },
  { seq: 3, state: "PREPROCESSED", phase: "none" },
  { seq: 4, state: "RUNNING", phase: "started", attempt: 1 },
  {
    seq: 5,
    state: "RUN_DONE",
    phase: "none",
    attempt: 1,
    end: { cause: "exit", exit_code: 0, evidence: "rc", ended_at: "2026-03-01T10:00:00.000Z" },
  },
  { seq: 6, state: "POSTPROCESSED", phase: "none", attempt: 1 },
  { seq: 7, state: "STAGED_OUT", phase: "none", attempt: 1 },
];

test("finds the hub's dialect and passes its check", async () => {
  const [site] = sites;
  await using central = await centralOf(site, "auto");
  expect(await central.check(testContext())).toMatchObject({ ok: true });
  await central.synchronize(request(), testContext());
  expect(central.dialect).toBe("hub");
});

test.each(["hub", "nmdc"] as const)("takes a job to its end in the %s dialect", async (dialect) => {
  const [site] = sites;
  await using central = await centralOf(site, dialect);
  const { id } = await client.submit({ workflow: "open-w", config: { dialect } });
  const sync = await central.synchronize(
    request({ instance_id: dialect, free: [{ workflow: "open-w", slots: 5 }] }),
    testContext(),
  );
  let held: { job: string; op_id: string; epoch: number };
  if (dialect === "hub") {
    const assigned = sync.assign.find(({ job }) => job === id);
    expect(assigned?.spec).toMatchObject({ workflow: "open-w", config: { dialect } });
    held = { job: id, op_id: assigned?.op_id ?? "", epoch: assigned?.epoch ?? 0 };
  } else {
    expect(sync.candidates.find(({ job }) => job === id)?.spec).toMatchObject({ config: { dialect } });
    const claim = await central.claim(id, testContext());
    if (claim.state !== "won") throw new Error(claim.reason);
    held = { job: id, op_id: claim.opId, epoch: claim.epoch };
  }
  const reports = life.map((changes) => report(held, changes));
  expect((await central.report(reports, testContext())).map(({ outcome }) => outcome)).toStrictEqual(
    reports.map(() => "applied"),
  );
  expect((await central.report(reports, testContext())).map(({ outcome }) => outcome)).toStrictEqual(
    reports.map(() => "duplicate"),
  );
  const sha256 = createHash("sha256").update("{}\n").digest("hex");
  const outputs = [{ output: "stats", path: "stats.json", bytes: 3, sha256, stored: false }];
  const last = report(held, { seq: 8, state: "JOB_FINISHED", phase: "none", attempt: 1, done: true, outputs });
  expect(await central.report([last], testContext())).toMatchObject([{ outcome: "applied" }]);
  expect(await client.job(id)).toMatchObject({ state: "JOB_FINISHED", status: "FINISHED", site: site.id });
});

test("claims an exclusive job for one site of two; the other has lost it", async () => {
  const [first, second] = sites;
  await using one = await centralOf(first, "hub");
  await using other = await centralOf(second, "hub");
  const { id } = await client.submit({ workflow: "exclusive-w" });
  const answers = await Promise.all([one.claim(id, testContext()), other.claim(id, testContext())]);
  expect(answers.map(({ state }) => state).sort()).toStrictEqual(["lost", "won"]);
  await using plain = await centralOf(answers[0]?.state === "won" ? second : first, "nmdc");
  expect((await plain.claim(id, testContext())).state).not.toBe("won");
  expect(await one.claim("nmdc:sys0nosuchjob", testContext())).toMatchObject({ state: "refused" });
});

test("the answer of a claim is lost on the line: the second call finds the same claim", async () => {
  const [site] = sites;
  await using proxy = await FaultProxy.start(Number(new URL(hub.url).port));
  for (const [dialect, workflow] of [
    ["hub", "exclusive-w"],
    ["nmdc", "open-w"],
  ] as const) {
    await using central = await centralOf(site, dialect, proxy.url);
    const { id } = await client.submit({ workflow });
    proxy.fault = { kind: "pass" };
    expect(await central.check(testContext())).toMatchObject({ ok: true });
    proxy.fault = { kind: "lose-answers" };
    await expect(central.claim(id, testContext())).rejects.toMatchObject({ code: "UNREACHABLE" });
    proxy.fault = { kind: "pass" };
    const claim = await central.claim(id, testContext());
    expect(claim).toMatchObject({ state: "won" });
    expect(await central.claim(id, testContext())).toStrictEqual(claim);
  }
});

test("of two sites on the plain protocol one keeps the job", async () => {
  const [first, second] = sites;
  await using one = await centralOf(first, "nmdc");
  await using other = await centralOf(second, "nmdc");
  for (let round = 0; round < 5; round++) {
    const { id } = await client.submit({ workflow: "open-w" });
    await Promise.all([one.claim(id, testContext()), other.claim(id, testContext())]);
    const settled = [await one.claim(id, testContext()), await other.claim(id, testContext())];
    expect(settled.map(({ state }) => state).sort()).toStrictEqual(["lost", "won"]);
  }
});

test.each(["hub", "nmdc"] as const)("hands a job back in the %s dialect, and it is open again", async (dialect) => {
  const [first, second] = sites;
  await using central = await centralOf(first, dialect);
  const workflow = dialect === "hub" ? "exclusive-w" : "open-w";
  const { id } = await client.submit({ workflow });
  const claim = await central.claim(id, testContext());
  if (claim.state !== "won") throw new Error(claim.reason);
  const held = { job: id, opId: claim.opId, epoch: claim.epoch, reason: "no room" };
  expect(await central.release(held, testContext())).toBe("released");
  expect(["released", "gone"]).toContain(await central.release(held, testContext()));
  await using other = await centralOf(second, dialect);
  expect(await other.claim(id, testContext())).toMatchObject({ state: "won" });
  const late = report({ job: id, op_id: claim.opId, epoch: claim.epoch }, {});
  expect(await central.report([late], testContext())).toMatchObject([{ outcome: "fenced" }]);
});

test("writes log bytes and an output file, and learns where the log ends", async () => {
  const [site] = sites;
  await using central = await centralOf(site, "hub");
  const { id } = await client.submit({ workflow: "exclusive-w" });
  const claim = await central.claim(id, testContext());
  if (claim.state !== "won") throw new Error(claim.reason);
  const held = { job: id, op_id: claim.opId, epoch: claim.epoch };
  await central.report(
    life.slice(0, 4).map((changes) => report(held, changes)),
    testContext(),
  );
  const chunk = { job: id, epoch: claim.epoch, attempt: 1, stream: "stdout", bytes: Buffer.from("grün\n") } as const;
  expect(await central.putLog({ ...chunk, offset: 0 }, testContext())).toBe(6);
  expect(await central.putLog({ ...chunk, offset: 100 }, testContext())).toBe(6);
  await expect(central.putLog({ ...chunk, epoch: claim.epoch + 7, offset: 6 }, testContext())).rejects.toMatchObject({
    code: "STALE_EPOCH",
  });
  const localPath = directory.join("result.txt");
  await writeFile(localPath, "result\n");
  const sha256 = createHash("sha256").update("result\n").digest("hex");
  const file = { job: id, epoch: claim.epoch, output: "out", path: "a dir/result.txt", localPath, bytes: 7, sha256 };
  await central.putOutput(file, testContext());
  await expect(central.putOutput({ ...file, sha256: "0".repeat(64) }, testContext())).rejects.toMatchObject({
    name: "Fault",
  });
});

test("a cancel order reaches the holder by the long poll", async () => {
  const [site] = sites;
  await using central = await centralOf(site, "hub");
  const { id } = await client.submit({ workflow: "exclusive-w" });
  const claim = await central.claim(id, testContext());
  if (claim.state !== "won") throw new Error(claim.reason);
  await central.report([report({ job: id, op_id: claim.opId, epoch: claim.epoch }, {})], testContext());
  const held = [{ job: id, epoch: claim.epoch, seq: 1, state: "READY" as const }];
  const poll = { instance_id: "poller", hold_ms: 5_000, held };
  const { session_epoch } = await central.synchronize(request({ ...poll, hold_ms: 0 }), testContext());
  const waiting = central.synchronize(request({ ...poll, session_epoch }), testContext());
  await client.cancel(id, "no longer needed");
  // The held call may have been answered for other jobs of the site.
  const orders = [
    ...(await waiting).orders,
    ...(await central.synchronize(request({ ...poll, session_epoch }), testContext())).orders,
  ];
  expect(orders[0]).toMatchObject({ kind: "cancel", job: id, reason: "no longer needed" });
});

test("an older instance is told that it has lost the session", async () => {
  const [site] = sites;
  await using central = await centralOf(site, "hub");
  const old = await central.synchronize(request({ instance_id: "old" }), testContext());
  await central.synchronize(request({ instance_id: "new" }), testContext());
  const again = await central.synchronize(
    request({ instance_id: "old", session_epoch: old.session_epoch }),
    testContext(),
  );
  expect(again.session_current).toBe(false);
});

test("wrong credentials are said to be wrong", async () => {
  const [site] = sites;
  await using central = await centralOf({ ...site, client_secret: "not it" }, "hub");
  await expect(central.synchronize(request(), testContext())).rejects.toMatchObject({ code: "UNAUTHENTICATED" });
});
