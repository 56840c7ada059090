import { watch } from "node:fs";
import { access, constants } from "node:fs/promises";
import { createRequire } from "node:module";
import { join } from "node:path";
import type { Handle, Probe } from "../../common/adapter.ts";
import { systemClock } from "../../common/clock.ts";
import type { CallContext } from "../../common/context.ts";
import { Fault, messageOf } from "../../common/fault.ts";
import { failpoint } from "../../common/failpoint.ts";
import type { Token } from "../../common/token.ts";
import { inFileThread } from "../../common/file-thread.ts";
import type { AttemptName, Look, lookAt as lookThere } from "../../runner/attempt-status.ts";
import type { StartAnswer } from "../../runner/protocol.ts";
import { longestSocketPath } from "../../runner/pty-command.ts";
import type {
  AttemptPlan,
  AttemptRef,
  AttemptStatus,
  Launcher,
  LauncherCapabilities,
  LaunchResult,
  StopResult,
} from "../types.ts";
import { Listeners } from "../listeners.ts";
import { refuse } from "../refusal.ts";
import { refusalOf } from "./check-plan.ts";
import { makeHandle, nameOf, requestOf } from "./handles.ts";
import { RunnerClient } from "./runner-client.ts";
import { type RunnerStart, startRunner } from "./start-runner.ts";

export interface LocalLauncherOptions {
  /** The recorders' copies, the runner's log. */
  readonly stateDirectory: string;
  /** Where the runner's socket and lock lie; must be on a local file system. Default: the state directory. */
  readonly runtimeDirectory?: string;
  /** Socket of a runner that somebody else starts (systemd/siteagent-runner.socket): we connect to it and never start one. */
  readonly runnerSocket?: string | undefined;
  /** The Node 24 that runs the runner; default: ours. */
  readonly nodePath?: string;
  /** Strongest tier that may be used; `auto` takes the strongest that a trial shows to work. */
  readonly containment?: RunnerStart["containment"];
  /** A runner without attempts and clients ends after this. */
  readonly idleMs?: number;
  /** Soft limit of open files of attempts. */
  readonly openFiles?: number;
  /** Is node-pty there? Default: looked up when first needed. */
  readonly pty?: boolean;
  /** For tests of other versions: what we speak and what a runner started by us speaks. */
  readonly versions?: { readonly client?: readonly number[]; readonly runner?: readonly number[] };
}

const lookAt = inFileThread<typeof lookThere>(import.meta.url, "../../runner/attempt-status", "lookAt");

/** How long a runner's silence about a living attempt is believed before its evidence is read again. */
const vouchedMs = 15_000;

/** Looks that are remembered; beyond it the oldest is forgotten, which costs one more look. */
const mostKnown = 20_000;

interface Known extends Look {
  /** Monotonic time of the look. */
  readonly lookedAt: number;
}

/** Starts attempts on this machine through the runner and follows them by their evidence. */
export function createLocalLauncher(options: LocalLauncherOptions): Launcher {
  return new LocalLauncher(options);
}

class LocalLauncher implements Launcher {
  readonly kind = "local";
  readonly #client: RunnerClient;
  readonly #listeners = new Listeners();
  /** Attempts whose end the connected runner will report. */
  readonly #vouched = new Set<string>();
  readonly #known = new Map<string, Known>();
  readonly #watchers = new Map<string, { readonly since: number; close(): void }>();
  #pty: boolean;

  constructor(options: LocalLauncherOptions) {
    this.#pty = options.pty ?? ptyThere();
    const socketPath = options.runnerSocket ?? join(options.runtimeDirectory ?? options.stateDirectory, "runner.sock");
    if (socketPath.length > longestSocketPath) {
      throw new Fault("CONFIG", `the runner's socket '${socketPath}' has more than ${longestSocketPath} characters`, {
        hint: "set a shorter runtime directory (SITEAGENT_RUNTIME_DIR)",
      });
    }
    this.#client = new RunnerClient({
      socketPath,
      clock: systemClock,
      start: options.runnerSocket === undefined ? () => startRunner(runnerStart(options, socketPath)) : undefined,
      onChange: (token) => this.#changed(token),
      onLost: () => this.#lostRunner(),
      versions: options.versions?.client,
    });
  }

  /** The tier is the latest runner's; before the first connection the weakest. */
  get capabilities(): LauncherCapabilities {
    return {
      runtimes: this.#pty ? ["plain", "pty"] : ["plain"],
      tier: this.#client.tier ?? "group",
      attach: this.#pty,
    };
  }

  async probe(context: CallContext): Promise<Probe> {
    for (const program of ["/usr/bin/flock", "/usr/bin/setsid"]) {
      if (!(await executable(program))) {
        return { ok: false, reason: `'${program}' is missing`, hint: "apt-get install util-linux" };
      }
    }
    try {
      const welcome = await this.#client.connect();
      context.log.debug({ welcome }, "runner answers");
      return { ok: true, version: `runner protocol ${welcome.version}`, notes: [`tier ${welcome.tier}`] };
    } catch (error) {
      return { ok: false, reason: messageOf(error) };
    }
  }

  async launch(plans: readonly AttemptPlan[], context: CallContext): Promise<readonly LaunchResult[]> {
    const refusals = await Promise.all(plans.map((plan) => refusalOf(plan, this.#pty)));
    const open = plans.filter((_, index) => refusals[index] === undefined);
    await failpoint("launcher.before-launch");
    const answers = new Map<AttemptPlan, LaunchResult>();
    if (open.length > 0) {
      const results = await this.#client.launch(open.map(requestOf));
      for (const [index, plan] of open.entries()) {
        const answer = results[index] ?? { state: "unknown", message: "no answer" };
        answers.set(plan, await this.#launched(plan, answer, context));
      }
    }
    await failpoint("launcher.after-launch");
    return plans.map((plan, index) => refusals[index] ?? answers.get(plan) ?? { state: "unknown", why: "no answer" });
  }

  async #launched(plan: AttemptPlan, answer: StartAnswer, context: CallContext): Promise<LaunchResult> {
    switch (answer.state) {
      case "started": {
        this.#vouched.add(plan.token);
        const { recorder, job } = answer;
        return { state: "accepted", handle: makeHandle({ recorder, job }) };
      }
      case "existing":
        return startedBefore(plan, context);
      case "refused":
        return refuse("launch", answer.message, answer.exitCode);
      case "failed":
        return refuse("infrastructure", answer.message);
      case "busy":
        return { state: "busy", reason: answer.message };
      case "unknown":
        return { state: "unknown", why: answer.message };
    }
  }

  async find(refs: readonly AttemptRef[], context: CallContext): Promise<readonly (Handle | undefined)[]> {
    return Promise.all(
      refs.map(async (ref) => {
        const { status, name } = await this.#look(nameOf(ref), context);
        if (status.state === "absent") return undefined;
        return name.recorder || !ref.handle ? makeHandle({ recorder: name.recorder, job: name.job }) : ref.handle;
      }),
    );
  }

  async statuses(refs: readonly AttemptRef[], context: CallContext): Promise<readonly AttemptStatus[]> {
    // Without a runner everything still works from evidence; with one, only what changed is read.
    if (!this.#client.welcome) await this.#client.connect(false).then(this.#adopt.bind(this), () => {});
    return Promise.all(refs.map((ref) => this.#status(ref, context)));
  }

  async stop(
    refs: readonly AttemptRef[],
    how: { readonly graceMs: number; readonly reason: string },
    _context: CallContext,
  ): Promise<readonly StopResult[]> {
    for (const ref of refs) this.#known.delete(ref.token);
    await failpoint("launcher.before-stop");
    const results = await this.#client.stop(refs.map(nameOf), how);
    await failpoint("launcher.after-stop");
    return results;
  }

  watch(onChange: (token: Token) => void): Disposable {
    return this.#listeners.add(onChange);
  }

  [Symbol.asyncDispose](): Promise<void> {
    this.#client.close();
    for (const watcher of this.#watchers.values()) watcher.close();
    this.#watchers.clear();
    return Promise.resolve();
  }

  async #status(ref: AttemptRef, context: CallContext): Promise<AttemptStatus> {
    const known = this.#known.get(ref.token);
    const now = systemClock.monotonic();
    if (known && this.#believed(ref.token, known, now)) return known.status;
    let look: Look;
    try {
      look = await this.#look({ ...known?.name, ...nameOf(ref) }, context);
    } catch (error) {
      return { state: "unknown", why: "unreachable", raw: messageOf(error) };
    }
    if (look.status.state === "ended" && look.status.remaining.length === 0) {
      // Who asks again is told by the same records. Of a short attempt the runner may have told the end before its start was answered:
      // then nothing more comes of it.
      this.#known.delete(ref.token);
      this.#vouched.delete(ref.token);
    } else this.#remember(ref.token, { ...look, lookedAt: now });
    if (look.status.state === "running" && !this.#vouched.has(ref.token)) this.#watchDirectory(ref, now);
    else this.#unwatch(ref.token);
    return look.status;
  }

  /** "Absent" is said only when the runner is not just starting it: between its spawn and its guard there is nothing to see. */
  async #look(name: AttemptName, context: CallContext): Promise<Look> {
    const look = await lookAt(name, context.clock.now());
    if (look.status.state !== "absent") return look;
    const starting = (await this.#client.live()).includes(name.token);
    const again = await lookAt(name, context.clock.now());
    if (again.status.state !== "absent" || !starting) return again;
    return { ...again, status: { state: "unknown", why: "starting" } };
  }

  #remember(token: string, known: Known): void {
    this.#known.delete(token);
    this.#known.set(token, known);
    const [oldest] = this.#known.keys();
    if (this.#known.size > mostKnown && oldest !== undefined) this.#known.delete(oldest);
  }

  #believed(token: string, known: Known, now: number): boolean {
    if (known.status.state !== "running" || !known.witnessed) return false;
    // A look that is older than the watch may have missed an end just before it.
    const watched = this.#vouched.has(token) || (this.#watchers.get(token)?.since ?? Infinity) < known.lookedAt;
    return watched && now - known.lookedAt < vouchedMs;
  }

  #changed(token: string): void {
    this.#known.delete(token);
    this.#vouched.delete(token);
    this.#listeners.tell(token as Token);
  }

  #adopt(welcome: { readonly live: readonly string[] }): void {
    for (const token of welcome.live) this.#vouched.add(token);
  }

  #lostRunner(): void {
    this.#vouched.clear();
    // Their ends are seen by nobody now: look soon.
    for (const [token, { status }] of this.#known) if (status.state !== "ended") this.#changed(token);
  }

  /** An attempt that no runner vouches for: a new file in its directory may be its exit record. */
  #watchDirectory(ref: AttemptRef, since: number): void {
    if (this.#watchers.has(ref.token)) return;
    try {
      const watcher = watch(ref.directory, { persistent: false }, (_event, name) => {
        if (name === "rc" || name === "gone") this.#changed(ref.token);
      });
      watcher.on("error", () => this.#unwatch(ref.token));
      this.#watchers.set(ref.token, { since, close: () => watcher.close() });
    } catch {
      // no watches left, or the directory is gone: statuses looks anyway
    }
  }

  #unwatch(token: string): void {
    this.#watchers.get(token)?.close();
    this.#watchers.delete(token);
  }
}

function runnerStart(options: LocalLauncherOptions, socketPath: string): RunnerStart {
  return {
    nodePath: options.nodePath ?? process.execPath,
    socketPath,
    stateDirectory: options.stateDirectory,
    containment: options.containment ?? "auto",
    idleMs: options.idleMs ?? 60_000,
    openFiles: options.openFiles ?? 1024,
    versions: options.versions?.runner,
  };
}

/** The token was launched before: its evidence says what became of that. */
async function startedBefore(plan: AttemptPlan, context: CallContext): Promise<LaunchResult> {
  const { status, name } = await lookAt(nameOf(plan), context.clock.now());
  if (status.state === "absent") {
    return refuse(
      "infrastructure",
      "an earlier start of this attempt was interrupted, or stopped, before anything ran",
    );
  }
  if (status.state === "unknown") return { state: "unknown", why: `it was launched before: ${status.why}` };
  return { state: "accepted", handle: makeHandle({ recorder: name.recorder, job: name.job }) };
}

async function executable(path: string): Promise<boolean> {
  try {
    await access(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

function ptyThere(): boolean {
  try {
    const found = createRequire(import.meta.resolve("node-pty"));
    found.resolve(`@lydell/node-pty-${process.platform}-${process.arch}/package.json`);
    return true;
  } catch {
    return false;
  }
}
