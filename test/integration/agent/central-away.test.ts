/** A hub that is away, silent, overloaded or refuses us: what runs goes on, nothing is believed, the pace is kept. */
import { writeFile } from "node:fs/promises";
import { describe, expect, it } from "vitest";
import {
  type Answer,
  cutAfter,
  drip,
  endless,
  json,
  raw,
  reset,
  type ScriptedServer,
  silent,
} from "../../helpers/scripted-server.ts";
import { heldBytes } from "../../helpers/heap.ts";
import { waitFor } from "../../helpers/wait.ts";
import { serveTokens } from "../central/context.ts";
import { gaps, hours, minutes, play, type Scene, seconds } from "./scene.ts";
import { emptyAnswer } from "./scripted-hub.ts";

/** Brings a job to where it runs. */
async function running(scene: Scene, id = "j"): Promise<void> {
  scene.hub.give(id);
  await scene.until("it runs", () => scene.hub.states(id).at(-1) === "RUNNING");
}

describe("too many requests", () => {
  const atFive = new Date(Date.UTC(2026, 2, 1, 12, 5)).toUTCString();
  it.each<[string, number, number]>([
    ["120", 120 * seconds, 144 * seconds],
    [atFive, 1 * seconds, 360 * seconds],
    ["1000000000", 15 * minutes, 18 * minutes],
    ["-1", 1 * seconds, 2 * minutes],
    ["1e9", 1 * seconds, 2 * minutes],
    ["later", 1 * seconds, 2 * minutes],
  ])("A6: with Retry-After '%s' neither asks nor reports before its time", async (header, leastMs, mostMs) => {
    await using scene = await play();
    const { hub, rig, pass } = scene;
    await running(scene);
    await pass(10 * seconds);
    hub.lie = raw(429, "application/json", "{}", { "retry-after": header });
    for (const token of rig.launcher.running) rig.launcher.end(token);
    await scene.until("it ended here", async () => (await rig.job("j"))?.ended_at !== null);
    await pass(1 * seconds);
    const [asked, told] = [hub.called.length, hub.reportedAt.length];
    await scene.until("both were refused", () => hub.called.length > asked && hub.reportedAt.length > told);
    hub.lie = undefined;
    await scene.until("both came again", () => hub.called.length > asked + 1 && hub.reportedAt.length > told + 1);
    for (const [first = 0, second = 0] of [
      hub.called.slice(asked).map(({ atMs }) => atMs),
      hub.reportedAt.slice(told),
    ]) {
      expect(second - first).toBeGreaterThanOrEqual(leastMs);
      expect(second - first).toBeLessThanOrEqual(mostMs + 250);
    }
    await scene.until("all is told", () => hub.states("j").at(-1) === "JOB_FINISHED");
  });
});

const truth = { ...emptyAnswer, fenced: [{ job: "j", reason: "a lie" }] };
const noAnswers: readonly (readonly [string, Answer])[] = [
  ["A8: a login page", raw(200, "text/html", "<html>log in</html>")],
  ["A8: a login page that calls itself JSON", raw(200, "application/json", "<html>log in</html>")],
  ["A9: a 404 page of a balancer", raw(404, "text/html", "<h1>not here</h1>")],
  ["A9: a 404 for the path", json(404, { detail: "Not Found" })],
  ["A13: silence", silent],
  ["A14: one byte at a time", drip],
  ["A15: an answer without end", endless],
  ["A15: deep JSON", raw(200, "application/json", `{"fenced":${"[".repeat(50_000)}${"]".repeat(50_000)}}`)],
  ["A15: doubled keys", raw(200, "application/json", JSON.stringify(truth).replace("{", '{"session_epoch":4,'))],
  ["A15: prototypes", raw(200, "application/json", JSON.stringify(truth).replace("{", '{"__proto__":{"assign":[]},'))],
  ["an answer cut in its middle", cutAfter(truth, JSON.stringify(truth).length - 2)],
  ["a reset", reset],
  ["nothing", raw(200, "application/json", "")],
  [
    "a redirect to another host",
    raw(307, "application/json", JSON.stringify(truth), { location: "http://127.0.0.1:1" }),
  ],
  ["an error of its own with a body of ours", json(500, truth)],
];

describe("what is no answer", () => {
  it.each(noAnswers)("%s: cancels, fences and acknowledges nothing; is asked again", async (_name, lie) => {
    await using scene = await play();
    const { hub, rig } = scene;
    await running(scene);
    hub.lie = lie;
    const [asked, told] = [hub.called.length, hub.reportedAt.length];
    hub.give("other", 7);
    for (const token of rig.launcher.running) rig.launcher.end(token);
    await scene.until("both were lied to twice", () => {
      return hub.called.length > asked + 2 && hub.reportedAt.length > told + 1;
    });
    await scene.until("it ended here", async () => (await rig.job("j"))?.ended_at !== null);
    const status = await rig.status();
    expect(status.jobs).toMatchObject([{ id: "j", state: "JOB_FINISHED", fenced: null }]);
    expect(status.outbox).toMatchObject({ parked: 0 });
    expect(status.outbox.unsent).toBeGreaterThan(0);
    expect(status.api.reachable).toBe(false);
    expect(rig.launcher.stopped).toEqual([]);
    hub.lie = undefined;
    await scene.until("all is told", () => hub.states("j").at(-1) === "JOB_FINISHED");
    expect(hub.applied.filter(({ job }) => job === "j").map(({ seq }) => seq)).toEqual(
      hub.applied.filter(({ job }) => job === "j").map((_, index) => index + 1),
    );
    expect(rig.launcher.starts.every((starts) => starts === 1)).toBe(true);
  });
});

it("A15: answers without end cost no memory that stays", async () => {
  await using scene = await play();
  const { hub } = scene;
  await scene.pass(1 * minutes);
  const lies = async (more: number): Promise<void> => {
    hub.lie = endless;
    const asked = hub.called.length;
    await scene.until(`${more} calls`, () => hub.called.length > asked + more, 2 * hours);
    hub.lie = undefined;
    await scene.pass(10 * minutes);
  };
  await lies(8);
  const before = heldBytes();
  await lies(8);
  // Each may have 32 MiB before it is refused, and lets go of it when its socket has closed.
  await waitFor(() => heldBytes() - before < 32 * 1024 * 1024, {
    what: () => `${heldBytes() - before} bytes more than before to be given back`,
    timeoutMs: 30_000,
  });
});

describe("credentials that are refused", () => {
  it("A11, BAL-27: one new token is tried; then no claims, the job goes on, an alarm; the changed secret heals it", async () => {
    await using scene = await play();
    const { hub, rig } = scene;
    await running(scene);
    const tokens = (): number => hub.server.received("POST /token").length;
    const before = tokens();
    const refusal = json(401, { detail: "Could not validate credentials" });
    hub.lie = refusal;
    acceptSecret(hub.server, "new");
    for (const token of rig.launcher.running) rig.launcher.end(token);
    hub.give("other");
    await scene.until("an alarm", () => rig.problem(/refused client 'c-lab-a'/));
    await scene.until("it ended here", async () => (await rig.job("j"))?.ended_at !== null);
    await scene.pass(10 * minutes);
    // At most one login for each try, and tries sink to one in 30 s on average, reports to one in 60 s.
    expect(tokens() - before).toBeLessThan(120);
    expect((await rig.status()).jobs.map(({ id }) => id)).toEqual(["j"]);
    hub.lie = undefined;
    await writeFile(rig.directory.join("secret"), "new", { mode: 0o600 });
    await scene.until("all is told", () => hub.states("j").at(-1) === "JOB_FINISHED");
    await scene.until("the next job is taken", () => hub.states("other").length > 0);
    expect(await rig.problem(/refused client/)).toBeUndefined();
  });

  it("BAL-27: a token that runs out is renewed without a word", async () => {
    await using scene = await play();
    const { hub, rig, pass } = scene;
    serveTokens(hub.server, { minutes: 10 });
    await running(scene);
    await pass(2 * hours);
    expect(hub.server.received("POST /token").length).toBeGreaterThan(10);
    expect((await rig.status()).problems).toEqual([]);
  });
});

/** Logins with any other secret are refused. */
function acceptSecret(server: ScriptedServer, secret: string): void {
  server.on("POST /token", (request, response) => {
    const good = new URLSearchParams(request.body).get("client_secret") === secret;
    const answer = good
      ? json(200, { access_token: "fresh", token_type: "bearer", expires: { days: 1 } })
      : json(401, { detail: "Incorrect client_id or client_secret" });
    return answer(request, response);
  });
}

describe("a claim that central has not confirmed", () => {
  it("A21, BAL-18: waits through an outage without a change; nothing starts before it is confirmed", async () => {
    await using scene = await play();
    const { hub, rig, pass } = scene;
    hub.server.on("POST /siteagent/v1/reports", reset);
    hub.give("j");
    await scene.until("it is taken", () => rig.job("j"));
    hub.lie = reset;
    await pass(60 * seconds);
    expect(await rig.job("j")).toMatchObject({ state: "READY", phase: "claimed", fenced: null, hold: null });
    // However long: nothing that only a lease covers is begun.
    await pass(3 * hours);
    expect(await rig.job("j")).toMatchObject({ state: "READY", phase: "claimed" });
    expect(rig.launcher.attempts.size).toBe(0);
    // It fell back meanwhile and somebody else has it.
    hub.lie = undefined;
    hub.tell({ fenced: [{ job: "j", reason: "epoch 1 is over; now 2" }] });
    await scene.until("it is dropped", async () => (await rig.job("j")) === undefined);
    expect(rig.launcher.attempts.size).toBe(0);
  });
});

describe("a long poll that brings no answer", () => {
  it("A30: is followed by plain polls: work comes at their pace, status shows no outage", async () => {
    await using scene = await play();
    const { hub, rig, pass } = scene;
    await pass(1 * seconds);
    // What lies between swallows the answers of held calls.
    const honest = hub.server.lasting("POST /siteagent/v1/synchronize");
    hub.server.on("POST /siteagent/v1/synchronize", (request, response) => {
      const { hold_ms } = JSON.parse(request.body) as { hold_ms: number };
      return (hold_ms > 0 ? silent : honest)(request, response);
    });
    await pass(5 * minutes);
    const plain = (): number[] => hub.called.map(({ atMs }) => atMs);
    const before = plain().length;
    hub.give("j");
    await running(scene, "j");
    await pass(4 * minutes);
    expect(plain().length - before).toBeGreaterThan(8);
    expect(Math.max(...gaps(plain().slice(before)))).toBeLessThan(40 * seconds);
    expect((await rig.status()).api.reachable).toBe(true);
    // After a while the long poll is tried again.
    hub.server.on("POST /siteagent/v1/synchronize", honest);
    await scene.until("it is held again", () => (hub.called.at(-1)?.body.hold_ms ?? 0) === 50_000);
  });
});

describe("the wall clock", () => {
  it.each([
    ["an hour on", (now: number) => now + hours],
    ["an hour back", (now: number) => now - hours],
    ["in 1970", () => 5_000],
  ])("H1: is suddenly %s: no pace, limit, order or state changes", async (_name, jump) => {
    await using scene = await play({ apps: { w: { retry: { attempts: 2, on: ["exit"], delay: "5m" } } } });
    const { clock, hub, rig, pass } = scene;
    await running(scene, "runs");
    hub.give("retries");
    await scene.until("the second runs", () => hub.states("retries").at(-1) === "RUNNING");
    const [, second] = rig.launcher.running;
    if (second) rig.launcher.end(second, 3);
    await scene.until("it waits for its next attempt", () => hub.states("retries").at(-1) === "RESTART_READY");
    const waitsFrom = clock.monotonic();
    await pass(1 * minutes);
    clock.setWall(jump(clock.now()));
    const asked = hub.called.length;
    await scene.until("the next attempt", () => rig.launcher.running.length === 2);
    const waitedMs = clock.monotonic() - waitsFrom;
    expect(waitedMs).toBeGreaterThan(4.9 * minutes);
    // The rest is the test's own steps.
    expect(waitedMs).toBeLessThan(9 * minutes);
    expect(Math.max(...gaps(hub.called.slice(asked).map(({ atMs }) => atMs)))).toBeLessThanOrEqual(11 * seconds);
    expect(await rig.job("runs")).toMatchObject({ state: "RUNNING", attempt: 1, hold: null });
    hub.tell({
      orders: [{ id: "o", kind: "cancel", job: "runs", reason: "", actor: "a", at: "2026-03-01T12:00:00Z" }],
    });
    await scene.until("the order is carried out", () => hub.states("runs").at(-1) === "CANCELLED");
    expect(rig.launcher.starts.every((starts) => starts === 1)).toBe(true);
  });
});
