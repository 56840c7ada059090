/** What central may say of jobs and orders: words that are late, doubled, wrong, of the future or about jobs of others. */
import { mkdir, readdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { newToken } from "../../../src/common/token.ts";
import { json } from "../../helpers/scripted-server.ts";
import { minutes, play, type Scene, seconds } from "./scene.ts";
import { assignmentOf, orderOf } from "./scripted-hub.ts";

/** Brings a job to where it runs. */
async function running(scene: Scene, id = "j", epoch = 1): Promise<void> {
  scene.hub.give(id, epoch);
  await scene.until(`${id} runs`, () => scene.hub.states(id).at(-1) === "RUNNING");
  await scene.until("all of it is acknowledged", async () => (await scene.rig.job(id))?.unsent === 0);
}

/** What was answered to orders, in order. */
function answers(scene: Scene, id: string): readonly string[] {
  const told = scene.hub.called.flatMap(({ body }) => body.orders ?? []);
  return told.filter((order) => order.id === id).map(({ result }) => result);
}

describe("an assignment", () => {
  it("A4: that comes again changes nothing, with an older epoch neither", async () => {
    await using scene = await play();
    const { hub, rig, pass } = scene;
    await running(scene, "j", 3);
    const before = await rig.job("j");
    hub.standing = { assign: [assignmentOf("j", 3), assignmentOf("j", 2), assignmentOf("j", 3)] };
    await pass(5 * minutes);
    expect(await rig.job("j")).toEqual(before);
    expect(rig.launcher.starts).toEqual([1]);
  });

  it.each<[string, (scene: Scene) => Promise<void>]>([
    [
      "A4, A33: that comes late, after the job was handed back,",
      async ({ hub, rig, until }) => {
        hub.give("j");
        await until("the claim is confirmed", () => hub.applied.length > 0);
        await rig.drain();
        await until("it is handed back", async () => (await rig.job("j")) === undefined);
        hub.epochs.set("j", 2);
      },
    ],
    ["A33: of a job that another site holds", async ({ hub }) => void hub.epochs.set("j", 9)],
    ["A33: of a job that central does not know", async () => {}],
  ])("%s is never confirmed: nothing is started, no directory made, a line says so", async (_name, before) => {
    await using scene = await play({ slots: 1 });
    const { hub, rig, pass } = scene;
    await running(scene, "other");
    await before(scene);
    const files = await readdir(rig.directory.join("work"));
    hub.tell({ assign: [assignmentOf("j", 1)] });
    await scene.until("a line", () => rig.log.lines.some((line) => /fenced: nothing is written .* j/.test(line)));
    await pass(5 * minutes);
    expect(await rig.job("j")).toBeUndefined();
    expect(rig.launcher.starts).toEqual([1]);
    expect(await readdir(rig.directory.join("work"))).toEqual(files);
    expect(await rig.job("other")).toMatchObject({ state: "RUNNING" });
  });
});

describe("a job that central does not know any more", () => {
  it("A10, A20: goes on, is shown, keeps its reports, and all is told when central knows it again", async () => {
    await using scene = await play();
    const { hub, rig, pass } = scene;
    await running(scene);
    hub.epochs.delete("j");
    hub.standing = { unknown: [{ job: "j" }] };
    await scene.until("it is shown", () => rig.problem(/does not know job 'j'/));
    expect(await rig.job("j")).toMatchObject({ state: "RUNNING", fenced: null });
    for (const token of rig.launcher.running) rig.launcher.end(token);
    await scene.until("it ended here", async () => (await rig.job("j"))?.state === "JOB_FINISHED");
    await scene.until("its reports are kept", async () => (await rig.status()).outbox.parked > 0);
    hub.standing = {};
    const told = hub.reportedAt.length;
    await pass(120 * minutes);
    // Offered again at a pace that sinks to one try in some minutes; still shown, although nothing runs any more.
    expect(hub.reportedAt.length - told).toBeGreaterThan(5);
    expect(hub.reportedAt.length - told).toBeLessThan(60);
    expect(await rig.problem(/does not know job 'j'/)).toBeDefined();
    await rig.restart();
    expect(rig.launcher.stopped).toEqual([]);
    hub.epochs.set("j", 1);
    await scene.until("all is told", () => hub.states("j").at(-1) === "JOB_FINISHED");
    await pass(1 * minutes);
    expect((await rig.status()).outbox).toMatchObject({ unsent: 0, parked: 0 });
    expect(await rig.problem(/does not know job/)).toBeUndefined();
  });

  it("A10: keeps nobody waiting who drains the site", async () => {
    await using scene = await play();
    const { hub, rig } = scene;
    await running(scene);
    hub.epochs.delete("j");
    for (const token of rig.launcher.running) rig.launcher.end(token);
    await scene.until("its reports are kept", async () => (await rig.status()).outbox.parked > 0);
    const { ended } = await rig.drain(true);
    expect(await ended).toEqual({ kind: "drained" });
  });
});

it("A12: a write that is refused for its epoch ends all writes and signals for the job; what lies here of it is kept", async () => {
  await using scene = await play();
  const { hub, rig, pass } = scene;
  await running(scene);
  const directory = (await rig.job("j"))?.directory ?? "";
  hub.epochs.set("j", 2);
  hub.tell({ orders: [orderOf("o1", "pause", "j")] });
  await scene.until("it is fenced", async () => (await rig.job("j"))?.fenced);
  const told = hub.reportedAt.length;
  hub.tell({ orders: [orderOf("o2", "cancel", "j")] });
  await pass(5 * minutes);
  expect(hub.reportedAt.length).toBe(told);
  expect(answers(scene, "o2")).toEqual(["not-held"]);
  expect(rig.launcher.stopped).toEqual([]);
  expect(rig.launcher.running).toHaveLength(1);
  for (const token of rig.launcher.running) rig.launcher.end(token);
  await scene.until("it is over", async () => (await rig.job("j")) === undefined);
  expect(hub.reportedAt.length).toBe(told);
  expect(await readdir(directory)).toContain("job.json");
  expect(await rig.problem(/'j' was taken from this site/)).toBeDefined();
});

describe("words of a newer central", () => {
  it("A16: unknown fields are ignored; an order of an unknown kind is not carried out and answered 'unsupported'", async () => {
    await using scene = await play();
    const { hub, rig, pass } = scene;
    const future = { field_of_the_future: { deep: [1] } };
    hub.standing = future as never;
    hub.epochs.set("j", 1);
    hub.tell({ assign: [{ ...assignmentOf("j", 1, future), ...future }] } as never);
    await scene.until("it runs", () => hub.states("j").at(-1) === "RUNNING");
    hub.tell({ orders: [{ ...orderOf("o", "teleport", "j"), ...future }] });
    await pass(1 * minutes);
    expect(answers(scene, "o")).toEqual(["unsupported"]);
    expect(await rig.job("j")).toMatchObject({ state: "RUNNING", hold: null });
    expect(rig.launcher.stopped).toEqual([]);
  });

  it("A16: an outcome that is not known acknowledges nothing and holds up no other job", async () => {
    await using scene = await play();
    const { hub, rig } = scene;
    const honest = hub.server.lasting("POST /siteagent/v1/reports");
    hub.server.on("POST /siteagent/v1/reports", (request, response) => {
      const { reports } = JSON.parse(request.body) as { reports: { job: string; epoch: number; seq: number }[] };
      if (!reports.some(({ job }) => job === "odd")) return honest(request, response);
      const results = reports.map(({ job, epoch, seq }) => {
        return { job, epoch, seq, outcome: job === "odd" ? "postponed" : "applied" };
      });
      return json(200, { results })(request, response);
    });
    hub.epochs.set("j", 1).set("odd", 1);
    hub.tell({ assign: [assignmentOf("odd"), assignmentOf("j")] });
    await scene.until("the other one runs", async () => (await rig.job("j"))?.state === "RUNNING");
    expect(await rig.job("odd")).toMatchObject({ state: "READY", unsent: 1 });
  });
});

describe("an order", () => {
  it("A17: to cancel a job that is not held is answered 'not-held' and does nothing else", async () => {
    await using scene = await play();
    const { hub, rig, pass } = scene;
    await running(scene);
    const before = await rig.job("j");
    hub.tell({ orders: [orderOf("o", "cancel", "unheard-of")] });
    await pass(1 * minutes);
    expect(answers(scene, "o")).toEqual(["not-held"]);
    expect(await rig.job("j")).toEqual(before);
    expect((await rig.status()).problems).toEqual([]);
  });

  it("A18: to cancel that comes a hundred times, also over a restart, is one cancel with one answer", async () => {
    await using scene = await play();
    const { hub, rig } = scene;
    await running(scene);
    hub.standing = { orders: [orderOf("o", "cancel", "j")], next_sync_ms: 0 };
    await scene.until("forty answers", () => answers(scene, "o").length >= 40);
    await rig.restart();
    await scene.until("a hundred answers", () => answers(scene, "o").length >= 100);
    expect(new Set(answers(scene, "o"))).toEqual(new Set(["accepted"]));
    expect(rig.launcher.stopped).toHaveLength(1);
    expect(hub.states("j").at(-1)).toBe("CANCELLED");
    expect(hub.applied.filter(({ done }) => done)).toHaveLength(1);
  });

  it("A18: to pause that comes again after a resume pauses nothing", async () => {
    await using scene = await play();
    const { hub, rig, pass } = scene;
    await running(scene);
    hub.tell({ orders: [orderOf("o1", "pause", "j")] });
    await pass(30 * seconds);
    hub.tell({ orders: [orderOf("o2", "resume", "j")] });
    await pass(30 * seconds);
    expect(await rig.job("j")).toMatchObject({ hold: null });
    hub.tell({ orders: [orderOf("o1", "pause", "j")] });
    await pass(30 * seconds);
    expect(await rig.job("j")).toMatchObject({ hold: null });
    expect(answers(scene, "o1")).toEqual(["accepted", "accepted"]);
  });
});

it("A19: of a job that the journal does not know what lies here is looked for; it starts only when assigned anew", async () => {
  await using scene = await play();
  const { hub, rig, pass } = scene;
  const left = rig.directory.join("work", newToken());
  await mkdir(left);
  await writeFile(join(left, "job.json"), JSON.stringify({ job: "ghost" }));
  hub.standing = {
    missing: [
      { job: "ghost", epoch: 1 },
      { job: "gone", epoch: 1 },
    ],
  };
  await pass(5 * minutes);
  expect((await rig.problem(/'ghost'/))?.what).toContain(left);
  expect((await rig.problem(/'gone'/))?.what).toContain("nothing of it lies here");
  expect(rig.launcher.attempts.size).toBe(0);
  expect((await rig.status()).jobs).toEqual([]);
  hub.standing = {};
  await running(scene, "ghost", 2);
  expect((await rig.status()).problems).toEqual([]);
});
