import { resumeJob } from "../../src/agent/orders.ts";
import { asFault } from "../../src/common/fault.ts";
import { makeAgent, type SimulatedAgent, workflows } from "./machine.ts";
import { SimulatedProcess } from "./process.ts";
import { Random } from "./random.ts";
import { World } from "./world.ts";

export interface HistoryResult {
  readonly seed: number;
  /** Empty: everything held. */
  readonly violations: readonly string[];
  /** What happened, line by line, when asked for. */
  readonly trace: readonly string[];
  readonly kills: number;
  readonly jobs: number;
}

export interface HistoryOptions {
  readonly traced?: boolean;
  /** Changes the world before it begins: for tests of the oracle. */
  readonly prepare?: (world: World) => void;
  /** Nothing goes wrong by itself: only what `prepare` does. */
  readonly calm?: boolean;
}

/** Everything must be over so long after the last fault, virtual time. */
const healingMs = 1_800_000;
const hourMs = 3_600_000;

/** One history: an agent lives, dies and comes back while everything goes wrong; then everything heals, and the books are looked at. */
export async function runHistory(seed: number, options: HistoryOptions = {}): Promise<HistoryResult> {
  const history = new History(seed, options);
  const chance = new Random(seed ^ 0x5eed);
  const { random } = Math;
  // Backoffs and jitter of the product: any value is allowed, small ones keep histories short.
  Math.random = () => chance.next() ** 3;
  try {
    return await history.run();
  } finally {
    Math.random = random;
  }
}

class History {
  readonly #seed: number;
  readonly #world: World;
  readonly #faultsMs: number;
  readonly #jobs: number;
  readonly #compaction: { readonly compactAfterBytes: number; readonly compactAfterRecords: number };
  readonly #calm: boolean;
  #current: SimulatedAgent | undefined;
  #processes = 0;

  constructor(seed: number, options: HistoryOptions) {
    this.#seed = seed;
    const world = new World(seed, { traced: options.traced === true, onKill: () => this.#bootLater() });
    this.#world = world;
    this.#faultsMs = world.random.whole(5_000, 120_000);
    this.#jobs = world.random.whole(1, 3);
    this.#compaction = { compactAfterBytes: 1e9, compactAfterRecords: world.random.pick([5, 20, 1_000_000]) };
    this.#calm = options.calm === true;
    if (this.#calm) world.calm();
    options.prepare?.(world);
  }

  async run(): Promise<HistoryResult> {
    const world = this.#world;
    this.#plan();
    this.#boot();
    world.time.after(this.#faultsMs, () => this.#heal());
    const deadline = this.#faultsMs + healingMs;
    while (world.time.now < deadline && world.violations.length === 0 && !this.#isOver()) {
      if (!(await world.time.step())) break;
    }
    if (world.violations.length === 0) await this.#close();
    const { violations, trace, kills } = world;
    if (world.process) world.process.dead = true;
    return { seed: this.#seed, violations, trace, kills, jobs: this.#jobs };
  }

  /** What happens by itself: jobs come, operators order, the network and the disk go and return. */
  #plan(): void {
    const { random, time, hub, disk } = this.#world;
    const at = (run: () => void): void => void time.after(random.whole(0, this.#faultsMs), run);
    for (let n = 1; n <= this.#jobs; n++) {
      const id = `job-${n}`;
      time.after(random.whole(0, this.#faultsMs / 2), () => hub.submit(id, random.pick(workflows)));
      if (this.#calm) continue;
      if (random.chance(0.3)) at(() => hub.order("cancel", id));
      if (random.chance(0.1)) at(() => hub.order("pause", id));
      if (random.chance(0.05)) at(() => hub.takeAway(id));
    }
    if (this.#calm) return;
    if (random.chance(0.3)) at(() => this.#outage(random.whole(1_000, 60_000)));
    for (let n = random.whole(0, 2); n > 0; n--) at(() => this.#world.kill("at a moment of its own"));
    if (random.chance(0.15)) at(() => this.#fault("the disk is full", () => (disk.full = true)));
    if (random.chance(0.1)) at(() => this.#fault("the next sync will fail", () => (disk.failingSyncs = 1)));
    if (random.chance(0.1)) at(() => this.#drain());
    if (random.chance(0.1)) at(() => void this.#current?.agent.stop());
  }

  #fault(what: string, begin: () => void): void {
    this.#world.say(what);
    begin();
  }

  #outage(ms: number): void {
    this.#world.outage = true;
    this.#world.say("central goes away");
    this.#world.time.after(ms, () => {
      this.#world.outage = false;
    });
  }

  #drain(): void {
    this.#world.say("operator drains");
    this.#current?.agent.drain({ reason: "simulated", by: "operator", exit: false }).catch(() => undefined);
  }

  #heal(): void {
    const world = this.#world;
    world.say("all faults are over");
    world.faulty = false;
    world.outage = false;
    if (!this.#calm) world.disk.full = false;
    world.disk.failingSyncs = 0;
    if (!world.process || world.process.dead) this.#bootLater();
    this.#attend();
  }

  /** Operators do now and then what the agent asks for. */
  #attend(): void {
    const { attempts, hub, time } = this.#world;
    const control = this.#current?.control();
    control?.resume("operator").catch(() => undefined);
    for (const { id, quarantined, hold } of control?.core.open ?? []) {
      if (!control || (quarantined === undefined && hold?.kind !== "paused")) continue;
      resumeJob(control.core, id).then(
        () => control.nudge(id),
        () => undefined,
      );
    }
    // A full disk may have refused acknowledgements: only in memory they are known, and the next start asks central again.
    if (hub.isQuiet && attempts.isQuiet && !this.#isOver()) void this.#current?.agent.stop();
    time.after(60_000, () => this.#attend());
  }

  #bootLater(): void {
    this.#world.time.after(this.#world.random.whole(0, 20_000), () => this.#boot());
  }

  #boot(): void {
    const world = this.#world;
    if (world.process && !world.process.dead) return;
    const process = new SimulatedProcess(world, ++this.#processes);
    world.process = process;
    world.say(`agent process ${process.number} starts`);
    const made = makeAgent(process, { compaction: this.#compaction });
    this.#current = made;
    made.agent.start().catch((error: unknown) => {
      if (process.dead) return;
      world.say(`the start failed: ${asFault(error).message}`);
      this.#gone(process);
    });
    void made.agent.ended.then((end) => {
      if (process.dead) return;
      world.say(
        `agent process ${process.number} ended: ${end.kind}${end.kind === "failed" ? ` (${end.fault.message})` : ""}`,
      );
      if (end.kind !== "failed") world.oracle.afterStop(process);
      this.#gone(process);
    });
  }

  #gone(process: SimulatedProcess): void {
    process.dead = true;
    this.#world.disk.closeAll();
    if (!this.#closing) this.#bootLater();
  }
  #closing = false;

  #isOver(): boolean {
    const world = this.#world;
    if (world.faulty || !world.hub.isQuiet || world.hub.jobs.size < this.#jobs || !world.attempts.isQuiet) return false;
    if (!world.process || world.process.dead) return false;
    const { open, outbox, claiming } = world.durable.book;
    return open.size === 0 && outbox.size === 0 && claiming.size === 0;
  }

  async #close(): Promise<void> {
    const world = this.#world;
    this.#closing = true;
    world.oracle.atEnd();
    let stopped = false;
    void this.#current?.agent.stop().then(() => {
      stopped = true;
    });
    // One whose start fails is gone as well.
    const isGone = (): boolean => stopped || world.process?.dead === true;
    const deadline = world.time.now + hourMs;
    while (!isGone() && world.time.now < deadline) if (!(await world.time.step())) break;
    if (!isGone()) world.violation("the agent does not stop");
  }
}
