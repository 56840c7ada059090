import { AgentRig, type AgentRigOptions } from "../../helpers/agent-rig.ts";
import type { BadDisk } from "../../helpers/bad-disk.ts";
import { VirtualClock } from "../../helpers/clocks.ts";
import { FaultProxy } from "../../helpers/fault-proxy.ts";
import { ScriptedHub } from "./scripted-hub.ts";

export const seconds = 1_000;
export const minutes = 60 * seconds;
const longestStepMs = 2 * seconds;
export const hours = 60 * minutes;

/** The agent's own loops against a scripted hub; time passes when the test says so. */
export interface Scene extends AsyncDisposable {
  readonly clock: VirtualClock;
  readonly hub: ScriptedHub;
  /** Between the two. */
  readonly proxy: FaultProxy;
  readonly rig: AgentRig;
  /** Lets time pass; the answers of calls under way arrive meanwhile. */
  readonly pass: (ms: number) => Promise<void>;
  /** Lets time pass in steps until something is so; throws when it is not after `mostMs`. */
  readonly until: (what: string, condition: () => unknown, mostMs?: number) => Promise<void>;
}

export async function play(options: Partial<AgentRigOptions> & { readonly disk?: BadDisk } = {}): Promise<Scene> {
  await using stack = new AsyncDisposableStack();
  const clock = new VirtualClock();
  const machine = options.disk === undefined ? {} : { machine: options.disk.machine(clock) };
  const hub = stack.use(await ScriptedHub.start(() => clock.monotonic()));
  const proxy = stack.use(await FaultProxy.start(hub.server.port));
  const rig = stack.use(await AgentRig.start({ url: proxy.url, clock, ...machine, ...options }));
  const owned = stack.move();
  const pass = async (ms: number): Promise<void> => {
    const end = clock.monotonic() + ms;
    const sliceMs = Math.max(seconds, ms / 100);
    while (clock.monotonic() < end) {
      await clock.advance(Math.min(sliceMs, end - clock.monotonic()), rig.calls.settled);
      await diskTime();
    }
  };
  return {
    clock,
    hub,
    proxy,
    rig,
    pass,
    async until(what, condition, mostMs = 40 * minutes) {
      const end = clock.monotonic() + mostMs;
      for (let stepMs = 250; !(await condition()); stepMs = Math.min(stepMs * 1.2, longestStepMs)) {
        if (clock.monotonic() >= end) {
          throw new Error(`not within ${mostMs} ms: ${what}; ${JSON.stringify(await rig.status()).slice(0, 3_000)}`);
        }
        await pass(stepMs);
      }
    },
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}

/** The journal and the directories are real: their time is not the clock's. */
function diskTime(): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, 2));
}

/** Milliseconds between the times of a list. */
export function gaps(times: readonly number[]): readonly number[] {
  return times.slice(1).map((time, index) => time - (times[index] ?? 0));
}
