import { expect, test } from "vitest";
import { systemClock } from "../../../src/common/clock.ts";
import { json, raw } from "../../helpers/scripted-server.ts";
import { testContext } from "./context.ts";
import { NmdcWorld } from "./nmdc-world.ts";
import { centralOf, losing, report, request } from "./nmdc-calls.ts";

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
