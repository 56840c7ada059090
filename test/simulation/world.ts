import type { AttemptEnd } from "../../src/jobs/states.ts";
import { SimulatedDisk } from "./disk.ts";
import { DurableBook } from "./durable.ts";
import { type CentralJob, SimulatedHub } from "./hub.ts";
import { Attempts } from "./launcher.ts";
import { Oracle } from "./oracle.ts";
import type { SimulatedProcess } from "./process.ts";
import { Random } from "./random.ts";
import { VirtualTime } from "./time.ts";

/** How likely each call goes wrong while faults happen, per history. */
interface Rates {
  readonly kill: number;
  readonly power: number;
  readonly network: number;
  readonly launcher: number;
  readonly transfer: number;
  readonly stall: number;
}

/** Everything outside the agent's process: time, disk, central, attempts; and what goes wrong in one history. */
export class World {
  readonly random: Random;
  readonly time: VirtualTime;
  readonly disk: SimulatedDisk;
  readonly durable: DurableBook;
  readonly hub: SimulatedHub;
  readonly attempts: Attempts;
  readonly oracle: Oracle;
  readonly dialect: "hub" | "nmdc";
  rates: Rates;
  readonly violations: string[] = [];
  readonly trace: string[] = [];
  /** True while things may go wrong. */
  faulty = true;
  outage = false;
  process: SimulatedProcess | undefined;
  kills = 0;
  #killsLeft: number;
  readonly #onChange = new Set<() => void>();
  readonly #onKill: () => void;
  readonly #traced: boolean;

  constructor(seed: number, options: { readonly traced: boolean; readonly onKill: () => void }) {
    this.random = new Random(seed);
    this.#traced = options.traced;
    this.#onKill = options.onKill;
    this.time = new VirtualTime(this.random);
    this.disk = new SimulatedDisk(this.random);
    this.durable = new DurableBook(this.disk);
    this.hub = new SimulatedHub(this);
    this.attempts = new Attempts(this);
    this.oracle = new Oracle(this);
    const { random } = this;
    this.dialect = random.chance(0.2) ? "nmdc" : "hub";
    this.rates = {
      kill: random.pick([0, 0.002, 0.01, 0.03]),
      power: random.pick([0, 0.3, 1]),
      network: random.pick([0, 0.02, 0.1, 0.3]),
      launcher: random.pick([0, 0.05, 0.2]),
      transfer: random.pick([0, 0.1, 0.3]),
      stall: random.pick([0, 0, 0.01]),
    };
    this.#killsLeft = random.whole(0, 6);
  }

  say(what: string): void {
    if (this.#traced) this.trace.push(`${(this.time.now / 1000).toFixed(3).padStart(9)} s  ${what}`);
  }

  violation(what: string): void {
    this.violations.push(what);
    this.say(`VIOLATION: ${what}`);
  }

  /** Nothing goes wrong by chance. */
  calm(): void {
    this.rates = { kill: 0, power: 0, network: 0, launcher: 0, transfer: 0, stall: 0 };
  }

  /** Is this the place where the process dies? */
  killsAt(place: string): boolean {
    if (!this.faulty || this.#killsLeft === 0 || !this.random.chance(this.rates.kill)) return false;
    this.kill(place);
    return true;
  }

  /** SIGKILL, or the end of power for the whole machine. */
  kill(place: string): void {
    const { process } = this;
    if (!process || process.dead) return;
    this.#killsLeft--;
    this.kills++;
    process.dead = true;
    this.disk.closeAll();
    const isPower = this.random.chance(this.rates.power);
    this.say(`${isPower ? "the machine loses power" : "the agent is killed"} ${place}`);
    if (isPower) {
      this.disk.losePower();
      this.durable.forget();
      this.attempts.reboot();
    }
    this.#onKill();
  }

  /** How an attempt of a job ends, by its workflow. */
  endOf(job: string, attempt: number): AttemptEnd {
    const ended_at = new Date(this.time.wall).toISOString();
    const workflow = this.hub.jobs.get(job)?.spec.workflow ?? "";
    const draw = this.random.next();
    if (workflow === "flaky-1.0.0" && attempt === 1) return { cause: "exit", exit_code: 9, evidence: "rc", ended_at };
    if (draw < 0.8) return { cause: "exit", exit_code: 0, evidence: "rc", ended_at };
    if (draw < 0.87) return { cause: "exit", exit_code: 1, evidence: "rc", ended_at };
    if (draw < 0.92) return { cause: "timeout", evidence: "timeout", ended_at };
    if (draw < 0.95) return { cause: "signal", signal: "SIGSEGV", evidence: "rc", ended_at };
    if (draw < 0.97)
      return { cause: "infrastructure", evidence: "queue", ended_at, message: "simulated: the allocation was lost" };
    return { cause: "status-lost", evidence: "identity", ended_at };
  }

  startsElsewhere(job: CentralJob): void {
    if (!job.taken && this.attempts.alive(job.id).length > 0)
      this.violation(`${job.id} goes to others while an attempt of it runs here`);
  }

  attemptEnded(): void {
    for (const run of this.#onChange) run();
  }

  onAttemptChange(run: () => void): () => void {
    this.#onChange.add(run);
    return () => this.#onChange.delete(run);
  }
}
