import type { Handle, Probe } from "../../src/common/adapter.ts";
import { type Clock, isoTime } from "../../src/common/clock.ts";
import type { Token } from "../../src/common/token.ts";
import type {
  AttemptPlan,
  AttemptRef,
  AttemptStatus,
  Launcher,
  LaunchResult,
  StopResult,
} from "../../src/launchers/types.ts";

interface Attempt {
  readonly startedAt: string;
  starts: number;
  suspended: boolean;
  end: Extract<AttemptStatus, { state: "ended" }> | undefined;
}

/** A launcher whose attempts are entries of a map: they start at once and end when the test says so, or after a time. */
export class SimulatedLauncher implements Launcher {
  readonly kind = "local";
  readonly capabilities = { runtimes: ["plain", "pty"], tier: "cgroup", attach: false } as const;
  readonly attempts = new Map<Token, Attempt>();
  /** Set: why it takes none just now. */
  busy: string | undefined;
  /** Times at which it took none. */
  readonly refused: number[] = [];
  /** Set: attempts wait in its queue, and what it says of that. */
  queue: { readonly reason: string; readonly stuck?: boolean } | undefined;
  /** Set: a question is answered when it resolves. */
  hangs: Promise<void> | undefined;
  /** Questions so far, and those that wait for their answer. */
  readonly questions = { asked: 0, open: 0 };
  /** Attempts that were told to stop. */
  readonly stopped: Token[] = [];
  readonly #clock: Clock;
  readonly #durationMs: () => number | undefined;
  readonly #watchers = new Set<(token: Token) => void>();
  readonly #closing = new AbortController();

  /** `durationMs`: how long each attempt runs; undefined = until the test ends it. */
  constructor(clock: Clock, durationMs: () => number | undefined = () => undefined) {
    this.#clock = clock;
    this.#durationMs = durationMs;
  }

  /** How often each attempt was started; more than once is what must never be. */
  get starts(): readonly number[] {
    return [...this.attempts.values()].map((attempt) => attempt.starts);
  }

  get running(): readonly Token[] {
    return [...this.attempts].flatMap(([token, attempt]) => (attempt.end ? [] : [token]));
  }

  /** An attempt that an earlier agent started. */
  adopt(token: Token): void {
    this.attempts.set(token, { startedAt: isoTime(this.#clock.now()), starts: 1, suspended: false, end: undefined });
  }

  /** Somebody stops its processes, or lets them go on. */
  suspend(token: Token, suspended: boolean): void {
    const attempt = this.attempts.get(token);
    if (attempt) attempt.suspended = suspended;
    for (const tell of this.#watchers) tell(token);
  }

  /** The attempt exits. */
  end(token: Token, exitCode = 0): void {
    const attempt = this.attempts.get(token);
    if (!attempt || attempt.end) return;
    const ended_at = isoTime(this.#clock.now());
    const end = { cause: "exit", exit_code: exitCode, evidence: "rc", ended_at } as const;
    attempt.end = { state: "ended", end, remaining: [], tier: "cgroup" };
    for (const tell of this.#watchers) tell(token);
  }

  async probe(): Promise<Probe> {
    return { ok: true, version: "simulated" };
  }

  async launch(plans: readonly AttemptPlan[]): Promise<readonly LaunchResult[]> {
    const { busy } = this;
    if (busy !== undefined) {
      this.refused.push(this.#clock.monotonic());
      return plans.map(() => ({ state: "busy", reason: busy }));
    }
    return plans.map(({ token }) => {
      const known = this.attempts.get(token);
      if (known) known.starts++;
      else {
        this.adopt(token);
        const durationMs = this.#durationMs();
        if (durationMs !== undefined)
          void this.#clock.sleep(durationMs, this.#closing.signal).then(() => this.end(token));
      }
      return { state: "accepted", handle: handleOf(token) };
    });
  }

  async find(refs: readonly AttemptRef[]): Promise<readonly (Handle | undefined)[]> {
    return refs.map(({ token }) => (this.attempts.has(token) ? handleOf(token) : undefined));
  }

  async statuses(refs: readonly AttemptRef[]): Promise<readonly AttemptStatus[]> {
    this.questions.asked++;
    this.questions.open++;
    await this.hangs;
    this.questions.open--;
    return refs.map(({ token }) => {
      const attempt = this.attempts.get(token);
      if (!attempt) return { state: "absent" };
      if (this.queue && !attempt.end) return { state: "queued", ...this.queue };
      const { startedAt, suspended } = attempt;
      return attempt.end ?? { state: "running", since: startedAt, ...(suspended ? { suspended } : {}) };
    });
  }

  async stop(refs: readonly AttemptRef[]): Promise<readonly StopResult[]> {
    return refs.map(({ token }) => {
      this.stopped.push(token);
      this.end(token, 143);
      return { state: "gone", tier: "cgroup" };
    });
  }

  watch(onChange: (token: Token) => void): Disposable {
    this.#watchers.add(onChange);
    return { [Symbol.dispose]: () => void this.#watchers.delete(onChange) };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closing.abort();
  }
}

export function handleOf(token: Token): Handle {
  return { adapter: "local", version: 1, data: { token } };
}
