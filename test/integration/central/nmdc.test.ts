import { expect, test } from "vitest";
import { systemClock } from "../../../src/common/clock.ts";
import { openCentral } from "../../../src/central/discover.ts";
import type { Central, Report } from "../../../src/central/types.ts";
import type { SyncRequest } from "../../../src/wire/agent-api.ts";
import { answerLost, json, raw, silent } from "../../helpers/scripted-server.ts";
import { testContext } from "./context.ts";
import { NmdcWorld } from "./nmdc-world.ts";

function centralOf(world: NmdcWorld, site = "lab-a"): Promise<Central> {
  return openCentral({
    url: world.server.url,
    site,
    agentId: "agent-1",
    clientId: `client-${site}`,
    clientSecret: async () => "secret",
    dialect: "nmdc",
    timeoutMs: 3_000,
  });
}

function request(changes: Partial<SyncRequest> = {}): SyncRequest {
  return { agent_id: "a", instance_id: "i", version: "0", state: "running", ...changes };
}

function report(changes: Partial<Report> = {}): Report {
  return {
    job: "j",
    op_id: "op-1",
    epoch: 1,
    seq: 1,
    attempt: 0,
    state: "READY",
    phase: "claimed",
    at: "2026-03-01T10:00:00.000Z",
    done: false,
    ...changes,
  };
}

/** While `work` runs, calls of the route have their effect but no reply comes. */
async function losing(world: NmdcWorld, route: string, work: () => Promise<void>): Promise<void> {
  const whole = world.server.lasting(route);
  world.server.on(route, answerLost(whole));
  await work();
  world.server.on(route, whole);
}

test("offers open jobs of the offered workflows only, as many as there are slots", async () => {
  await using world = await NmdcWorld.start();
  for (const n of [1, 2, 3]) world.addJob(`a${n}`, "wa", { n });
  world.addJob("b1", "wb");
  world.addJob("c1", "wc");
  world.claim("a1", "lab-b");
  world.claim("a2", "lab-b");
  world.release("a2", "lab-b");
  delete world.jobs.get("b1")?.claims;
  await using central = await centralOf(world);
  const free = [
    { workflow: "wa", slots: 5 },
    { workflow: "wb", slots: 1 },
  ];
  const answer = await central.synchronize(request({ free }), testContext());
  expect(answer.candidates.map(({ job }) => job)).toStrictEqual(["a2", "a3", "b1"]);
  expect(answer.candidates[1]?.spec).toMatchObject({ workflow: "wa", config: { n: 3 }, parameters: {}, parents: [] });
  expect(answer).toMatchObject({ session_current: true, assign: [], orders: [], fenced: [], next_sync_ms: 15_000 });
  const one = await central.synchronize(request({ free, max_assign: 1 }), testContext());
  expect(one.candidates.length).toBe(1);
});

test("asks for nothing when there is no slot", async () => {
  await using world = await NmdcWorld.start();
  await using central = await centralOf(world);
  await central.synchronize(request(), testContext());
  await central.synchronize(request({ free: [{ workflow: "w", slots: 1 }], max_assign: 0 }), testContext());
  expect(world.server.requests).toStrictEqual([]);
});

test("looks at each workflow by itself when one of them fills the list", async () => {
  await using world = await NmdcWorld.start();
  for (let n = 0; n < 10; n++) world.addJob(`a${n}`, "wa");
  world.addJob("z", "wz");
  await using central = await centralOf(world);
  const free = [
    { workflow: "wa", slots: 1 },
    { workflow: "wz", slots: 1 },
  ];
  const { candidates } = await central.synchronize(request({ free }), testContext());
  expect(candidates.map(({ job }) => job).sort()).toStrictEqual(["a0", "z"]);
});

test("repeats the filter with each page token, and starts over when a token is gone", async () => {
  await using world = await NmdcWorld.start();
  const job = (id: string): object => ({ id, workflow: { id: "w" }, config: {} });
  world.server.next(
    "GET /jobs",
    json(200, { resources: [job("1")], next_page_token: "t1" }),
    json(400, { detail: "`page_token` not found" }),
    json(200, { resources: [job("1")], next_page_token: "t2" }),
    json(200, { resources: [job("2")] }),
  );
  await using central = await centralOf(world);
  const { candidates } = await central.synchronize(request({ free: [{ workflow: "w", slots: 9 }] }), testContext());
  expect(candidates.map(({ job: id }) => id)).toStrictEqual(["1", "2"]);
  const pages = world.server.received("GET /jobs");
  expect(pages.map(({ query }) => query.get("page_token"))).toStrictEqual([null, "t1", null, "t2"]);
  expect(new Set(pages.map(({ query }) => query.get("filter"))).size).toBe(1);
});

test("a hostile or unreadable job in the list hides no other", async () => {
  await using world = await NmdcWorld.start();
  const deep = "[".repeat(80) + "]".repeat(80);
  const bad = [
    `{"id":"deep","workflow":{"id":"w"},"config":{"x":${deep}}}`,
    '{"id":"proto","workflow":{"id":"w"},"config":{"__proto__":{"polluted":true}}}',
    '{"id":"","workflow":{"id":"w"},"config":{}}',
    '{"id":"no-config","workflow":{"id":"w"}}',
    "null",
  ];
  const good = '{"id":"good","workflow":{"id":"w","new_field":1},"config":{},"claims":null,"more":[]}';
  world.server.next("GET /jobs", raw(200, "application/json", `{"resources":[${[...bad, good].join(",")}]}`));
  await using central = await centralOf(world);
  const context = testContext();
  const { candidates } = await central.synchronize(request({ free: [{ workflow: "w", slots: 9 }] }), context);
  expect(candidates.map(({ job }) => job)).toStrictEqual(["good"]);
  expect(context.warnings.length).toBe(bad.length);
  expect({}).not.toHaveProperty("polluted");
});

test("resolves the object of a trigger's job, and goes on without one that is not there", async () => {
  await using world = await NmdcWorld.start();
  world.addJob("j1", "w", { object_id: "sys0obj1" });
  world.addJob("j2", "w", { object_id: "sys0obj2" });
  world.addJob("j3", "w", { object_id: "sys0obj3" });
  world.server
    .on(
      "GET /objects/sys0obj1",
      json(200, {
        id: "sys0obj1",
        name: "reads.fq",
        size: 12,
        checksums: [{ type: "sha256", checksum: "9f" }],
        access_methods: [{ type: "https", access_url: { url: "https://data.example/reads.fq" } }, { access_id: "x" }],
        self_uri: "drs://x",
      }),
    )
    .on("GET /objects/sys0obj2", json(404, { detail: "Not found" }))
    .on("GET /objects/sys0obj3", raw(307, "", "", { location: "https://schema.example/sys0obj3" }));
  await using central = await centralOf(world);
  const { candidates } = await central.synchronize(request({ free: [{ workflow: "w", slots: 9 }] }), testContext());
  expect(candidates.map(({ spec }) => spec.object)).toEqual([
    {
      id: "sys0obj1",
      name: "reads.fq",
      size: 12,
      checksums: [{ type: "sha256", checksum: "9f" }],
      urls: ["https://data.example/reads.fq"],
    },
    undefined,
    undefined,
  ]);
});

test("claims once and knows its claim again", async () => {
  await using world = await NmdcWorld.start();
  world.addJob("j");
  await using central = await centralOf(world);
  const won = { state: "won", opId: "op-1", epoch: 1 };
  expect(await central.claim("j", testContext())).toStrictEqual(won);
  expect(await central.claim("j", testContext())).toStrictEqual(won);
  expect(world.operations.size).toBe(1);
});

test("finds its claim again after the answer was lost", async () => {
  await using world = await NmdcWorld.start();
  world.addJob("j");
  await using central = await centralOf(world);
  await losing(world, "POST /jobs/*", async () => {
    await expect(central.claim("j", testContext())).rejects.toMatchObject({ code: "UNREACHABLE" });
  });
  expect(world.operations.size).toBe(1);
  expect(await central.claim("j", testContext())).toMatchObject({ state: "won", opId: "op-1" });
  expect(world.operations.size).toBe(1);
});

test("never repeats a claim by itself, also over a reused connection", async () => {
  await using world = await NmdcWorld.start();
  world.addJob("warm");
  world.addJob("j");
  await using central = await centralOf(world);
  for (let calls = 0; calls < 5; calls++) await central.claim("warm", testContext());
  await losing(world, "POST /jobs/*", async () => {
    await expect(central.claim("j", testContext())).rejects.toMatchObject({ code: "UNREACHABLE" });
  });
  expect(world.operationsOf("j").length).toBe(1);
});

test("makes one of several claims of its own and closes the others", async () => {
  await using world = await NmdcWorld.start();
  world.addJob("j");
  world.claim("j", "lab-a");
  world.claim("j", "lab-a");
  await using central = await centralOf(world);
  expect(await central.claim("j", testContext())).toMatchObject({ state: "won", opId: "op-1" });
  expect(world.live("j")).toStrictEqual(["op-1"]);
  expect(world.operations.get("op-2")).toMatchObject({ done: true, result: { code: "DUPLICATE_CLAIM" } });
});

test.each([
  ["does not claim what another site holds", (world: NmdcWorld) => world.claim("j", "lab-b"), "lost"],
  [
    "does not claim what another site has finished",
    (world: NmdcWorld) => Object.assign(world.claim("j", "lab-b"), { done: true }),
    "lost",
  ],
  [
    "claims what another site has released",
    (world: NmdcWorld) => {
      world.claim("j", "lab-b");
      world.release("j", "lab-b");
    },
    "won",
  ],
  [
    "claims what was opened again after it had been finished",
    (world: NmdcWorld) => {
      Object.assign(world.claim("j", "lab-b"), { done: true });
      world.release("j", "lab-b");
    },
    "won",
  ],
])("%s", async (_name, prepare, state) => {
  await using world = await NmdcWorld.start();
  world.addJob("j");
  prepare(world);
  await using central = await centralOf(world);
  expect(await central.claim("j", testContext())).toMatchObject({ state });
  expect(world.server.received("POST /jobs/*").length).toBe(state === "won" ? 1 : 0);
});

test.each([
  [403, "client site does not have capability X required to claim job"],
  [404, "Not found"],
])("a claim refused with %i skips the job", async (status, detail) => {
  await using world = await NmdcWorld.start();
  world.addJob("j");
  world.server.next("POST /jobs/*", json(status, { detail }));
  await using central = await centralOf(world);
  expect(await central.claim("j", testContext())).toStrictEqual({ state: "refused", reason: detail });
});

test("a job that is gone is refused, a page of a balancer is no answer", async () => {
  await using world = await NmdcWorld.start();
  await using central = await centralOf(world);
  expect(await central.claim("gone", testContext())).toMatchObject({ state: "refused" });
  world.server.next("GET /jobs/*", raw(404, "text/html", "<h1>404</h1>"));
  await expect(central.claim("gone", testContext())).rejects.toMatchObject({ code: "UNREACHABLE" });
});

test("of two sites that claim at the same moment one keeps the job and the other lets go", async () => {
  await using world = await NmdcWorld.start();
  world.addJob("j");
  await using one = await centralOf(world, "lab-a");
  await using other = await centralOf(world, "lab-b");
  // Both have looked before either claims.
  let looked = 0;
  const bothLooked = Promise.withResolvers<void>();
  const list = world.server.lasting("GET /operations");
  const gated: typeof list = async (received, response) => {
    if (++looked === 2) bothLooked.resolve();
    await bothLooked.promise;
    await list(received, response);
  };
  world.server.next("GET /operations", gated, gated);
  const answers = await Promise.all([one.claim("j", testContext()), other.claim("j", testContext())]);
  const again = await Promise.all([one.claim("j", testContext()), other.claim("j", testContext())]);
  const winners = again.filter(({ state }) => state === "won");
  expect(winners.length, JSON.stringify({ answers, again })).toBe(1);
  expect(world.live("j")).toStrictEqual([winners[0]?.state === "won" ? winners[0].opId : ""]);
});

test("of two claims the smaller op_id keeps the job, unless the other has confirmed", async () => {
  await using world = await NmdcWorld.start();
  await using central = await centralOf(world);
  for (const [job, ours, theirs, confirmed, state] of [
    ["j1", "b", "a", false, "lost"],
    ["j2", "a", "b", false, "won"],
    ["j3", "a", "b", true, "lost"],
  ] as const) {
    world.addJob(job);
    world.nextOps.push(`${job}-${ours}`, `${job}-${theirs}`);
    world.claim(job, "lab-a");
    const rival = world.claim(job, "lab-b");
    if (confirmed) rival.metadata["siteagent"] = { state: "READY", seq: 1 };
    expect(await central.claim(job, testContext())).toMatchObject({ state });
    expect(world.live(job)).toStrictEqual(state === "won" ? [`${job}-a`, `${job}-b`] : [rival.id]);
  }
  // Let go in the order that leaves nothing behind: released, then closed.
  expect(world.operations.get("j1-b")).toMatchObject({
    done: true,
    metadata: { cancelled: true, site_id: "lab-a" },
    result: { code: "CLAIM_LOST" },
  });
});

test("confirms its claim with the first report; a rival that confirmed meanwhile fences it", async () => {
  await using world = await NmdcWorld.start();
  world.addJob("j");
  await using central = await centralOf(world);
  await central.claim("j", testContext());
  world.claim("j", "lab-b").metadata["siteagent"] = { state: "READY", seq: 1 };
  expect(await central.report([report()], testContext())).toMatchObject([{ outcome: "fenced" }]);
  expect(world.live("j")).toStrictEqual(["op-2"]);
});

test("reports state, keeps foreign metadata, and closes with the outputs", async () => {
  await using world = await NmdcWorld.start();
  world.addJob("j");
  await using central = await centralOf(world);
  await central.claim("j", testContext());
  Object.assign(world.operations.get("op-1")?.metadata ?? {}, { note: "by another tool" });
  expect(await central.report([report()], testContext())).toStrictEqual([
    { job: "j", epoch: 1, seq: 1, outcome: "applied" },
  ]);
  const output = { output: "stats", path: "stats.json", bytes: 3, sha256: "0".repeat(64), stored: false };
  const results = await central.report(
    [
      report({ seq: 2, state: "RUNNING", phase: "started", attempt: 1 }),
      report({ seq: 3, state: "JOB_FINISHED", phase: "none", attempt: 1, done: true, outputs: [output] }),
    ],
    testContext(),
  );
  expect(results.map(({ outcome }) => outcome)).toStrictEqual(["applied", "applied"]);
  expect(world.operations.get("op-1")).toMatchObject({
    done: true,
    result: { outputs: [output] },
    metadata: {
      note: "by another tool",
      site_id: "lab-a",
      siteagent: { state: "JOB_FINISHED", status: "FINISHED", attempt: 1, seq: 3, at: "2026-03-01T10:00:00.000Z" },
    },
  });
  // The operation shows one state: two reports of a batch are one patch.
  expect(world.server.received("PATCH /operations/*").length).toBe(2);
});

test("closes a failed job with code, message and what is known of the exit", async () => {
  await using world = await NmdcWorld.start();
  world.addJob("j");
  await using central = await centralOf(world);
  await central.claim("j", testContext());
  const failure = { code: "EXIT_CODE", category: "user", message: "the command ended with 3", exit_code: 3 } as const;
  const end = { cause: "exit", exit_code: 3, evidence: "rc", ended_at: "2026-03-01T10:00:00.000Z" } as const;
  await central.report([report({ state: "FAILED", phase: "none", done: true, failure, end })], testContext());
  expect(world.operations.get("op-1")).toMatchObject({
    done: true,
    result: { code: "EXIT_CODE", message: "the command ended with 3", details: { exit_code: 3, cause: "exit" } },
  });
});

test("a report whose answer was lost is a duplicate the second time", async () => {
  await using world = await NmdcWorld.start();
  world.addJob("j");
  await using central = await centralOf(world);
  await central.claim("j", testContext());
  await losing(world, "PATCH /operations/*", async () => {
    await expect(central.report([report()], testContext())).rejects.toMatchObject({ code: "UNREACHABLE" });
  });
  expect(await central.report([report()], testContext())).toMatchObject([{ outcome: "duplicate" }]);
});

test("says what became of operations that are cancelled, gone, or of another site", async () => {
  await using world = await NmdcWorld.start();
  for (const id of ["cancelled", "foreign"]) world.addJob(id);
  const cancelled = world.claim("cancelled", "lab-a");
  const foreign = world.claim("foreign", "lab-b");
  world.release("cancelled", "lab-a");
  await using central = await centralOf(world);
  const results = await central.report(
    [
      report({ job: "cancelled", op_id: cancelled.id }),
      report({ job: "gone", op_id: "op-none" }),
      report({ job: "foreign", op_id: foreign.id }),
    ],
    testContext(),
  );
  expect(results.map(({ outcome }) => outcome)).toStrictEqual(["fenced", "unknown-job", "fenced"]);
  expect(world.server.received("PATCH /operations/*")).toStrictEqual([]);
});

test("an operation that the API cannot serve holds up no other, and nothing is lost", async () => {
  await using world = await NmdcWorld.start();
  for (const id of ["j1", "j2"]) world.addJob(id);
  await using central = await centralOf(world);
  await central.claim("j1", testContext());
  await central.claim("j2", testContext());
  const broken = raw(500, "text/plain", "Internal Server Error");
  world.server.next("GET /operations/op-1", broken, broken);
  const batch = [report({ job: "j1", op_id: "op-1" }), report({ job: "j2", op_id: "op-2" })];
  const results = await central.report(batch, testContext());
  expect(results).toMatchObject([{ outcome: "gap", expected_seq: 1 }, { outcome: "applied" }]);
  await expect(central.report(batch.slice(0, 1), testContext())).rejects.toMatchObject({ code: "UNREACHABLE" });
  expect(await central.report(batch.slice(0, 1), testContext())).toMatchObject([{ outcome: "applied" }]);
});

test("a patch that the API refuses is answered refused", async () => {
  await using world = await NmdcWorld.start();
  world.addJob("j");
  await using central = await centralOf(world);
  await central.claim("j", testContext());
  world.server.next("PATCH /operations/*", json(422, { detail: [{ type: "bool_parsing", loc: ["body", "done"] }] }));
  expect(await central.report([report()], testContext())).toMatchObject([{ outcome: "refused" }]);
});

test("hands a job back so that it is open for others and closed for readers; again is no harm", async () => {
  await using world = await NmdcWorld.start();
  world.addJob("j");
  await using central = await centralOf(world);
  await central.claim("j", testContext());
  const held = { job: "j", opId: "op-1", epoch: 1, reason: "no disk" };
  await losing(world, "PATCH /operations/*", async () => {
    await expect(central.release(held, testContext())).rejects.toMatchObject({ code: "UNREACHABLE" });
  });
  expect(await central.release(held, testContext())).toBe("released");
  expect(await central.release(held, testContext())).toBe("released");
  expect(world.jobs.get("j")?.claims).toStrictEqual([{ op_id: "op-1", site_id: "lab-a", done: true, cancelled: true }]);
  expect(world.operations.get("op-1")).toMatchObject({ done: true, result: { code: "RELEASED", message: "no disk" } });
});

test("never releases a job that it has finished, nor what is not its own", async () => {
  await using world = await NmdcWorld.start();
  world.addJob("j");
  world.claim("j", "lab-a").done = true;
  const foreign = world.claim("j", "lab-b");
  await using central = await centralOf(world);
  expect(await central.release({ job: "j", opId: "op-1", epoch: 1, reason: "" }, testContext())).toBe("gone");
  expect(await central.release({ job: "j", opId: foreign.id, epoch: 1, reason: "" }, testContext())).toBe("gone");
  expect(await central.release({ job: "j", opId: "op-none", epoch: 1, reason: "" }, testContext())).toBe("gone");
  expect(world.server.received("POST /jobs/*")).toStrictEqual([]);
});

test("finds held jobs whose claims others cancelled; a job that is not listed proves nothing", async () => {
  await using world = await NmdcWorld.start();
  for (const id of ["kept", "cancelled", "again"]) {
    world.addJob(id);
    world.claim(id, "lab-a");
  }
  world.release("cancelled", "lab-a");
  world.release("again", "lab-a");
  world.claim("again", "lab-a");
  await using central = await centralOf(world);
  let nowMs = 0;
  const context = testContext({ clock: { ...systemClock, monotonic: () => nowMs } });
  const held = ["kept", "cancelled", "again", "unknown"].map((job) => ({
    job,
    epoch: 1,
    seq: 1,
    state: "RUNNING" as const,
  }));
  const first = await central.synchronize(request({ held }), context);
  expect(first.fenced.map(({ job }) => job)).toStrictEqual(["cancelled"]);
  const before = world.server.requests.length;
  nowMs = 59_000;
  await central.synchronize(request({ held }), context);
  expect(world.server.requests.length).toBe(before);
  nowMs = 61_000;
  expect((await central.synchronize(request({ held }), context)).fenced.length).toBe(1);
});

test("asks for held jobs in addresses of bounded length", async () => {
  await using world = await NmdcWorld.start();
  await using central = await centralOf(world);
  const held = Array.from({ length: 1_000 }, (_, index) => ({
    job: `nmdc:sys0k3m9tq${index}`,
    epoch: 1,
    seq: 1,
    state: "RUNNING" as const,
  }));
  await central.synchronize(request({ held }), testContext());
  const lists = world.server.received("GET /operations");
  expect(lists.length).toBe(25);
  for (const { query } of lists) expect(query.get("filter")?.length).toBeLessThan(2_000);
});

test("says for the doctor whether site and credentials are good", async () => {
  await using world = await NmdcWorld.start();
  world.server.on("GET /sites/lab-a", json(200, { id: "lab-a", capability_ids: [] }));
  await using central = await centralOf(world);
  expect(await central.check(testContext())).toMatchObject({ ok: true, serverTimeSkewMs: expect.any(Number) });
  world.server.on("GET /sites/lab-a", json(404, { detail: "Not found" }));
  expect(await central.check(testContext())).toMatchObject({ ok: false, detail: "Not found" });
  await using refused = await centralOf(world, "lab-b");
  world.server.on("POST /token", json(401, { detail: "Incorrect client_id or client_secret" }));
  expect(await refused.check(testContext())).toMatchObject({
    ok: false,
    hint: expect.stringContaining("client_secret"),
  });
});

test("takes neither logs nor outputs", async () => {
  await using world = await NmdcWorld.start();
  await using central = await centralOf(world);
  const chunk = { job: "j", epoch: 1, attempt: 1, stream: "stdout", offset: 0, bytes: new Uint8Array() } as const;
  await expect(central.putLog(chunk, testContext())).rejects.toMatchObject({ code: "UNSUPPORTED" });
  expect(central.capabilities).toMatchObject({ logs: false, outputs: false, orders: false });
});

test("an API that hangs costs a call its time and nothing more", async () => {
  await using world = await NmdcWorld.start();
  world.addJob("j");
  await using central = await openCentral({
    url: world.server.url,
    site: "lab-a",
    agentId: "a",
    clientId: "client-lab-a",
    clientSecret: async () => "s",
    dialect: "nmdc",
    timeoutMs: 150,
  });
  await central.claim("j", testContext());
  world.server.next("GET /operations/*", silent);
  await expect(central.report([report()], testContext())).rejects.toMatchObject({
    code: "UNREACHABLE",
    details: { kind: "timeout" },
  });
  expect(await central.report([report()], testContext())).toMatchObject([{ outcome: "applied" }]);
});
