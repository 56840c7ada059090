import { expect, test } from "vitest";
import { openCentral } from "../../../src/central/discover.ts";
import { json, raw, silent } from "../../helpers/scripted-server.ts";
import { testContext } from "./context.ts";
import { NmdcWorld } from "./nmdc-world.ts";
import { centralOf, report, request } from "./nmdc-calls.ts";

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
