import type { Central, SyncResult } from "../../src/central/types.ts";
import type { CallContext } from "../../src/common/context.ts";
import { Fault } from "../../src/common/fault.ts";
import type { Report, SyncRequest } from "../../src/wire/agent-api.ts";
import type { SimulatedProcess } from "./process.ts";
import type { World } from "./world.ts";

/** What the network and central's front do to one call. */
type Luck = "well" | "unsent" | "answer lost" | "late" | "doubled" | "refused" | "limited" | "outage";

const timeoutMs = 30_000;

/** The agent's client of central as one process has it: the simulated hub behind a bad network. */
export function simulatedCentral(process: SimulatedProcess): Central {
  const { world } = process;
  const { hub, random } = world;
  const latency = (): number => random.whole(5, 800);

  async function call<T>(what: string, context: CallContext, effect: () => T): Promise<T> {
    const luck = luckOf(world);
    if (luck !== "well") world.say(`${what}: ${luck}`);
    switch (luck) {
      case "well":
        return await cut(context, process.call(what, latency(), effect, { inFlight: true }));
      case "unsent":
      case "outage":
        await cut(
          context,
          process.call(what, luck === "outage" ? 50 : timeoutMs, () => {}),
        );
        throw new Fault("UNREACHABLE", "simulated: no answer");
      case "answer lost":
        await cut(context, process.call(what, latency(), effect, { inFlight: true }));
        throw new Fault("UNREACHABLE", "simulated: the answer was lost");
      case "late":
        // It arrives after the caller has given up, perhaps after what it has sent since.
        world.time.after(random.whole(timeoutMs, 4 * timeoutMs), effect);
        await cut(
          context,
          process.call(what, timeoutMs, () => {}),
        );
        throw new Fault("UNREACHABLE", "simulated: timed out");
      case "doubled":
        world.time.after(random.whole(1, 60_000), effect);
        return await cut(context, process.call(what, latency(), effect, { inFlight: true }));
      case "refused":
        await cut(
          context,
          process.call(what, latency(), () => {}),
        );
        throw new Fault("UNREACHABLE", "simulated: 503");
      case "limited":
        await cut(
          context,
          process.call(what, latency(), () => {}),
        );
        throw new Fault("RATE_LIMITED", "simulated: 429", { details: { retry_after_ms: random.whole(1_000, 20_000) } });
    }
  }

  return {
    dialect: world.dialect,
    capabilities: {
      longPoll: world.dialect === "hub",
      orders: world.dialect === "hub",
      logs: false,
      outputs: false,
      exclusive: world.dialect === "hub",
    },
    async synchronize(request, context) {
      world.oracle.beforeSync(request);
      const first = await call("synchronize", context, () => hub.synchronize(request));
      return await held(process, request, context, first);
    },
    async claim(job, context) {
      world.oracle.beforeClaim(job);
      return await call("claim", context, () => hub.claim(job));
    },
    async report(reports, context) {
      world.oracle.beforeReport(reports);
      const sent = JSON.parse(JSON.stringify(reports)) as readonly Report[];
      return await call("report", context, () => hub.report(sent));
    },
    async release(job, context) {
      world.oracle.beforeRelease(job.job);
      return await call("release", context, () => hub.release(job.job, job.epoch));
    },
    putLog: async () => 0,
    putOutput: async () => {},
    downloadHeaders: async () => ({}),
    object: async () => undefined,
    objectAccess: () => Promise.reject(new Fault("NOT_FOUND", "simulated: no objects")),
    check: async () => ({ ok: true, detail: "simulated" }),
    async [Symbol.asyncDispose]() {},
  };
}

function luckOf(world: World): Luck {
  const { random } = world;
  if (!world.faulty) return "well";
  if (world.outage) return "outage";
  if (!random.chance(world.rates.network)) return "well";
  return random.pick(["unsent", "answer lost", "answer lost", "late", "doubled", "refused", "limited"]);
}

/** A long poll: nothing to tell, so the answer waits for a change or the end of its time. */
async function held(
  process: SimulatedProcess,
  request: SyncRequest,
  context: CallContext,
  first: SyncResult,
): Promise<SyncResult> {
  const { hub, time } = process.world;
  const until = time.now + (request.hold_ms ?? 0);
  let answer = first;
  while (time.now < until && !hasNews(answer)) {
    const { promise, resolve } = Promise.withResolvers<void>();
    const forget = hub.whenChanged(() => process.later(1, resolve));
    const cancel = process.later(until - time.now, resolve);
    try {
      await cut(context, promise);
    } finally {
      forget();
      cancel();
    }
    answer = hub.synchronize({ ...request, orders: [] });
  }
  return answer;
}

function hasNews(answer: SyncResult): boolean {
  return answer.assign.length + answer.orders.length + answer.fenced.length > 0 || !answer.session_current;
}

/** As a client does: an aborted call ends at once, whatever becomes of it at the other end. */
async function cut<T>(context: CallContext, work: Promise<T>): Promise<T> {
  const { promise, reject } = Promise.withResolvers<never>();
  const onAbort = (): void => reject(new Fault("UNREACHABLE", "simulated: given up"));
  if (context.signal.aborted) onAbort();
  context.signal.addEventListener("abort", onAbort, { once: true });
  try {
    return await Promise.race([work, promise]);
  } finally {
    context.signal.removeEventListener("abort", onAbort);
  }
}
