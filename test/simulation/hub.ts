import { isAllowed, isFinal } from "../../src/jobs/transitions.ts";
import type { JobState } from "../../src/jobs/states.ts";
import type { JobSpec, Order, Report, ReportResult, SyncAnswer, SyncRequest } from "../../src/wire/agent-api.ts";
import type { Candidate, ClaimAnswer } from "../../src/central/types.ts";
import type { World } from "./world.ts";

const leaseMs = 90_000;
/** As in src/hub/v1/session.ts. */
const silentMs = 180_000;

/** A job as central knows it. */
export interface CentralJob {
  readonly id: string;
  readonly spec: JobSpec;
  state: JobState;
  holder: "us" | "others" | undefined;
  epoch: number;
  opId: string;
  bound: boolean;
  leaseEndsAt: number;
  /** Reports of the present epoch, as applied. */
  applied: Report[];
  /** It was taken away from us by force while it was bound. */
  taken: boolean;
  last: Report | undefined;
}

/**
 * Central by the rules of the hub (leases, epochs, orders, held calls) and, for the plain dialect, of claims and operations. Every
 * method is one transaction: what goes wrong on the way is the business of the client (central.ts). It complains of reports that
 * contradict each other.
 */
export class SimulatedHub {
  readonly jobs = new Map<string, CentralJob>();
  readonly orders = new Map<string, Order>();
  readonly #world: World;
  readonly #waiting = new Set<() => void>();
  #instance = "";
  #session = 0;
  #seenAt = 0;
  #nextOrder = 1;

  constructor(world: World) {
    this.#world = world;
  }

  submit(id: string, workflow: string): void {
    this.jobs.set(id, {
      id,
      spec: { workflow, config: {}, parameters: {}, tags: {}, parents: [] },
      state: "READY",
      holder: undefined,
      epoch: 0,
      opId: "",
      bound: false,
      leaseEndsAt: Infinity,
      applied: [],
      taken: false,
      last: undefined,
    });
    this.#changed();
  }

  order(kind: "cancel" | "pause" | "resume", id: string): void {
    const job = this.jobs.get(id);
    if (!job || isFinal(job.state)) return;
    if (job.holder !== "us") {
      if (kind === "cancel") this.#end(job, "CANCELLED");
      return;
    }
    const order = `order-${this.#nextOrder++}`;
    this.orders.set(order, { id: order, kind, job: id, reason: "simulated", actor: "operator", at: this.#at() });
    this.#world.say(`operator orders ${kind} of ${id}`);
    this.#changed();
  }

  /** An administrator gives a job that we hold to another site, which runs it. */
  takeAway(id: string): void {
    const job = this.jobs.get(id);
    if (!job || isFinal(job.state) || job.holder !== "us") return;
    job.taken = true;
    this.#give(job, "others");
  }

  /** Leases that ran out. In the plain dialect nothing falls back. */
  sweep(): void {
    for (const job of this.jobs.values()) {
      if (job.holder !== "us" || job.bound || job.leaseEndsAt > this.#world.time.now) continue;
      this.#world.say(`the lease of ${job.id} ran out`);
      if (this.#world.random.chance(0.5)) this.#give(job, "others");
      else this.#free(job);
    }
  }

  get isQuiet(): boolean {
    return [...this.jobs.values()].every((job) => isFinal(job.state));
  }

  synchronize(request: SyncRequest): SyncAnswer & { readonly candidates: readonly Candidate[] } {
    this.sweep();
    const isSilent = this.#seenAt + silentMs < this.#world.time.now;
    if (request.instance_id !== this.#instance && (request.session_epoch === undefined || isSilent)) {
      this.#instance = request.instance_id;
      this.#session++;
    }
    const current = request.instance_id === this.#instance;
    if (current) this.#seenAt = this.#world.time.now;
    for (const { id } of request.orders ?? []) this.orders.delete(id);
    const held = new Map((request.held ?? []).map((entry) => [entry.job, entry]));
    const fenced = [];
    for (const { job: id, epoch } of held.values()) {
      const job = this.jobs.get(id);
      if (!job || job.holder !== "us" || job.epoch !== epoch) fenced.push({ job: id, reason: "held by others" });
      else if (!job.bound) job.leaseEndsAt = this.#world.time.now + leaseMs;
    }
    const accepts = current && (request.state === "running" || request.state === "starting");
    const absent = [...this.jobs.values()].filter(
      (job) => job.holder === "us" && !isFinal(job.state) && !held.has(job.id),
    );
    const plain = this.#world.dialect === "nmdc";
    const assign = accepts && !plain ? this.#assignments(request, absent) : [];
    return {
      session_epoch: Math.max(1, plain ? 1 : this.#session),
      session_current: plain || current,
      next_sync_ms: plain ? 10_000 : 0,
      server_time: this.#at(),
      assign: assign.map((job) => ({
        job: job.id,
        op_id: job.opId,
        epoch: job.epoch,
        lease_ms: leaseMs,
        spec: job.spec,
      })),
      orders: plain ? [] : [...this.orders.values()],
      fenced,
      unknown: [],
      missing: plain ? [] : absent.filter((job) => job.bound).map((job) => ({ job: job.id, epoch: job.epoch })),
      log_interval_ms: 5_000,
      candidates: plain && request.free?.length ? this.#open().map((job) => ({ job: job.id, spec: job.spec })) : [],
    };
  }

  #assignments(request: SyncRequest, absent: readonly CentralJob[]): readonly CentralJob[] {
    const lost = absent.filter((job) => !job.bound);
    for (const job of lost) job.leaseEndsAt = this.#world.time.now + leaseMs;
    const offered = new Set(request.free?.map(({ workflow }) => workflow));
    const room = Math.max(0, (request.max_assign ?? 0) - lost.length);
    const fresh = this.#open().filter((job) => offered.has(job.spec.workflow));
    const given = fresh.slice(0, room);
    for (const job of given) this.#give(job, "us");
    return [...lost, ...given];
  }

  #open(): readonly CentralJob[] {
    return [...this.jobs.values()].filter((job) => job.holder === undefined && job.state === "READY");
  }

  /** Plain dialect: a claim of ours that is open is found again. */
  claim(id: string): ClaimAnswer {
    const job = this.jobs.get(id);
    if (!job || isFinal(job.state)) return { state: "refused", reason: "gone" };
    if (job.holder === undefined) {
      if (this.#world.random.chance(0.1)) this.#give(job, "others");
      else this.#give(job, "us");
    }
    return job.holder === "us"
      ? { state: "won", opId: job.opId, epoch: job.epoch }
      : { state: "lost", reason: "another claim is older" };
  }

  report(reports: readonly Report[]): ReportResult[] {
    return reports.map((report) => ({ job: report.job, epoch: report.epoch, seq: report.seq, ...this.#take(report) }));
  }

  #take(report: Report): Pick<ReportResult, "outcome" | "expected_seq"> {
    const job = this.jobs.get(report.job);
    if (!job) return { outcome: "unknown-job" };
    if (job.holder !== "us" || job.epoch !== report.epoch) return { outcome: "fenced" };
    const known = job.applied[report.seq - 1];
    if (known) {
      if (JSON.stringify(known) !== JSON.stringify(report))
        this.#world.violation(`report ${report.seq} of ${report.job} came twice with different content: a lost record`);
      return { outcome: "duplicate" };
    }
    if (report.seq !== job.applied.length + 1) return { outcome: "gap", expected_seq: job.applied.length + 1 };
    if (isFinal(job.state)) return { outcome: "refused" };
    if (job.state !== report.state && !isAllowed(job.state, report.state))
      this.#world.violation(`report ${report.seq} of ${report.job} goes from ${job.state} to ${report.state}`);
    job.applied.push(report);
    job.bound = true;
    job.last = report;
    this.#world.say(`central applies report ${report.seq} of ${report.job}: ${report.state}/${report.phase}`);
    if (isFinal(report.state)) this.#end(job, report.state);
    else job.state = report.state;
    return { outcome: "applied" };
  }

  release(id: string, epoch: number): "released" | "gone" {
    const job = this.jobs.get(id);
    if (!job || job.holder !== "us" || job.epoch !== epoch || isFinal(job.state)) return "gone";
    this.#world.say(`${id} is handed back`);
    const isCancelled = [...this.orders.values()].some((order) => order.job === id && order.kind === "cancel");
    if (isCancelled) this.#end(job, "CANCELLED");
    else this.#free(job);
    return "released";
  }

  /** Calls back at the next change; the answer takes it back. */
  whenChanged(run: () => void): () => void {
    this.#waiting.add(run);
    return () => this.#waiting.delete(run);
  }

  #give(job: CentralJob, holder: "us" | "others"): void {
    job.holder = holder;
    job.epoch++;
    job.opId = `op-${job.id}-${job.epoch}`;
    job.bound = holder === "others";
    job.applied = [];
    job.state = "READY";
    job.leaseEndsAt = this.#world.time.now + leaseMs;
    this.#world.say(`${job.id} is given to ${holder}, epoch ${job.epoch}`);
    if (holder === "others") {
      this.#world.startsElsewhere(job);
      this.#dropOrders(job);
      this.#world.time.after(60_000, () => this.#end(job, "JOB_FINISHED"));
    }
    this.#changed();
  }

  #free(job: CentralJob): void {
    job.holder = undefined;
    job.bound = false;
    job.state = "READY";
    job.leaseEndsAt = Infinity;
    this.#dropOrders(job);
    this.#changed();
  }

  #end(job: CentralJob, state: JobState): void {
    job.state = state;
    this.#dropOrders(job);
    this.#world.say(`${job.id} has ended at central: ${state}`);
    this.#changed();
  }

  #dropOrders(job: CentralJob): void {
    for (const order of this.orders.values()) if (order.job === job.id) this.orders.delete(order.id);
  }

  #changed(): void {
    for (const run of [...this.#waiting]) run();
  }

  #at(): string {
    return new Date(this.#world.time.wall).toISOString();
  }
}
