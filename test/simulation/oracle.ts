import type { Book } from "../../src/agent/book.ts";
import type { HeldJob } from "../../src/agent/held-job.ts";
import { isFinal } from "../../src/jobs/transitions.ts";
import type { AttemptPlan } from "../../src/launchers/types.ts";
import type { Report, SyncRequest } from "../../src/wire/agent-api.ts";
import type { SimulatedProcess } from "./process.ts";
import type { World } from "./world.ts";

/** One of each loop (sync, outbox, retention, logs, room, drain), the look at each in its first minute, two of the journal; none of a job. */
const mostTimersAtRest = 14;

interface Planned {
  readonly job: string;
  readonly epoch: number;
}

/** What must hold at every moment of a history, and when it is over; says `violation` to the world where it does not. */
export class Oracle {
  readonly #world: World;
  readonly #planned = new Map<string, Planned>();
  /** `job/epoch/attempt` of what was started, with its token. */
  readonly #started = new Map<string, string>();
  /** `job/epoch` of what was handed back. */
  readonly #released = new Set<string>();

  constructor(world: World) {
    this.#world = world;
  }

  jobOf(plan: AttemptPlan): string {
    return this.#planned.get(plan.token)?.job ?? "nobody's";
  }

  /** Invariant 1 and B14: what is sent is on the disk; nothing that central has acknowledged is missing there. */
  beforeReport(reports: readonly Report[]): void {
    for (const report of reports) {
      const entries = this.#durable.outbox.get(report.job) ?? [];
      const stored = entries.find((entry) => entry.report.epoch === report.epoch && entry.report.seq === report.seq);
      const what = `report ${report.seq} of ${report.job} (epoch ${report.epoch})`;
      if (!stored) {
        // An acknowledgement may be durable already while the same batch is sent again.
        const job = this.#durable.jobs.get(report.job);
        if (!job || job.epoch < report.epoch || (job.epoch === report.epoch && job.seq < report.seq))
          this.#violation(`${what} is sent and not on the disk`);
      } else if (JSON.stringify(stored.report) !== JSON.stringify(report))
        this.#violation(`${what} is sent with another content than on the disk`);
    }
  }

  beforeSync(request: SyncRequest): void {
    const held = new Map((request.held ?? []).map((entry) => [entry.job, entry]));
    for (const { job: id, epoch } of held.values()) {
      const stored = this.#durable.jobs.get(id);
      // Handed back, and forgotten on the disk a moment before in memory: central has taken it back and says so.
      if (!stored && this.#released.has(`${id}/${epoch}`)) continue;
      if (!stored || stored.epoch < epoch) this.#violation(`${id} is said to be held and is not on the disk`);
    }
    for (const { id } of request.orders ?? [])
      if (this.#durable.orders.get(id)?.result === undefined)
        this.#violation(`order ${id} is answered and that is not on the disk`);
    for (const job of this.#world.hub.jobs.values()) {
      if (job.holder !== "us" || !job.bound || isFinal(job.state)) continue;
      const entry = held.get(job.id);
      if (entry?.epoch === job.epoch) {
        if (entry.seq < job.applied.length)
          this.#violation(`${job.id} is known to report ${entry.seq}, central has ${job.applied.length}`);
      } else if (!this.#isEndingHere(job.id, job.epoch))
        this.#violation(`${job.id} is bound to this site and not known here`);
    }
  }

  /** Ended with its last report on the way, fenced by an answer, or handed back and the answer lost. */
  #isEndingHere(id: string, epoch: number): boolean {
    const stored = this.#durable.jobs.get(id);
    if (!stored) return false;
    return stored.epoch < epoch || stored.fenced !== undefined || isFinal(stored.state);
  }

  beforeClaim(job: string): void {
    if (!this.#durable.claiming.has(job)) this.#violation(`${job} is claimed without a durable intent`);
  }

  beforeRelease(job: string): void {
    const stored = this.#durable.jobs.get(job);
    if (stored?.releasing === undefined) this.#violation(`${job} is handed back without a durable intent`);
    else this.#released.add(`${job}/${stored.epoch}`);
  }

  beforeLaunch(plan: AttemptPlan): void {
    const job = this.#jobWith(plan);
    if (!job) {
      this.#violation(`attempt ${plan.token} is launched without a durable intent`);
      return;
    }
    if (!job.bound && this.#world.hub.jobs.get(job.id)?.bound === false)
      this.#violation(`${job.id} is launched before it is bound`);
    this.#planned.set(plan.token, { job: job.id, epoch: job.epoch });
  }

  #jobWith(plan: AttemptPlan): HeldJob | undefined {
    for (const job of this.#durable.jobs.values())
      if (job.attempts.some((attempt) => attempt.token === plan.token)) return job;
    return undefined;
  }

  /** An attempt really begins to run. */
  beforeStart(plan: AttemptPlan, job: string): void {
    const central = this.#world.hub.jobs.get(job);
    const others = this.#world.attempts.alive(job);
    if (others.length > 0 && central?.taken !== true) this.#violation(`two attempts of ${job} run at the same time`);
    const key = `${job}/${this.#planned.get(plan.token)?.epoch ?? 0}/${plan.attempt}`;
    if (this.#started.has(key))
      this.#violation(`attempt ${plan.attempt} of ${job} starts a second time, by another token`);
    this.#started.set(key, plan.token);
  }

  /** After a process ended in order: nothing of it ticks, listens or is open any more. */
  afterStop({ timers, watches, abandoned }: SimulatedProcess): void {
    const openFiles = abandoned ? 0 : this.#world.disk.openFiles;
    if (timers > 0) this.#violation(`${timers} timers are left after an orderly stop`);
    if (watches > 0) this.#violation(`${watches} launchers are still watched after an orderly stop`);
    if (openFiles > 0) this.#violation(`${openFiles} files are still open after an orderly stop`);
  }

  /** When all faults are over, everything had time to heal, and the agent is at rest. */
  atEnd(): void {
    const { hub, attempts } = this.#world;
    for (const job of hub.jobs.values()) {
      if (!isFinal(job.state))
        this.#violation(`${job.id} has not ended: ${job.state} at central, held by ${job.holder ?? "nobody"}`);
      if (job.state === "JOB_FINISHED" && job.holder === "us") this.#checkSuccess(job.id, job.epoch, job.last);
      job.applied.forEach((report, index) => {
        if (report.seq !== index + 1) this.#violation(`reports of ${job.id} were not applied in order`);
      });
    }
    const { open, outbox, claiming } = this.#durable;
    for (const job of open.values()) this.#violation(`${job.id} is still held, in ${job.state}`);
    for (const [id, entries] of outbox) this.#violation(`${entries.length} reports of ${id} were not delivered`);
    for (const id of claiming.keys()) this.#violation(`the claim of ${id} is still open`);
    if (!attempts.isQuiet) this.#violation("an attempt is alive or has left processes");
    const timers = this.#world.process?.timers ?? 0;
    if (timers > mostTimersAtRest) this.#violation(`an agent at rest has ${timers} timers`);
  }

  #checkSuccess(id: string, epoch: number, last: Report | undefined): void {
    const token = this.#started.get(`${id}/${epoch}/${last?.attempt ?? 0}`);
    const end = token === undefined ? undefined : this.#world.attempts.all.get(token)?.end;
    if (end?.cause !== "exit" || end.exit_code !== 0)
      this.#violation(`${id} counts as a success without a proven exit code 0`);
  }

  get #durable(): Book {
    return this.#world.durable.book;
  }

  #violation(what: string): void {
    this.#world.violation(what);
  }
}
