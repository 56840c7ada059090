import { z } from "zod";
import type { Handle } from "../../common/adapter.ts";
import type { AttemptName } from "../../runner/attempt-status.ts";
import { identitySchema, type StartRequest } from "../../runner/protocol.ts";
import type { AttemptPlan, AttemptRef } from "../types.ts";

const handleDataSchema = z.object({ recorder: identitySchema.optional(), job: identitySchema.optional() });

/** What the runner is told of a plan. */
export function requestOf(plan: AttemptPlan): StartRequest {
  return {
    token: plan.token,
    directory: plan.directory,
    workDirectory: plan.workDirectory,
    argv: [...plan.argv],
    environment: { ...plan.environment },
    runtime: plan.runtime,
    umask: plan.umask,
    ...(plan.limitMs === undefined ? {} : { limitMs: plan.limitMs }),
    graceMs: plan.graceMs,
    ...(plan.warning ? { warning: { ...plan.warning } } : {}),
    maxOutputBytes: plan.maxOutputBytes,
  };
}

/** Version 1: the identities of recorder and job as far as they are known; they help when the attempt directory is deleted. */
export function makeHandle(data: z.output<typeof handleDataSchema>): Handle {
  // The round trip drops what is undefined: a handle is plain JSON.
  return { adapter: "local", version: 1, data: JSON.parse(JSON.stringify(handleDataSchema.parse(data))) };
}

/** A handle that this version cannot read costs nothing: the directory says the same. */
export function nameOf(ref: AttemptRef): AttemptName {
  const data = handleDataSchema.safeParse(ref.handle?.data ?? {});
  return { token: ref.token, directory: ref.directory, ...(data.success ? data.data : {}) };
}
