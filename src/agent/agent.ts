import { hostname } from "node:os";
import { join } from "node:path";
import { isoTime } from "../common/clock.ts";
import { asFault, type Fault } from "../common/fault.ts";
import { failpoint } from "../common/failpoint.ts";
import { readBootId } from "../journal/journal.ts";
import { syncBackoff, waitAfterMs } from "../common/retry.ts";
import { isFinal } from "../jobs/transitions.ts";
import { controlSocketName, type StatusView } from "../wire/control-api.ts";
import type { ControlActions } from "./control-server.ts";
import { hasUnsent } from "./book.ts";
import { Contact } from "./contact.ts";
import { AgentCore } from "./core.ts";
import type { AgentDeps } from "./deps.ts";
import { firstParts } from "./first-parts.ts";
import { JobDriver } from "./driver.ts";
import { fence, showUnknown } from "./fence.ts";
import { BookReader, isJournalDead, Ledger, type LedgerLimits } from "./ledger.ts";
import { runLogShipper } from "./log-shipper.ts";
import { runProgressShipper } from "./progress-shipper.ts";
import { ModeSwitch } from "./mode.ts";
import { runOutbox } from "./outbox.ts";
import { Problems } from "./problems.ts";
import { quarantineSuspects } from "./quarantine.ts";
import { probeParts } from "./probe.ts";
import { record } from "./records.ts";
import { Reloader } from "./reload.ts";
import { Room } from "./room.ts";
import { runRetention } from "./retention.ts";
import { statusView } from "./status-view.ts";
import { markForHandBack, mayHandBack } from "./steps/leave.ts";
import { wholeReport } from "./steps/outputs.ts";
import { supervise } from "./supervise.ts";
import { resolveClaims, runSyncLoop } from "./sync-loop.ts";

/** How long a stop waits for side effects under way. */
const longestStopMs = 10_000;

export interface AgentOptions {
  /** Follows and reports, claims nothing (`run --no-claim`). */
  readonly noClaim?: boolean;
  /** Default true: the site file is watched and a changed one taken. */
  readonly watchConfig?: boolean;
  /** When the journal is compacted; default: the ledger's. */
  readonly compaction?: LedgerLimits;
  /** Files of one direction of a job that may be records in the journal; more go to a file beside the job's. */
  readonly journaledFiles?: number;
}

/** Why the agent ended; the caller maps it to an exit code. */
export type AgentEnd =
  | { readonly kind: "stopped" }
  | { readonly kind: "drained" }
  | { readonly kind: "failed"; readonly fault: Fault };

/**
 * The daemon. Start-up in the order that loses nothing: configuration, locks, journal, control socket, drivers for all held jobs
 * (adoption), open claims, reports; only then new claims. Stopping leaves attempts running; the next process adopts them.
 */
export class Agent implements AsyncDisposable {
  readonly #deps: AgentDeps;
  readonly #options: AgentOptions;
  readonly #stop = new AbortController();
  readonly #end = Promise.withResolvers<AgentEnd>();
  readonly #resources = new AsyncDisposableStack();
  readonly #drivers = new Map<string, JobDriver>();
  readonly #loops: Promise<void>[] = [];
  readonly #startedAt: string;
  #core: AgentCore | undefined;
  #mode: ModeSwitch | undefined;
  #exitWhenDrained = false;
  /** Set while the agent runs on the last good copy of a broken site file. */
  #watchOnly: Reloader | undefined;
  readonly #contact: Contact;
  readonly #room = new Room();

  constructor(deps: AgentDeps, options: AgentOptions = {}) {
    this.#deps = deps;
    this.#options = options;
    this.#startedAt = isoTime(deps.clock.now());
    this.#contact = new Contact(deps.clock);
    // One for all: each listener of a signal is compared with each that is added, and there may be thousands of drivers.
    const interrupt = (): void => this.#drivers.forEach((driver) => driver.interrupt());
    this.#stop.signal.addEventListener("abort", interrupt, { once: true });
  }

  /** Resolves when the agent has ended, by itself or by `stop`. */
  get ended(): Promise<AgentEnd> {
    return this.#end.promise;
  }

  /**
   * A stop that comes meanwhile is carried out when the start is through.
   * @throws Fault CONFIG, ALREADY_RUNNING, JOURNAL, JOURNAL_VERSION: nothing was touched.
   */
  async start(): Promise<void> {
    const started = this.#start();
    this.#started = started.catch(() => undefined);
    await started;
  }
  #started: Promise<void> = Promise.resolve();

  async #start(): Promise<void> {
    const { clock, log, machine } = this.#deps;
    const { parts, broken } = await firstParts(this.#deps);
    const { stateDir, runtimeDir } = parts.site.agent;
    const lock = this.#resources.use(
      await machine.lock({ stateDirectory: stateDir, runtimeDirectory: runtimeDir, clock, log }),
    );
    const agentId = await machine.identity(stateDir);
    const central = this.#resources.use(await this.#deps.openCentral(parts.site, agentId));
    await failpoint("agent.before-journal");
    const reader = new BookReader();
    const { journal, opening } = await machine.openJournal({
      directory: join(stateDir, "journal"),
      clock,
      log,
      meta: { agentId },
      reader,
    });
    const ledger = new Ledger(journal, reader.book, this.#options.compaction);
    this.#resources.defer(() => ledger.close());
    if (broken && [...ledger.book.jobs.values()].every((job) => isFinal(job.state))) throw broken;
    const problems = new Problems(clock);
    if (opening.repair.kind === "salvage") {
      problems.set(
        "salvage",
        `the journal was damaged: ${opening.repair.message ?? "some records are lost"}`,
        `compare the jobs below with the hub; the damaged file is kept at ${opening.repair.keptAside ?? "the journal directory"}`,
      );
      await afterSalvage(ledger);
    }
    const core = new AgentCore({
      ledger,
      clock,
      log,
      machine,
      central,
      problems,
      stopping: this.#stop.signal,
      parts,
      hubOutputs: this.#deps.hubOutputs,
      journaledFiles: this.#options.journaledFiles,
      onFatal: (fault) => this.#fail(fault),
    });
    this.#core = core;
    this.#deps.hubOutputs.connect(central, (token) => core.jobs.find((job) => job.token === token));
    this.#resources.defer(() => core.close());
    const mode = new ModeSwitch(core);
    this.#mode = mode;
    const onDead = (): void => this.#fail(asFault(journal.failed.reason, "JOURNAL"));
    journal.failed.addEventListener("abort", onDead, { once: true });
    const onLost = (): void => this.#fail(asFault(lock.lost.reason, "ALREADY_RUNNING"));
    lock.lost.addEventListener("abort", onLost, { once: true });
    await failpoint("agent.before-start");
    await ledger.commit(
      [
        record("agent.start", {
          instance_id: lock.instanceId,
          version: this.#deps.version,
          boot_id: readBootId(),
          pid: process.pid,
          host: hostname(),
        }),
      ],
      "report",
    );
    await failpoint("agent.after-start");
    const reloader = new Reloader(core, this.#deps.loadParts, this.#startedAt);
    if (broken) {
      reloader.startedWithout(broken);
      this.#watchOnly = reloader;
    }
    if (this.#options.watchConfig !== false) this.#resources.use(reloader.watch());
    this.#resources.use(
      await machine.openControlSocket(join(runtimeDir, controlSocketName), this.#actions(core, mode, reloader)),
    );
    if (this.#stop.signal.aborted) return;
    mode.enter("reconciling");
    await quarantineSuspects(core);
    await this.#room.look(core);
    this.#run(core, mode, { agentId, instanceId: lock.instanceId });
  }

  /** Ends the agent and leaves attempts running. Idempotent. */
  async stop(end: AgentEnd = { kind: "stopped" }): Promise<void> {
    if (!this.#stop.signal.aborted) {
      this.#mode?.enter("stopping");
      this.#stop.abort();
      await this.#started;
      await this.#settle();
      try {
        await this.#core?.ledger.commit([record("agent.stop", { reason: end.kind })], "report");
      } catch (error) {
        this.#deps.log.debug({ err: asFault(error) }, "the stop was not journaled");
      }
      try {
        await this.#resources.disposeAsync();
      } finally {
        this.#end.resolve(end);
      }
    }
    await this.ended;
  }

  /** Waits for the side effects under way, not for ever: what hangs is found again in the journal. */
  async #settle(): Promise<void> {
    const ended = new AbortController();
    const work = Promise.allSettled([...this.#loops, ...[...this.#drivers.values()].map((driver) => driver.done)]);
    void work.then(() => ended.abort());
    await this.#deps.clock.sleep(longestStopMs, ended.signal);
  }

  /** Reads the site file again (HUP). @throws Fault CONFIG; the old one stays. */
  async reload(): Promise<void> {
    await this.#reloadNow();
  }
  #reloadNow: () => Promise<void> = async () => {};

  /** Takes nothing more; with `exit` ends with `drained` once nothing is held (QUIT). */
  async drain(request: { readonly reason: string; readonly by: string; readonly exit: boolean }): Promise<void> {
    this.#exitWhenDrained ||= request.exit;
    await this.#mode?.set("draining", request);
  }

  async status(): Promise<StatusView | undefined> {
    return await this.#view?.();
  }
  #view: (() => Promise<StatusView>) | undefined;

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }

  #run(core: AgentCore, mode: ModeSwitch, ids: { readonly agentId: string; readonly instanceId: string }): void {
    for (const job of [...core.open]) this.#drive(core, job.id);
    this.#loop(core, "outbox", () =>
      runOutbox(
        {
          ledger: core.ledger,
          central: core.central,
          work: core.outboxWork,
          changed: core.changed,
          back: core.centralBack,
          whole: (entry) => wholeReport(entry, core.ledger.book.jobs.get(entry.report.job), core.reportDetail()),
          onFenced: async (job, reason) => {
            if (await fence(core, job, reason)) this.#drivers.get(job)?.interrupt();
          },
          onUnknown: (job) => showUnknown(core, job),
          onContact: (fault) => this.#contact.note(fault, core.problems),
        },
        core.context(core.log.child({ component: "outbox" })),
      ),
    );
    this.#loop(core, "probe", () => probeParts(core));
    this.#loop(core, "retention", () => runRetention(core));
    this.#loop(core, "logs", () => runLogShipper(core));
    this.#loop(core, "progress", () => runProgressShipper(core));
    this.#loop(core, "room", () => this.#room.watch(core));
    this.#loop(core, "drain", () => this.#watchDrain(core, mode));
    this.#loop(core, "sync", async () => {
      await this.#resolveClaims(core);
      mode.enter("up");
      await runSyncLoop(core, {
        ...ids,
        version: this.#deps.version,
        mode: () => mode.current,
        refusal: () => this.#refusal(core),
        modeLastsMs: () => mode.lastsMs,
        onTaken: (job) => this.#drive(core, job),
        onChanged: (job) => this.#drivers.get(job)?.interrupt(),
        onContact: (fault) => this.#contact.note(fault, core.problems),
        onRound: (times) => this.#contact.round(times),
      });
    });
  }

  #drive(core: AgentCore, id: string): void {
    const job = core.ledger.book.jobs.get(id);
    if (this.#drivers.has(id) || !job || isFinal(job.state)) return;
    const driver = new JobDriver(core, id);
    this.#drivers.set(id, driver);
    void driver.done.then(() => {
      this.#drivers.delete(id);
      core.deadlines.forget(id);
      // A slot is free: ask for the next job now, not at the next interval.
      core.syncWork.notify();
      core.changed.notify(id);
      core.jobOver.notify();
    });
  }

  /** Claims that were about to be sent when the last process ended: find out what became of them before anything new is claimed. */
  async #resolveClaims(core: AgentCore): Promise<void> {
    for (let failures = 1; core.ledger.book.claiming.size > 0 && !core.stopping.aborted; failures++) {
      try {
        await resolveClaims(core, { onTaken: (id) => this.#drive(core, id) });
      } catch (error) {
        const fault = asFault(error);
        if (core.stopping.aborted) return;
        if (isJournalDead(fault)) throw fault;
        this.#contact.note(fault, core.problems);
        await core.clock.sleep(waitAfterMs(fault, syncBackoff, failures), core.stopping);
      }
    }
  }

  #refusal(core: AgentCore): string | undefined {
    if (this.#options.noClaim) return "started with --no-claim";
    if (this.#watchOnly?.problem !== undefined) return "the site file was broken at the start";
    if (!core.parts.site.agent.claim) return "agent.claim is false in the site file";
    if (core.ledger.journal.health !== "ok") return `the journal is not well: ${core.ledger.journal.health}`;
    return this.#room.problem;
  }

  async #watchDrain(core: AgentCore, mode: ModeSwitch): Promise<void> {
    while (!core.stopping.aborted) {
      const { current } = mode;
      // What becomes of jobs concerns this loop only while the agent drains.
      const news = current === "draining" || current === "drained" ? core.changed : core.modeChanged;
      const changed = news.next(core.stopping);
      if (current === "draining") await this.#handBackAll(core, mode.change?.reason);
      const unsent = [...core.ledger.book.outbox.values()].some(hasUnsent);
      if (this.#exitWhenDrained && current === "drained" && !unsent) {
        void this.stop({ kind: "drained" });
        return;
      }
      await changed;
    }
  }

  /** What runs here is brought to its end; what has not begun goes back to central, for others. */
  async #handBackAll(core: AgentCore, why = ""): Promise<void> {
    const reason = why === "" ? "the site drains" : `the site drains: ${why}`;
    for (const job of [...core.open]) {
      if (!mayHandBack(job)) continue;
      try {
        if (await markForHandBack(core, job.id, reason)) this.#drivers.get(job.id)?.interrupt();
      } catch (error) {
        // Gone meanwhile, or the journal is: only the latter concerns us.
        if (isJournalDead(error)) throw error;
      }
    }
  }

  #actions(core: AgentCore, mode: ModeSwitch, reloader: Reloader): ControlActions {
    const status = async (): Promise<StatusView> =>
      statusView({
        core,
        mode,
        reloader,
        contact: this.#contact,
        startedAt: this.#startedAt,
        version: this.#deps.version,
        log: this.#deps.recentLog(),
      });
    this.#reloadNow = () => reloader.reload();
    this.#view = status;
    return {
      core,
      status,
      pause: (request) => mode.set("paused", request),
      resume: async (by) => {
        this.#exitWhenDrained = false;
        await mode.set("running", { reason: "", by });
      },
      drain: (request) => this.drain(request),
      reload: () => reloader.reload(),
      nudge: (job) => this.#drivers.get(job)?.interrupt(),
    };
  }

  #loop(core: AgentCore, name: string, run: () => Promise<void>): void {
    this.#loops.push(
      supervise(core, name, run).catch((error: unknown) => {
        if (!core.stopping.aborted) this.#fail(asFault(error));
      }),
    );
  }

  #fail(fault: Fault): void {
    this.#deps.log.error({ err: fault }, "the agent ends; attempts go on and are adopted by the next start");
    void this.stop({ kind: "failed", fault });
  }
}

/** Whatever the damaged part said of a held job is gone: mark them all, and begin a new generation so that the damage is behind us. */
async function afterSalvage(ledger: Ledger): Promise<void> {
  const marks = [...ledger.book.jobs.keys()].map((id) => record("job.change", { patch: { recovered: true } }, id));
  if (marks.length > 0) await ledger.commit(marks, "report");
  await ledger.compact();
}
