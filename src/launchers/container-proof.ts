import type { Handle, Probe } from "../common/adapter.ts";
import type { CallContext } from "../common/context.ts";
import { asFault } from "../common/fault.ts";
import type { Token } from "../common/token.ts";
import type { Host } from "../hosts/types.ts";
import { isReservedVariable } from "../jobs/environment.ts";
import type { AttemptEnd } from "../jobs/states.ts";
import { attemptLabel } from "./engine-guard.ts";
import type {
  AttemptPlan,
  AttemptRef,
  AttemptStatus,
  Launcher,
  LauncherCapabilities,
  LaunchResult,
  StopResult,
} from "./types.ts";

/** An engine that says nothing for so long is not waited for; it is asked again later. */
const timeoutMs = 60_000;
const askAgainMs = 5_000;
const enoughTries = 3;
/** What an engine's own helpers have to put a container away when its command has ended. */
const lingerMs = 3_000;
/** Attempts that are remembered; beyond it the oldest is forgotten, which costs one more question. */
const mostKnown = 10_000;

type Proof =
  | { readonly state: "asking" }
  | { readonly state: "gone" }
  | { readonly state: "unclear"; readonly why: string; readonly tries: number; readonly againMs: number };

/**
 * A launcher on the agent's machine whose attempts may be containers. What the launcher proves of processes this one proves of containers:
 * an attempt has ended, or is gone, only when no container of it is left. Commands of engines run beside the answers, never before
 * them: an engine that hangs holds up nobody's status.
 */
export function withContainerProof(
  inner: Launcher,
  options: {
    readonly run: Host["run"];
    /** Podman runs without root: what keeps its namespaces is started here once, or the first attempt would be its parent and have to end it. */
    readonly rootless: boolean;
  },
): Launcher {
  return new ContainerProof(inner, options.run, options.rootless);
}

class ContainerProof implements Launcher {
  readonly #inner: Launcher;
  readonly #run: Host["run"];
  readonly #rootless: boolean;
  readonly #proofs = new Map<Token, Proof>();
  /** Monotonic times since which ended attempts have processes left. */
  readonly #lingering = new Map<Token, number>();
  readonly #prepared = new Map<string, Promise<void>>();
  readonly #listeners = new Set<(token: Token) => void>();

  constructor(inner: Launcher, run: Host["run"], rootless: boolean) {
    this.#inner = inner;
    this.#run = run;
    this.#rootless = rootless;
  }

  get kind(): string {
    return this.#inner.kind;
  }

  get capabilities(): LauncherCapabilities {
    return this.#inner.capabilities;
  }

  probe(context: CallContext): Promise<Probe> {
    return this.#inner.probe(context);
  }

  async launch(plans: readonly AttemptPlan[], context: CallContext): Promise<readonly LaunchResult[]> {
    if (this.#rootless) await Promise.all(plans.map((plan) => this.#prepare(plan, context)));
    return await this.#inner.launch(plans, context);
  }

  find(refs: readonly AttemptRef[], context: CallContext): Promise<readonly (Handle | undefined)[]> {
    return this.#inner.find(refs, context);
  }

  async statuses(refs: readonly AttemptRef[], context: CallContext): Promise<readonly AttemptStatus[]> {
    const seen = await this.#inner.statuses(refs, context);
    return seen.map((status, index) => {
      const ref = refs[index];
      return ref?.container && status.state === "ended" ? this.#proven(ref, status, context) : status;
    });
  }

  async stop(
    refs: readonly AttemptRef[],
    how: { readonly graceMs: number; readonly reason: string },
    context: CallContext,
  ): Promise<readonly StopResult[]> {
    const results = await this.#inner.stop(refs, how, context);
    return results.map((result, index) => {
      const ref = refs[index];
      if (!ref?.container || result.state !== "gone" || result.tier === "never-started") return result;
      const proof = this.#ask(ref, context);
      if (proof.state === "gone") return result;
      return proof.state === "asking" ? { state: "stopping" } : { state: "unknown", why: proof.why };
    });
  }

  watch(onChange: (token: Token) => void): Disposable {
    this.#listeners.add(onChange);
    const inner = this.#inner.watch(onChange);
    return {
      [Symbol.dispose]: () => {
        this.#listeners.delete(onChange);
        inner[Symbol.dispose]();
      },
    };
  }

  [Symbol.asyncDispose](): PromiseLike<void> {
    return this.#inner[Symbol.asyncDispose]();
  }

  #proven(ref: AttemptRef, status: Extract<AttemptStatus, { state: "ended" }>, context: CallContext): AttemptStatus {
    if (status.remaining.length > 0) {
      const since = this.#lingering.get(ref.token) ?? context.clock.monotonic();
      remember(this.#lingering, ref.token, since);
      if (context.clock.monotonic() - since > lingerMs) return status;
      return { state: "unknown", why: "unrecognised", raw: "its container is being put away" };
    }
    if (endedByItself(status.end)) return status;
    const proof = this.#ask(ref, context);
    if (proof.state === "gone") return status;
    return {
      state: "unknown",
      why: "unreachable",
      raw: proof.state === "asking" ? "its container is looked for" : proof.why,
    };
  }

  /** What is known of an attempt's container; where nothing is, its engine is asked meanwhile. */
  #ask(ref: AttemptRef, context: CallContext): Proof {
    const known = this.#proofs.get(ref.token);
    const now = context.clock.monotonic();
    if (known && (known.state !== "unclear" || now < known.againMs)) return known;
    const asking: Proof = { state: "asking" };
    const tries = (known?.tries ?? 0) + 1;
    remember(this.#proofs, ref.token, asking);
    void this.#prove(ref, context)
      .catch((error: unknown) => asFault(error).message)
      .then((why) => {
        if (why !== undefined) context.log.warn({ attempt: ref.token, why }, "a container cannot be removed yet");
        // Podman's processes were the attempt's and are gone: only storage may be left, which holds up nobody for ever.
        const gone = why === undefined || (ref.container?.engine === "podman" && tries >= enoughTries);
        const againMs = context.clock.monotonic() + askAgainMs;
        remember(this.#proofs, ref.token, gone ? { state: "gone" } : { state: "unclear", why, tries, againMs });
        for (const tell of this.#listeners) tell(ref.token);
      });
    return asking;
  }

  /** Removes the container; then why it may still be there, or undefined. */
  async #prove({ container, environment = {} }: AttemptRef, context: CallContext): Promise<string | undefined> {
    if (!container) return undefined;
    const { program, name } = container;
    const say = (...args: readonly string[]) => this.#command([program, ...args], environment, context);
    await say("rm", "--force", "--volumes", name);
    const left = await say("ps", "--all", "--quiet", "--filter", `label=${attemptLabel}=${name}`);
    if (left.exitCode !== 0) return `${program} cannot be asked: ${left.stderr.trim().split("\n")[0] ?? ""}`;
    return left.stdout.trim() === "" ? undefined : `${program} has its container still`;
  }

  async #prepare({ container, environment }: AttemptPlan, context: CallContext): Promise<void> {
    if (container?.engine !== "podman") return;
    const { program } = container;
    const prepared =
      this.#prepared.get(program) ??
      this.#command([program, "unshare", "true"], environment, context).then(
        ({ exitCode, stderr }) => context.log.debug({ program, exitCode, stderr }, "podman is prepared"),
        (error: unknown) => context.log.warn({ program, err: asFault(error) }, "podman cannot be prepared"),
      );
    this.#prepared.set(program, prepared);
    await prepared;
  }

  /** Without the attempt's mark in its environment: by that its processes are known and killed. */
  #command(
    argv: readonly [string, ...string[]],
    environment: Readonly<Record<string, string>>,
    context: CallContext,
  ): ReturnType<Host["run"]> {
    const unmarked = Object.fromEntries(Object.entries(environment).filter(([name]) => !isReservedVariable(name)));
    return this.#run({ argv, cwd: "/", environment: unmarked, timeoutMs, maxOutputBytes: 65_536 }, context);
  }
}

/** The command's own end, or its engine's: the guard has seen that there is no container any more. */
function endedByItself({ cause, exit_code: code }: AttemptEnd): boolean {
  return cause === "exit" && code !== undefined && code < 128;
}

function remember<Value>(known: Map<Token, Value>, token: Token, value: Value): void {
  known.delete(token);
  known.set(token, value);
  const [oldest] = known.keys();
  if (known.size > mostKnown && oldest !== undefined) known.delete(oldest);
}
