import { lstat, mkdir, rm } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { z } from "zod";
import { errnoOf, Fault } from "../common/fault.ts";
import { durableReplace, openPlainFile } from "../common/files.ts";
import type { JsonObject } from "../common/json.ts";
import type { HookOutcome } from "../jobs/decide.ts";
import type { HookName } from "../jobs/rules.ts";
import { planCommand } from "../launchers/command.ts";
import type { RunResult } from "../hosts/types.ts";
import { jsonObjectSchema } from "../wire/common.ts";
import { jobDirectories } from "./directories.ts";
import type { JobWork } from "./driver.ts";
import { currentAttempt, type HeldJob } from "./held-job.ts";
import { inputPaths, planInput } from "./plan.ts";

/** What a hook may answer, as JSON in the file `SITEAGENT_HOOK_RESULT` (or the return value of a module's function); nothing = continue. */
export const hookResultSchema = z.strictObject({
  outcome: z.enum(["continue", "restart", "accept", "fail"]).default("continue"),
  reason: z.string().max(2000).default(""),
  /** New values for declared parameters; checked like the job's own. */
  parameters: jsonObjectSchema.default({}),
  /** Kept with the job and reported at its end. */
  data: jsonObjectSchema.default({}),
});
export type HookResult = z.output<typeof hookResultSchema>;

/** It goes into the journal and to central. */
const maxResultBytes = 256 * 1024;

/** Which outcomes make sense for which hook. */
const allowedOutcomes: Record<HookName, readonly HookResult["outcome"][]> = {
  preprocess: ["continue", "fail"],
  postprocess: ["continue", "restart", "fail"],
  handle_error: ["continue", "restart", "accept", "fail"],
  handle_timeout: ["continue", "restart", "accept", "fail"],
};

/**
 * Runs a hook of the job's app in a process of its own with the hook's time limit, in work/, with the environment of an attempt.
 * Hooks run at least once: after a crash in the middle again.
 * @throws Fault LAUNCH when it cannot be run, TIMEOUT, INVALID when its answer does not fit.
 */
export async function runHook(work: JobWork, hook: HookName): Promise<HookResult> {
  const job = work.job();
  const spec = job.app.hooks[hook];
  if (!spec) return hookResultSchema.parse({});
  const host = "command" in spec ? work.core.host(job.target) : work.core.parts.here;
  if (!host) throw new Fault("RUNNER", `the host of target '${job.target}' is not in the site file any more`);
  const directories = jobDirectories(job);
  const folder = join(job.directory, "hooks");
  await mkdir(folder, { recursive: true, mode: 0o700 });
  const [inputFile, resultFile] = [join(folder, `${hook}.input.json`), join(folder, `${hook}.result.json`)];
  await rm(resultFile, { force: true, recursive: true });
  await durableReplace(inputFile, `${JSON.stringify(hookInput(job), null, 2)}\n`);
  const attempt = currentAttempt(job);
  const input = await planInput(work.core, job, {
    token: attempt?.token ?? job.token,
    attempt: Math.max(1, job.attempt),
  });
  const command = "command" in spec ? spec.command : [process.execPath];
  const planned = planCommand(input, command);
  const child = fileURLToPath(
    new URL(import.meta.url.endsWith(".ts") ? "./hook-child.ts" : "./hook-child.js", import.meta.url),
  );
  const argv: readonly [string, ...string[]] =
    "command" in spec ? planned.argv : [process.execPath, child, spec.module, hook];
  const { hooks } = work.core.parts.site;
  const result = await host.run(
    {
      argv: [...argv],
      cwd: directories.work,
      environment: {
        ...planned.environment,
        SITEAGENT_HOOK: hook,
        SITEAGENT_HOOK_INPUT: inputFile,
        SITEAGENT_HOOK_RESULT: resultFile,
      },
      timeoutMs: Math.min(spec.timeout, hooks.maxTimeoutMs),
      maxOutputBytes: hooks.maxOutputBytes,
    },
    work.context,
  );
  await durableReplace(join(folder, `${hook}.log`), `${result.stdout}${result.stderr}`);
  assertEnded(hook, result, work.core.reportDetail());
  return checked(hook, await readResult(resultFile));
}

/** The domain's word for a hook's answer. */
export function outcomeOf(hook: HookName, result: HookResult): HookOutcome {
  const reason = result.reason === "" ? `${hook} asked for it` : result.reason;
  switch (result.outcome) {
    case "continue":
      return { kind: "continue" };
    case "restart":
      return { kind: "restart", reason };
    case "accept":
      return { kind: "accept", reason };
    case "fail":
      return { kind: "fail", failure: { code: "HOOK", category: "user", message: `${hook}: ${reason}` } };
  }
}

/** What a hook gets to know: the job, its paths, how the last attempt ended, its parents' results. No secrets. */
function hookInput(job: HeldJob): JsonObject {
  const { in: inputs, work, attempt } = jobDirectories(job);
  const input = {
    job: {
      id: job.id,
      workflow: job.spec.workflow,
      name: job.spec.name,
      tags: job.spec.tags,
      config: job.spec.config,
      parents: job.spec.parents,
    },
    app: job.app.name,
    state: job.state,
    attempt: job.attempt,
    tries: job.tries,
    end: job.end,
    parameters: job.parameters,
    data: job.data,
    inputs: inputPaths(job),
    directories: { job: job.directory, in: inputs, work, attempt },
  };
  return JSON.parse(JSON.stringify(input)) as JsonObject;
}

function assertEnded(hook: HookName, result: RunResult, detail: "minimal" | "full"): void {
  if (result.timedOut) throw new Fault("TIMEOUT", `hook '${hook}' did not end within its time limit`);
  if (result.exitCode === 0) return;
  // What a hook wrote is log text: the site has it in hooks/<hook>.log, central gets it only with `report: full`.
  const tail = detail === "full" ? result.stderr.trim().split("\n").slice(-3).join(" | ").slice(0, 500) : "";
  const how = result.signal === undefined ? `exit code ${result.exitCode ?? "unknown"}` : `signal ${result.signal}`;
  throw new Fault("LAUNCH", `hook '${hook}' ended with ${how}${tail === "" ? "" : `: ${tail}`}`);
}

async function readResult(path: string): Promise<unknown> {
  const file = await openPlainFile(path);
  if (!file) {
    if (await isAbsent(path)) return {};
    throw new Fault("INVALID", "the hook's result is not a plain file");
  }
  let text: string;
  try {
    const { size } = await file.stat();
    if (size > maxResultBytes)
      throw new Fault("INVALID", `the hook's result has ${size} bytes; allowed are ${maxResultBytes}`);
    text = await file.readFile("utf8");
  } finally {
    await file.close();
  }
  try {
    return JSON.parse(text);
  } catch {
    // The parser's message quotes the text, which is nobody's business but the site's.
    throw new Fault("INVALID", "the hook's result is not JSON");
  }
}

async function isAbsent(path: string): Promise<boolean> {
  try {
    await lstat(path);
    return false;
  } catch (error) {
    if (errnoOf(error) === "ENOENT") return true;
    throw error;
  }
}

function checked(hook: HookName, json: unknown): HookResult {
  const parsed = hookResultSchema.safeParse(json);
  if (!parsed.success) {
    const problems = parsed.error.issues
      .map((issue) => `${issue.path.join(".") || "result"}: ${issue.message}`)
      .join("; ");
    throw new Fault("INVALID", `the result of hook '${hook}' does not fit: ${problems}`);
  }
  if (!allowedOutcomes[hook].includes(parsed.data.outcome)) {
    throw new Fault(
      "INVALID",
      `hook '${hook}' cannot answer '${parsed.data.outcome}'; allowed: ${allowedOutcomes[hook].join(", ")}`,
    );
  }
  return parsed.data;
}
