import { expect, test } from "vitest";
import { json, raw } from "../../helpers/scripted-server.ts";
import { testContext } from "./context.ts";
import { NmdcWorld } from "./nmdc-world.ts";
import { centralOf, losing, report } from "./nmdc-calls.ts";

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
