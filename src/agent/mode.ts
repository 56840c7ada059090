import { isoTime } from "../common/clock.ts";
import { failpoint } from "../common/failpoint.ts";
import type { AgentMode } from "../wire/control-api.ts";
import type { AgentCore } from "./core.ts";
import { type ModeChange, record } from "./records.ts";

/** What the agent does with new work. Pause and drain survive restarts; a pause may end by itself. */
export class ModeSwitch {
  readonly #core: AgentCore;
  /** Set until reconciliation is done, and again while stopping. */
  #phase: "starting" | "reconciling" | "up" | "stopping" = "starting";

  constructor(core: AgentCore) {
    this.#core = core;
  }

  enter(phase: "reconciling" | "up" | "stopping"): void {
    this.#phase = phase;
    this.#tell();
  }

  get current(): AgentMode {
    if (this.#phase !== "up") return this.#phase;
    const change = this.change;
    if (change?.mode === "draining") {
      const { open, claiming } = this.#core.ledger.book;
      return open.size === 0 && claiming.size === 0 ? "drained" : "draining";
    }
    return change?.mode ?? "running";
  }

  /** The standing order; a pause that is over counts as none. */
  get change(): ModeChange | undefined {
    const change = this.#core.ledger.book.mode;
    if (change?.until !== undefined && Date.parse(change.until) <= this.#core.clock.now()) return undefined;
    return change;
  }

  /** Milliseconds until a pause ends by itself; Infinity when nothing does. */
  get lastsMs(): number {
    const until = this.change?.until;
    return until === undefined ? Infinity : Math.max(0, Date.parse(until) - this.#core.clock.now());
  }

  async set(
    mode: ModeChange["mode"],
    options: { readonly reason: string; readonly by: string; readonly until?: string | undefined },
  ): Promise<void> {
    const at = isoTime(this.#core.clock.now());
    const { reason, by, until } = options;
    await failpoint("mode.before-record");
    await this.#core.ledger.commit(
      [record("agent.mode", { mode, reason, by, at, ...(until === undefined ? {} : { until }) })],
      "report",
    );
    await failpoint("mode.after-record");
    this.#core.log.info({ mode, reason, by, until }, "mode changed");
    this.#tell();
    this.#core.syncWork.notify();
  }

  #tell(): void {
    this.#core.modeChanged.notify();
    this.#core.changed.notify();
  }
}
