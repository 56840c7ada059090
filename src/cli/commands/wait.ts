import { isFault } from "../../common/fault.ts";
import type { JobBackend, JobRow } from "../backend/types.ts";
import { connect } from "../connect.ts";
import { type CliContext, isMachine, printData } from "../context.ts";
import { resolveIds } from "../query.ts";
import type { CommandCall } from "../spec.ts";

export const timeoutExit = 124;

/** `siteagent wait IDS`. */
export async function run(context: CliContext, call: CommandCall): Promise<number> {
  await using backend = await connect(context, call.options);
  const timeoutMs = call.options.durationMs("timeout");
  const ids = await resolveIds(backend, call.args);
  return await waitQuietly(context, backend, ids, timeoutMs);
}

/** Waits, tells the ends in machine formats only. 0 all finished, 1 not, 124 time is over. */
export async function waitQuietly(
  context: CliContext,
  backend: JobBackend,
  ids: readonly string[],
  timeoutMs: number | undefined,
): Promise<number> {
  try {
    const rows = await backend.wait(ids, { timeoutMs });
    if (context.format === "jsonl")
      await printData(
        context,
        rows.map((row) => row.raw),
      );
    else if (isMachine(context.format)) await printData(context, { jobs: rows.map((row) => row.raw) });
    return endCode(context, rows);
  } catch (error) {
    if (!isFault(error, "TIMEOUT")) throw error;
    context.note(`siteagent: ${error.message}`);
    return timeoutExit;
  }
}

/** 0 when all have finished; else 1, and a line for each that has not. */
function endCode(context: CliContext, rows: readonly JobRow[]): number {
  const bad = rows.filter((row) => row.status !== "FINISHED");
  if (!isMachine(context.format)) {
    for (const row of bad)
      context.note(`siteagent: job ${row.id} is ${row.status}${row.failure ? `: ${row.failure.message}` : ""}`);
  }
  return bad.length === 0 ? 0 : 1;
}
