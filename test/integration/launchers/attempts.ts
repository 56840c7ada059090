/** Attempts as tests launch, follow and stop them; no part of a test framework. */
import { mkdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { systemClock } from "../../../src/common/clock.ts";
import type { CallContext } from "../../../src/common/context.ts";
import { silentLogger } from "../../../src/common/logger.ts";
import { newToken } from "../../../src/common/token.ts";
import type { AttemptPlan, AttemptRef, AttemptStatus, Launcher, StopResult } from "../../../src/launchers/types.ts";
import { waitFor } from "../../helpers/wait.ts";

export const context: CallContext = { signal: new AbortController().signal, log: silentLogger, clock: systemClock };

/** A plan in fresh directories: `sh -c script` unless `extra` says otherwise. */
export async function makePlan(root: string, script: string, extra: Partial<AttemptPlan> = {}): Promise<AttemptPlan> {
  const token = newToken();
  const directory = join(root, token, "attempt");
  const workDirectory = join(root, token, "work");
  await mkdir(directory, { recursive: true, mode: 0o700 });
  await mkdir(workDirectory, { recursive: true, mode: 0o700 });
  return {
    token,
    attempt: 1,
    directory,
    workDirectory,
    argv: ["sh", "-c", script],
    environment: { PATH: "/usr/local/bin:/usr/bin:/bin", SITEAGENT_ATTEMPT_TOKEN: token },
    runtime: "plain",
    umask: 0o077,
    limitMs: undefined,
    graceMs: 500,
    maxOutputBytes: 1024 ** 3,
    resources: { nodes: 1, ranks_per_node: 1, threads_per_rank: 1, gpus: 0 },
    ...extra,
  };
}

export async function statusNow(launcher: Launcher, ref: AttemptRef): Promise<AttemptStatus> {
  const [status] = await launcher.statuses([ref], context);
  if (!status) throw new Error("no status");
  return status;
}

export async function untilState<State extends AttemptStatus["state"]>(
  launcher: Launcher,
  ref: AttemptRef,
  state: State,
  timeoutMs = 20_000,
): Promise<Extract<AttemptStatus, { state: State }>> {
  let last: AttemptStatus | undefined;
  return await waitFor(
    async () => {
      last = await statusNow(launcher, ref);
      return last.state === state ? (last as Extract<AttemptStatus, { state: State }>) : undefined;
    },
    { what: () => `${state}; last: ${JSON.stringify(last)}`, timeoutMs },
  );
}

/** Stops it and waits until it is proven gone. */
export async function stopped(launcher: Launcher, ref: AttemptRef, graceMs = 300): Promise<StopResult> {
  let last: StopResult | undefined;
  return await waitFor(
    async () => {
      [last] = await launcher.stop([ref], { graceMs, reason: "test" }, context);
      return last?.state === "gone" ? last : undefined;
    },
    { what: () => `gone; last: ${JSON.stringify(last)}`, timeoutMs: 20_000, intervalMs: 100 },
  );
}

export async function launchOne(launcher: Launcher, plan: AttemptPlan): Promise<AttemptRef> {
  const [result] = await launcher.launch([plan], context);
  if (result?.state !== "accepted") throw new Error(`not accepted: ${JSON.stringify(result)}`);
  return { token: plan.token, directory: plan.directory, handle: result.handle };
}

export function readOut(plan: { readonly directory: string }, name = "out"): Promise<string> {
  return readFile(join(plan.directory, name), "utf8");
}

/** The first numbers that it printed, one a line. */
export async function pidsPrinted(
  plan: { readonly directory: string },
  count: number,
): Promise<readonly [number, ...number[]]> {
  return await waitFor(
    async () => {
      const [first, ...more] = (await readOut(plan)).split("\n").filter(Boolean).map(Number);
      return first !== undefined && more.length >= count - 1 ? ([first, ...more] as const) : undefined;
    },
    { what: `${count} pids` },
  );
}
