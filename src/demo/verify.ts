import { createHash } from "node:crypto";
import { readFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import type { HubClient, JobView, OutputFile } from "../sdk/client.ts";
import type { Expected, NmdcClient } from "./cast.ts";

export interface Verdict {
  readonly job: JobView;
  readonly expected: Expected;
  readonly outputs: readonly OutputFile[];
  /** What was read from the delivered report. */
  readonly numbers:
    | {
        readonly genome: number;
        readonly reads: number;
        readonly kept: number;
        readonly placed: number;
        readonly depth: number;
        readonly breadth: number;
      }
    | undefined;
  /** Everything that is not as it should be; empty = well. */
  readonly problems: readonly string[];
}

/** Looks at everything the demo promises for a job: its end, its attempts, the closed operation, the bytes that were delivered. */
export async function verify(hub: HubClient, nmdc: NmdcClient, expected: Expected): Promise<Verdict> {
  const job = await hub.job(expected.id);
  const outputs = await hub.outputs.list(expected.id);
  const problems: string[] = [];
  if (job.status !== "FINISHED")
    problems.push(`ended as ${job.status}${job.failure ? `: ${job.failure.message}` : ""}`);
  if (job.attempt !== expected.attempts) problems.push(`took ${job.attempt} attempts instead of ${expected.attempts}`);
  const operation = (await nmdc.call("GET", `/operations/${job.op_id ?? "none"}`)) as {
    done: boolean;
    result: { outputs?: unknown[] } | null;
  };
  if (operation.done !== true) problems.push("its operation is not done");
  if (operation.result?.outputs?.length !== outputs.length) problems.push("its operation does not list the outputs");
  for (const name of ["report", "coverage", "summary"]) {
    if (!outputs.some((output) => output.output === name)) problems.push(`output '${name}' is missing`);
  }
  for (const output of outputs) problems.push(...(await checkBytes(hub, job, output)));
  const numbers = await readReport(hub, job, outputs);
  if (numbers?.genome !== 48_502)
    problems.push(`the report names a genome of ${numbers?.genome ?? "unknown"} bases, not 48502`);
  if (numbers?.reads !== expected.reads)
    problems.push(`the report counts ${numbers?.reads ?? "no"} reads, not ${expected.reads}`);
  return { job, expected, outputs, numbers, problems };
}

/** The bytes at the destination, read again and digested here. */
async function checkBytes(hub: HubClient, job: JobView, output: OutputFile): Promise<readonly string[]> {
  try {
    const bytes = await bytesOf(hub, job, output);
    const sha256 = createHash("sha256").update(bytes).digest("hex");
    return sha256 === output.sha256 ? [] : [`output '${output.path}' has digest ${sha256}, not ${output.sha256}`];
  } catch (error) {
    return [`output '${output.path}' cannot be read: ${error instanceof Error ? error.message : String(error)}`];
  }
}

async function bytesOf(hub: HubClient, job: JobView, output: OutputFile): Promise<Uint8Array> {
  if (output.url?.startsWith("file:")) return readFile(fileURLToPath(output.url));
  return hub.outputs.read(job.id, output.path);
}

async function readReport(hub: HubClient, job: JobView, outputs: readonly OutputFile[]): Promise<Verdict["numbers"]> {
  const report = outputs.find((output) => output.output === "report");
  if (!report) return undefined;
  const json = JSON.parse(new TextDecoder().decode(await bytesOf(hub, job, report))) as {
    [part: string]: unknown;
  };
  return numbersOf(json);
}

/** The names are those of examples/lambda/bin/report.mjs. */
function numbersOf(json: Record<string, unknown>): Verdict["numbers"] {
  const at = (path: string): number => {
    let value: unknown = json;
    for (const part of path.split("."))
      value = typeof value === "object" && value !== null ? (value as Record<string, unknown>)[part] : undefined;
    return typeof value === "number" ? value : Number.NaN;
  };
  return {
    genome: at("genome.length"),
    reads: at("reads.reads"),
    kept: at("filter.kept.reads"),
    placed: at("placement.placed"),
    depth: at("coverage.mean"),
    breadth: at("coverage.breadth"),
  };
}
