import type { HeldJob } from "../../../src/agent/held-job.ts";
import { newToken } from "../../../src/common/token.ts";
import type { Report } from "../../../src/wire/agent-api.ts";
import { appOf } from "../jobs/builders.ts";

export const at = "2026-01-01T00:00:00.000Z";

/** A job as it is held right after its claim was acknowledged. */
export function heldJobOf(id: string, change: Partial<HeldJob> = {}): HeldJob {
  const token = newToken();
  return {
    id,
    op_id: `op-${id}`,
    epoch: 1,
    token,
    spec: { workflow: "tool-1.0.0", config: {}, parameters: {}, tags: {}, parents: [] },
    app: appOf(),
    app_digest: "",
    target: "local",
    directory: `/nowhere/${token}`,
    parameters: {},
    attempts: [],
    manifest_in: [],
    manifest_out: [],
    seq: 0,
    bound: true,
    step_tries: 0,
    data: {},
    claimed_at: at,
    updated_at: at,
    history: [],
    state: "READY",
    phase: "none",
    attempt: 0,
    tries: 0,
    hooks_done: [],
    ...change,
  };
}

export function reportOf(job: string, seq: number, change: Partial<Report> = {}): Report {
  return {
    job,
    op_id: `op-${job}`,
    epoch: 1,
    seq,
    attempt: 0,
    state: "READY",
    phase: "claimed",
    at,
    done: false,
    ...change,
  };
}

/** An attempt that was planned and has not ended. */
export function liveAttempt(number = 1): HeldJob["attempts"][number] {
  const token = newToken();
  const directory = `/nowhere/attempts/${number}`;
  return {
    attempt: number,
    token,
    directory,
    plan: {
      token,
      attempt: number,
      directory,
      workDirectory: "/nowhere/work",
      argv: ["/bin/true"],
      environment: {},
      runtime: "plain",
      umask: 0o077,
      limitMs: undefined,
      graceMs: 1000,
      maxOutputBytes: 1024,
      resources: appOf().resources,
    },
  };
}
