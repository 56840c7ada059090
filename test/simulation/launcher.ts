import type { Handle } from "../../src/common/adapter.ts";
import { Fault } from "../../src/common/fault.ts";
import type { AttemptEnd } from "../../src/jobs/states.ts";
import type { AttemptPlan, AttemptStatus, Launcher, LaunchResult, StopResult } from "../../src/launchers/types.ts";
import type { SimulatedProcess } from "./process.ts";
import type { World } from "./world.ts";

/** One attempt outside: lives on whatever becomes of the agent. */
interface Attempt {
  readonly job: string;
  readonly token: string;
  readonly number: number;
  state: "starting" | "running" | "ended";
  /** What is said of it until it runs. */
  readonly early: AttemptStatus;
  suspended: boolean;
  end: AttemptEnd | undefined;
  remaining: readonly number[];
}

/** Processes of attempts on the machine. A start guard lets each token start once; a stopped one never starts. */
export class Attempts {
  readonly all = new Map<string, Attempt>();
  readonly #world: World;
  readonly #barred = new Set<string>();

  constructor(world: World) {
    this.#world = world;
  }

  alive(job: string): readonly Attempt[] {
    return [...this.all.values()].filter((attempt) => attempt.job === job && attempt.state !== "ended");
  }

  start(plan: AttemptPlan): void {
    const { random, time } = this.#world;
    if (this.all.has(plan.token) || this.#barred.has(plan.token)) return;
    const job = this.#world.oracle.jobOf(plan);
    this.#world.oracle.beforeStart(plan, job);
    const attempt: Attempt = {
      job,
      token: plan.token,
      number: plan.attempt,
      state: "starting",
      early: random.pick([
        { state: "unknown", why: "starting" },
        { state: "unknown", why: "starting" },
        { state: "queued", reason: "simulated" },
        { state: "queued" },
      ]),
      suspended: false,
      end: undefined,
      remaining: [],
    };
    this.all.set(plan.token, attempt);
    this.#world.say(`attempt ${plan.attempt} of ${job} starts`);
    time.after(random.whole(0, 500), () => {
      if (attempt.state === "starting") attempt.state = "running";
    });
    time.after(random.whole(0, 40_000), () => this.#end(attempt, this.#world.endOf(job, plan.attempt)));
    // Somebody stops its processes, and perhaps lets them go on before its end.
    if (!random.chance(0.1)) return;
    time.after(random.whole(0, 20_000), () => (attempt.suspended = true));
    time.after(random.whole(0, 60_000), () => (attempt.suspended = false));
  }

  /** Never started, and never will be. */
  isBarred(token: string): boolean {
    return this.#barred.has(token) && !this.all.has(token);
  }

  bar(token: string): void {
    this.#barred.add(token);
    const attempt = this.all.get(token);
    if (!attempt || attempt.state === "ended") return;
    this.#world.time.after(this.#world.random.whole(0, 3_000), () =>
      this.#end(attempt, { cause: "cancelled", evidence: "rc", ended_at: this.#at() }),
    );
  }

  /** The machine went down: nothing is alive. */
  reboot(): void {
    for (const attempt of this.all.values())
      this.#end(attempt, { cause: "node", evidence: "identity", ended_at: this.#at() });
    for (const attempt of this.all.values()) attempt.remaining = [];
  }

  get isQuiet(): boolean {
    return [...this.all.values()].every(
      ({ job, state, remaining }) =>
        // What outlives a job that was taken from us is left alone.
        state === "ended" && (remaining.length === 0 || this.#world.hub.jobs.get(job)?.taken === true),
    );
  }

  #end(attempt: Attempt, end: AttemptEnd): void {
    if (attempt.state === "ended") return;
    attempt.state = "ended";
    attempt.end = end;
    if (this.#world.faulty && this.#world.random.chance(0.05)) attempt.remaining = [4711];
    this.#world.say(`attempt ${attempt.number} of ${attempt.job} ends: ${end.cause} ${end.exit_code ?? ""}`);
    this.#world.attemptEnded();
  }

  #at(): string {
    return new Date(this.#world.time.wall).toISOString();
  }
}

/** The launcher as one process of the agent has it. */
export function simulatedLauncher(process: SimulatedProcess): Launcher {
  const { world } = process;
  const { attempts, random } = world;
  const latency = (): number => random.whole(1, 300);
  const handle = (token: string): Handle => ({ adapter: "local", version: 1, data: { token } });
  const mayFail = (): void => {
    if (world.faulty && random.chance(world.rates.launcher)) throw new Fault("RUNNER", "simulated: the runner is away");
  };

  function launchOne(plan: AttemptPlan): LaunchResult {
    const refused = {
      state: "refused",
      end: { cause: "launch", evidence: "refused", ended_at: new Date(world.time.wall).toISOString() },
    } as const;
    if (attempts.isBarred(plan.token)) return refused;
    const bad = world.faulty && random.chance(world.rates.launcher);
    if (!bad) {
      attempts.start(plan);
      return { state: "accepted", handle: handle(plan.token) };
    }
    const luck = random.pick(["busy", "refused", "answer lost", "late", "not sent", "accepted and lost"] as const);
    world.say(`a launch of ${world.oracle.jobOf(plan)}: ${luck}`);
    switch (luck) {
      case "busy":
        return { state: "busy", reason: "simulated" };
      case "refused":
        if (attempts.all.has(plan.token)) return { state: "accepted", handle: handle(plan.token) };
        attempts.bar(plan.token);
        return refused;
      case "answer lost":
        attempts.start(plan);
        return { state: "unknown", why: "simulated: the answer was lost" };
      case "late":
        world.time.after(random.whole(100, 20_000), () => attempts.start(plan));
        return { state: "unknown", why: "simulated: no answer yet" };
      case "not sent":
        return { state: "unknown", why: "simulated: no answer" };
      case "accepted and lost":
        return { state: "accepted", handle: handle(plan.token) };
    }
  }

  function statusOf(token: string): AttemptStatus {
    if (world.faulty && random.chance(world.rates.launcher)) return { state: "unknown", why: "unreachable" };
    const attempt = attempts.all.get(token);
    if (!attempt) return { state: "absent" };
    if (attempt.state === "starting") return attempt.early;
    if (attempt.state === "running" || !attempt.end) {
      const { suspended } = attempt;
      return { state: "running", since: new Date(world.time.wall).toISOString(), ...(suspended ? { suspended } : {}) };
    }
    return { state: "ended", end: attempt.end, remaining: attempt.remaining, tier: "group" };
  }

  function stopOne(token: string): StopResult {
    attempts.bar(token);
    const attempt = attempts.all.get(token);
    // What waits for a dead file system is not gone at the first order.
    if (attempt?.state === "ended" && attempt.remaining.length > 0 && world.faulty && random.chance(0.5))
      return { state: "remaining", pids: attempt.remaining };
    if (attempt?.state === "ended") attempt.remaining = [];
    return attempt === undefined || attempt.state === "ended"
      ? { state: "gone", tier: "group" }
      : { state: "stopping" };
  }

  return {
    kind: "local",
    capabilities: { runtimes: ["plain"], tier: "group", attach: false },
    probe: async () => ({ ok: true, version: "simulated" }),
    launch: async (plans) => {
      for (const plan of plans) world.oracle.beforeLaunch(plan);
      return await process.call("launch", latency(), () => plans.map((plan) => launchOne(plan)), { inFlight: true });
    },
    find: async (refs) =>
      await process.call("find", latency(), () => {
        mayFail();
        return refs.map(({ token }) => (attempts.all.has(token) ? handle(token) : undefined));
      }),
    statuses: async (refs) =>
      await process.call("statuses", latency(), () => {
        mayFail();
        return refs.map(({ token }) => statusOf(token));
      }),
    stop: async (refs) =>
      await process.call(
        "stop",
        latency(),
        () => {
          mayFail();
          return refs.map(({ token }) => stopOne(token));
        },
        { inFlight: true },
      ),
    watch: (onChange) => {
      const release = world.onAttemptChange(() =>
        process.later(1, () => onChange("" as Parameters<typeof onChange>[0])),
      );
      process.watches++;
      return {
        [Symbol.dispose]() {
          release();
          process.watches--;
        },
      };
    },
    async [Symbol.asyncDispose]() {},
  };
}
