/** What a job shows while its processes cannot be killed. The launcher is one that says so; nobody can make a real one. */
import { expect, it } from "vitest";
import { AgentCore } from "../../../src/agent/core.ts";
import type { SiteParts } from "../../../src/agent/deps.ts";
import { HubOutputs } from "../../../src/agent/hub-outputs.ts";
import { thisMachine } from "../../../src/agent/machine.ts";
import { Problems } from "../../../src/agent/problems.ts";
import { record } from "../../../src/agent/records.ts";
import { usageOf } from "../../../src/agent/slots.ts";
import { steps } from "../../../src/agent/steps/table.ts";
import { localJob } from "../../../src/agent/views.ts";
import type { Central } from "../../../src/central/types.ts";
import { systemClock } from "../../../src/common/clock.ts";
import { silentLogger } from "../../../src/common/logger.ts";
import type { AttemptStatus, Launcher, StopResult } from "../../../src/launchers/types.ts";
import { temporaryDirectory } from "../../helpers/temporary.ts";
import { waitFor } from "../../helpers/wait.ts";
import { at, heldJobOf, liveAttempt } from "../../unit/agent/builders.ts";
import { openLedger } from "./ledger.ts";

const why = "4711 (state D, waits in rpc_wait_bit_killable)";

/** Says of its only attempt what it is told to. */
function stubborn(): Launcher & { answer: StopResult; status: AttemptStatus } {
  return {
    kind: "stubborn",
    capabilities: { runtimes: ["plain"], tier: "group", attach: false },
    answer: { state: "remaining", pids: [4711], why },
    status: { state: "running", since: at },
    probe: async () => ({ ok: true, version: "1", notes: [] }),
    launch: async () => [],
    find: async () => [],
    async statuses() {
      return [this.status];
    },
    async stop() {
      return [this.answer];
    },
    watch: () => ({ [Symbol.dispose]() {} }),
    async [Symbol.asyncDispose]() {},
  };
}

it("D5, TAP-7: a job that is cancelled but cannot be killed says so, keeps its slot and is no CANCELLED until it is gone", async () => {
  await using directory = await temporaryDirectory();
  await using ledger = await openLedger(directory.path);
  const launcher = stubborn();
  const stopping = new AbortController();
  const parts = {
    launchers: new Map([["local", launcher]]),
    site: { agent: { report: "full" } },
    [Symbol.asyncDispose]: async () => {},
  };
  const core = new AgentCore({
    ledger,
    clock: { ...systemClock, sleep: (ms, signal) => systemClock.sleep(ms / 100, signal) },
    log: silentLogger,
    machine: thisMachine,
    central: { capabilities: { outputs: false } } as Central,
    problems: new Problems(systemClock),
    stopping: stopping.signal,
    parts: parts as unknown as SiteParts,
    hubOutputs: new HubOutputs(),
    onFatal: () => {},
  });
  const hold = { kind: "cancelling", reason: "no longer wanted", since: at } as const;
  const held = heldJobOf("j1", { state: "RUNNING", phase: "started", attempt: 1, attempts: [liveAttempt()], hold });
  await ledger.commit([record("job.held", { job: held }, "j1")], "effect");
  const job = () => ledger.book.jobs.get("j1") ?? held;
  const work = { core, id: "j1", signal: stopping.signal, context: core.context(), job };
  const step = (async () => {
    while (job().state === "RUNNING") await steps.stop(work);
  })();

  await waitFor(() => localJob(core, job()).waiting?.includes(why), { what: "a word about the processes" });
  expect(core.problems.find("unkillable:j1")?.what).toContain(why);
  expect(job().state).toBe("RUNNING");
  expect(usageOf(core.jobs, "local").running).toBe(1);

  launcher.answer = { state: "gone", tier: "group" };
  launcher.status = {
    state: "ended",
    end: { cause: "cancelled", signal: "SIGKILL", evidence: "rc", ended_at: at },
    remaining: [],
    tier: "group",
  };
  await step;
  expect(job()).toMatchObject({ state: "CANCELLED" });
  expect(core.problems.list()).toEqual([]);
  expect(usageOf(core.jobs, "local").running).toBe(0);
  stopping.abort();
  await core.close();
});
