import { describe, expect, it } from "vitest";
import type { CallContext } from "../../../src/common/context.ts";
import { silentLogger } from "../../../src/common/logger.ts";
import type { Host, RunRequest, RunResult } from "../../../src/hosts/types.ts";
import type { AttemptEnd } from "../../../src/jobs/states.ts";
import { withContainerProof } from "../../../src/launchers/container-proof.ts";
import type { AttemptRef, AttemptStatus, Launcher, StopResult } from "../../../src/launchers/types.ts";
import { VirtualClock } from "../../helpers/clocks.ts";
import { SimulatedLauncher } from "../../helpers/simulated-launcher.ts";
import { waitFor } from "../../helpers/wait.ts";
import { planInputOf, token } from "./builders.ts";
import { planAttempt } from "../../../src/launchers/command.ts";
import { appOf } from "../jobs/builders.ts";

const killed: AttemptEnd = { cause: "signal", signal: "SIGKILL", evidence: "rc", ended_at: "2026-01-01T00:00:00.000Z" };
const exited: AttemptEnd = { cause: "exit", exit_code: 3, evidence: "rc", ended_at: "2026-01-01T00:00:00.000Z" };

/** An engine that has one container, or says what the test wants. */
class FakeEngine {
  readonly asked: RunRequest[] = [];
  container = true;
  /** Removes nothing. */
  stuck = false;
  down = false;

  readonly run: Host["run"] = async (request) => {
    this.asked.push(request);
    const [, verb] = request.argv;
    if (this.down) return answer(1, "", "Cannot connect to the Docker daemon");
    if (verb === "rm" && !this.stuck) this.container = false;
    return answer(0, verb === "ps" && this.container ? "0123456789ab\n" : "");
  };
}

function answer(exitCode: number, stdout: string, stderr = ""): RunResult {
  return { exitCode, signal: undefined, stdout, stderr, truncated: false, timedOut: false };
}

interface Scene {
  readonly clock: VirtualClock;
  readonly context: CallContext;
  readonly engine: FakeEngine;
  readonly inner: Launcher & { status: AttemptStatus; stopped: StopResult };
  readonly launcher: Launcher;
  readonly ref: AttemptRef;
  readonly hints: string[];
  status(): Promise<AttemptStatus | undefined>;
  stop(): Promise<StopResult | undefined>;
}

function sceneOf(engineName: "docker" | "podman", end: AttemptEnd = killed, rootless = false): Scene {
  const clock = new VirtualClock();
  const context: CallContext = { signal: new AbortController().signal, log: silentLogger, clock };
  const engine = new FakeEngine();
  const inner = Object.assign(new SimulatedLauncher(clock), {
    status: { state: "ended", end, remaining: [], tier: "subreaper" } as AttemptStatus,
    stopped: { state: "gone", tier: "subreaper" } as StopResult,
  });
  inner.statuses = async () => [inner.status];
  inner.stop = async () => [inner.stopped];
  const launcher = withContainerProof(inner, { run: engine.run, rootless });
  const container = { engine: engineName, program: engineName, name: token } as const;
  const ref = {
    token,
    directory: "/x",
    container,
    environment: { PATH: "/bin", SITEAGENT_ATTEMPT_TOKEN: token, MARK: "1" },
  };
  const hints: string[] = [];
  launcher.watch((changed) => hints.push(changed));
  return {
    ...{ clock, context, engine, inner, launcher, ref, hints },
    status: async () => (await launcher.statuses([ref], context))[0],
    stop: async () => (await launcher.stop([ref], { graceMs: 0, reason: "test" }, context))[0],
  };
}

describe("an attempt in a container", () => {
  it("has ended only when its engine says that no container is left, and asks beside the answer", async () => {
    const scene = sceneOf("docker");
    expect(await scene.status()).toMatchObject({ state: "unknown", raw: "its container is looked for" });
    await waitFor(() => scene.hints.length > 0, { what: "a hint that it was proven" });
    expect(await scene.status()).toMatchObject({ state: "ended", end: killed });
    expect(scene.engine.asked.map(({ argv }) => argv.join(" "))).toEqual([
      `docker rm --force --volumes ${token}`,
      `docker ps --all --quiet --filter label=siteagent.attempt=${token}`,
    ]);
    // By the mark processes of the attempt are known and killed: these are none.
    expect(scene.engine.asked.map(({ environment }) => environment)).toEqual([
      { PATH: "/bin", MARK: "1" },
      { PATH: "/bin", MARK: "1" },
    ]);
  });

  it("is not over while its engine cannot be asked, for however long", async () => {
    const scene = sceneOf("docker");
    scene.engine.down = true;
    for (let round = 1; round <= 5; round++) {
      expect(await scene.status()).toMatchObject({ state: "unknown" });
      await waitFor(() => scene.hints.length === round, { what: "an answer" });
      expect(await scene.status()).toMatchObject({ state: "unknown", raw: expect.stringMatching(/cannot be asked/) });
      expect(await scene.stop()).toMatchObject({ state: "unknown", why: expect.stringMatching(/Cannot connect/) });
      await scene.clock.advance(6_000);
    }
    // Asked again now and then, not with each look.
    expect(scene.engine.asked).toHaveLength(10);
    scene.engine.down = false;
    await scene.status();
    await waitFor(() => scene.hints.length === 6, { what: "an answer" });
    expect(await scene.status()).toMatchObject({ state: "ended" });
  });

  it("is not gone while Docker has its container; storage that Podman cannot remove holds up nobody", async () => {
    for (const [engine, states] of [
      ["docker", ["unknown", "unknown", "unknown", "unknown"]],
      ["podman", ["unknown", "unknown", "gone", "gone"]],
    ] as const) {
      const scene = sceneOf(engine);
      scene.engine.stuck = true;
      const seen: unknown[] = [];
      for (const round of [1, 2, 3, 4]) {
        expect(["stopping", "gone"]).toContain((await scene.stop())?.state);
        await waitFor(() => scene.hints.length >= Math.min(round, engine === "podman" ? 3 : 4), { what: "an answer" });
        seen.push((await scene.stop())?.state);
        await scene.clock.advance(6_000);
      }
      expect(seen).toEqual(states);
    }
  });

  it("needs no question when its command ended by itself, or never ran: the guard has asked", async () => {
    const scene = sceneOf("docker", exited);
    expect(await scene.status()).toMatchObject({ state: "ended", end: exited });
    scene.inner.stopped = { state: "gone", tier: "never-started" };
    expect(await scene.stop()).toMatchObject({ state: "gone" });
    expect(scene.engine.asked).toEqual([]);
  });

  it("gives the engine's helpers a moment to put it away, then tells what is left", async () => {
    const scene = sceneOf("podman", exited);
    scene.inner.status = { state: "ended", end: exited, remaining: [17], tier: "subreaper" };
    expect(await scene.status()).toMatchObject({ state: "unknown" });
    await scene.clock.advance(2_000);
    expect(await scene.status()).toMatchObject({ state: "unknown" });
    await scene.clock.advance(2_000);
    expect(await scene.status()).toMatchObject({ state: "ended", remaining: [17] });
  });

  it("of rootless Podman is started after Podman's own namespaces, which no attempt shall own", async () => {
    const plan = planAttempt(planInputOf({ app: appOf({ runtime: { podman: { image: "x.example.org/x" } } }) }));
    const scene = sceneOf("podman", killed, true);
    await scene.launcher.launch([plan, { ...plan }], scene.context);
    await scene.launcher.launch([plan], scene.context);
    expect(scene.engine.asked.map(({ argv }) => argv.join(" "))).toEqual(["podman unshare true"]);
    const rootful = sceneOf("podman");
    await rootful.launcher.launch([plan], rootful.context);
    expect(rootful.engine.asked).toEqual([]);
  });

  it("leaves attempts without a container as they are", async () => {
    const scene = sceneOf("docker");
    const [status] = await scene.launcher.statuses([{ token, directory: "/x" }], scene.context);
    expect(status).toBe(scene.inner.status);
    expect(scene.engine.asked).toEqual([]);
  });
});
