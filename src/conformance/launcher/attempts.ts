/** Attempts as the cases of the suite launch, follow and stop them. */
import { mkdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { newToken } from "../../common/token.ts";
import type { AttemptPlan, AttemptRef, AttemptStatus, Launcher, StopResult } from "../../launchers/types.ts";
import { NotKept } from "../check.ts";
import { callContext } from "../suite.ts";
import { waitFor } from "../wait.ts";

/** One launcher with a directory of its own; the cases share it. */
export interface LauncherHarness extends AsyncDisposable {
  readonly launcher: Launcher;
  /** Where the cases make directories of attempts. */
  readonly root: string;
  /** A second launcher on the same place, as a restarted agent makes it. */
  reopen(): Launcher;
  /** A scheduler starts the attempts: it lays its own variables under the plan's, and ends what outlives them. */
  readonly scheduled?: boolean;
}

export const context = callContext();

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
  if (!status) throw new NotKept("no status");
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
  if (result?.state !== "accepted") throw new NotKept(`not accepted: ${JSON.stringify(result)}`);
  return { token: plan.token, directory: plan.directory, handle: result.handle };
}

export function readOut(plan: { readonly directory: string }, name = "out"): Promise<string> {
  return readFile(join(plan.directory, name), "utf8");
}
