import { expect, it } from "vitest";
import { Fault } from "../../../src/common/fault.ts";
import type { TransferAdapter } from "../../../src/transfer/types.ts";
import { hours, minutes, play, type Scene, seconds } from "./scene.ts";

const piece = Buffer.alloc(1024 * 1024, 1);
const pieces = 120;
const size = piece.length * pieces;

/** A far machine that sends 1 MiB each second, or says nothing. */
function farMachine() {
  const state = { down: false, asked: 0 };
  const adapter: TransferAdapter = {
    kind: "far",
    schemes: ["https"],
    capabilities: { resume: false, list: false, write: false, digest: false },
    probe: async () => ({ ok: true, version: "1" }),
    async list(url) {
      state.asked++;
      if (state.down && url.includes("down.")) throw new Fault("UNREACHABLE", "nobody is there");
      return [{ path: "", bytes: size, mtimeMs: undefined, version: undefined }];
    },
    async read(_url, _file, _offset, { clock, signal }) {
      return (async function* () {
        for (let sent = 0; sent < pieces; sent++) {
          await clock.sleep(1_000, signal);
          yield piece;
        }
      })();
    },
    write: () => Promise.reject(new Error("nothing is written here")),
    verify: () => Promise.reject(new Error("nothing is written here")),
    async [Symbol.asyncDispose]() {},
  };
  return { state, adapter };
}

function playWith(adapter: TransferAdapter): Promise<Scene> {
  const from = "{{config.url}}";
  return play({
    transfers: [adapter],
    policy: { sources: ["https://down.example.org/", "https://up.example.org/"] },
    apps: { w: { inputs: { data: { from, to: "data" } } } },
  });
}

it("a remote that does not answer blocks the jobs that need it, with the reason and at the cost of no try, and no others", async () => {
  const { state, adapter } = farMachine();
  state.down = true;
  await using scene = await playWith(adapter);
  const { hub, rig } = scene;
  hub.give("j1", 1, { config: { url: "https://down.example.org/x" } });
  await scene.until("it is blocked", async () => (await rig.job("j1"))?.status === "BLOCKED");
  expect((await rig.job("j1"))?.waiting).toBe(
    "blocked: remote 'down.example.org' does not answer: nobody is there; goes on when it answers",
  );
  hub.give("j2", 1, { config: { url: "https://up.example.org/x" } });
  await scene.until("the other runs", () => rig.launcher.running.length === 1);
  await scene.pass(2 * hours);
  const told = () => hub.applied.filter(({ job }) => job === "j1").map(({ hold, phase }) => `${phase} ${hold?.kind}`);
  // Two hours later still one word of it, and about one look a minute.
  expect(told().filter((words) => words.includes("blocked"))).toHaveLength(1);
  expect(state.asked).toBeLessThan(500);
  expect((await rig.job("j1"))?.hold?.tries).toBeUndefined();
  state.down = false;
  await scene.until("it runs", () => hub.states("j1").includes("RUNNING"), 10 * minutes);
  expect(await rig.job("j1")).toMatchObject({ status: "RUNNING", hold: null, waiting: null });
});

it("a job that waits for a remote is cancelled at once", async () => {
  const { state, adapter } = farMachine();
  state.down = true;
  await using scene = await playWith(adapter);
  const { hub, rig } = scene;
  hub.give("j1", 1, { config: { url: "https://down.example.org/x" } });
  await scene.until("it is blocked", async () => (await rig.job("j1"))?.status === "BLOCKED");
  const order = { kind: "cancel", reason: "no more", actor: "me", at: "2026-03-01T12:00:00Z" };
  hub.tell({ orders: [{ id: "o1", job: "j1", ...order }] });
  await scene.until("it is cancelled", () => hub.states("j1").includes("CANCELLED"), 1 * minutes);
});

it("says how far a transfer is, at the site at once and to central seldom", async () => {
  const { adapter } = farMachine();
  await using scene = await playWith(adapter);
  const { hub, rig } = scene;
  hub.give("j1", 1, { config: { url: "https://up.example.org/x" } });
  await scene.until("something has moved", async () => ((await rig.job("j1"))?.progress?.bytes ?? 0) > 0);
  await scene.pass(60 * seconds);
  // Every five seconds, without the names of files.
  const lately = hub.moving.flat();
  expect(lately.length).toBeGreaterThan(2);
  expect(lately.length).toBeLessThan(15);
  expect(lately.at(-1)).toMatchObject({ job: "j1", epoch: 1, stage: "inputs", path: "", total_bytes: size });
  expect(lately.at(-1)?.bytes).toBeGreaterThan(lately[0]?.bytes ?? size);
  const progress = (await rig.job("j1"))?.progress;
  expect(progress).toMatchObject({ stage: "inputs", path: "data", total_bytes: size, files: 0, total_files: 1 });
  // The disk's time is not the clock's: what has moved in a second of this clock is not exact.
  const rate = progress?.bytes_per_second ?? 0;
  expect(rate).toBeGreaterThan(0);
  expect(rate).toBeLessThan(1.2 * piece.length);
  const left = (size - (progress?.bytes ?? 0)) / rate;
  expect(progress?.eta_seconds).toBeGreaterThan(0.9 * left);
  expect(progress?.eta_seconds).toBeLessThan(1.1 * left + 1);
  await scene.until("it runs", () => hub.states("j1").includes("RUNNING"));
  expect((await rig.job("j1"))?.progress).toBeNull();
  await scene.until("it is told that nothing moves", () => hub.moving.at(-1)?.length === 0);
  const calls = hub.moving.length;
  await scene.pass(1 * minutes);
  expect(hub.moving).toHaveLength(calls);
  const told = hub.applied.flatMap(({ message }) => (message?.startsWith("moving inputs") === true ? [message] : []));
  expect(told.length).toBeGreaterThanOrEqual(2);
  // Of 120 pieces or more seconds: after 0.5, 1.5, 3.5, 7.5 … minutes.
  expect(told.length).toBeLessThan(8);
  expect(told[0]).toMatch(/^moving inputs: \d+%, 0 of 1 files, [\d.]+ MiB of 120 MiB, .*B\/s, .* left$/);
  expect(hub.states("j1")).toEqual(["READY", "STAGED_IN", "PREPROCESSED", "RUNNING"]);
});
