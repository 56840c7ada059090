import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { LocalHost } from "../../../src/hosts/local/index.ts";
import { createGridEngine } from "../../../src/schedulers/sge/index.ts";
import type { Scheduler } from "../../../src/schedulers/types.ts";
import type { SchedulerHarness } from "../../../src/conformance/scheduler/index.ts";
import { GridEngineCell } from "../../helpers/engines/gridengine-cell.ts";

/** What a small job asks for in a cell of tests. */
export const small = {
  resources: { nodes: 1, ranks_per_node: 1, threads_per_rank: 1, gpus: 0 },
  walltimeS: 1_800,
  placement: { native: [] },
} as const;

/** Of `-a`: far away. */
export const waiting = ["-a", "203012312359"] as const;

export function workdirOf(cell: GridEngineCell): string {
  return join(cell.directory, "work");
}

/** The adapter over a cell, its commands run on this host. */
export function gridEngineOf(cell: GridEngineCell): Scheduler {
  const host = new LocalHost({ name: "here", workdir: workdirOf(cell) });
  return createGridEngine({ host, environment: cell.environment });
}

/** A cell with the directory of its jobs. */
export async function startCell(): Promise<GridEngineCell> {
  const cell = await GridEngineCell.start();
  await mkdir(workdirOf(cell), { mode: 0o755 });
  return cell;
}

/** The contract's harness. */
export async function gridEngineHarness(): Promise<SchedulerHarness> {
  const cell = await startCell();
  return {
    scheduler: gridEngineOf(cell),
    workdir: workdirOf(cell),
    small,
    waiting,
    wrongQueue: "nonesuch",
    neverUsedId: "4000000",
    outage: () => cell.cutOff(),
    [Symbol.asyncDispose]: () => cell[Symbol.asyncDispose](),
  };
}
