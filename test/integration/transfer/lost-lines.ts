/** What tests of lost connections and killed movers share. */
import { join } from "node:path";
import { expect } from "vitest";
import { type Clock, systemClock } from "../../../src/common/clock.ts";
import { newToken } from "../../../src/common/token.ts";
import type { TransferOutcome } from "../../../src/transfer/types.ts";
import { cleanEnvironment } from "../../helpers/cli.ts";
import type { FaultProxy, ProxyFault } from "../../helpers/fault-proxy.ts";
import { Program } from "../../helpers/program.ts";
import type { TemporaryDirectory } from "../../helpers/temporary.ts";
import { type ChildTask, runTask } from "./crash-task.ts";
import { item } from "./setup.ts";
import type { SftpHarness } from "./sftp-harness.ts";

/** Waits shorter than `realFromMs`, those between tries and for the connection, are over at once; time limits of requests and commands stay. */
export function skipping(realFromMs: number): Clock {
  let ahead = 0;
  return {
    now: () => systemClock.now(),
    monotonic: () => systemClock.monotonic() + ahead,
    sleep: async (ms, signal) => {
      if (ms >= realFromMs) return systemClock.sleep(ms, signal);
      ahead += ms;
    },
  };
}

/** A line that is cut after so many bytes; who comes again is stopped, and gets nowhere. */
export function endingIn(proxy: FaultProxy, bytes: number, stopper: AbortController): ProxyFault {
  const from = proxy.bytes;
  const afterBytes = (): number => {
    if (proxy.bytes - from < 0.8 * bytes) return bytes;
    stopper.abort();
    return 1;
  };
  return { kind: "sever", afterBytes };
}

/** One file, `x`, here or there. */
export function childTask(far: SftpHarness, direction: "in" | "out", root: string): ChildTask {
  const [source, target] = direction === "in" ? [far.url("x"), "x"] : ["x", far.url("y")];
  return {
    token: newToken(),
    direction,
    root,
    rules: far.policy.sources,
    items: [item({ source, target })],
    ssh: far.server.settings(far.proxy && { port: far.proxy.port }),
  };
}

/** A program that was killed while it did a task: at the first, or N-th, passage of `place` (`NAME` or `NAME@N`). */
export async function killedAt(here: TemporaryDirectory, work: ChildTask, place: string): Promise<void> {
  const [name = "", passage] = place.split("@");
  const failpoint = `${name.includes(".") ? name : `transfer.${name}`}=kill${passage === undefined ? "" : `@${passage}`}`;
  await using killed = await startChild(here, work, failpoint);
  expect(await killed.result(60_000)).toMatchObject({ signal: "SIGKILL" });
}

/** What an agent that was started anew does with the task: by another engine, which knows nothing of the first. */
export function goOn(work: ChildTask): Promise<TransferOutcome> {
  return runTask(work, undefined, skipping(5_000));
}

/** A program that does a task and may be killed. */
export function startChild(here: TemporaryDirectory, work: ChildTask, failpoints = ""): Promise<Program> {
  return Program.start(process.execPath, [join(import.meta.dirname, "crash-child.ts"), JSON.stringify(work)], {
    env: cleanEnvironment(here.path, { SITEAGENT_TEST: "1", SITEAGENT_FAILPOINTS: failpoints }),
    cwd: here.path,
    input: "",
  });
}
