import type { Host } from "../../hosts/types.ts";
import type { GpuVendor } from "../../jobs/gpus.ts";
import type { Placement } from "../../schedulers/types.ts";
import type { Patience } from "../batch/judge.ts";
import type { SchedulerQueue } from "../batch/queue.ts";
import type { ElasticRule } from "./elastic.ts";

export interface PilotLauncherOptions {
  /** Where the scheduler's commands run and, on a file system that its nodes share, the work directories lie. */
  readonly host: Host;
  /** Shared by all launchers of the same scheduler on the same host. */
  readonly queue: SchedulerQueue;
  readonly placement: Placement;
  /** Whose allocations these are: the target's name. */
  readonly pool: string;
  /** Lines of shell before the node agent: module loads and the like. Attempts see what they leave. */
  readonly preamble: readonly string[];
  /** `PATH` that the preamble finds. */
  readonly path: string;
  /** Nodes of one allocation. */
  readonly nodes: number;
  /** Argv that runs one copy of a program on each node of an allocation; none for one node. */
  readonly starter: readonly string[];
  /** What one node has for attempts; memory undefined = not counted. */
  readonly node: {
    readonly cores: number;
    readonly memoryBytes: number | undefined;
    readonly gpuIds: readonly string[];
    readonly gpuVendor: GpuVendor;
  };
  /** Of one allocation. */
  readonly walltimeMs: number;
  /** So long before its end it ends what still runs in it. */
  readonly marginMs: number;
  /** An allocation may take so long from its begin until it runs attempts; those that need more than the rest are refused. */
  readonly startMs: number;
  /** Without work for so long it ends by itself. */
  readonly idleMs: number;
  readonly elastic: ElasticRule;
  /** An attempt that finds no room for so long ends without having begun; undefined = it waits. */
  readonly queueLimitMs: number | undefined;
  readonly patience: Pick<Patience, "recordMs" | "lostMs">;
  /** How long after an unclear submission the scheduler's silence proves that nothing was accepted; milliseconds. */
  readonly settleMs: number;
  /** How often files are looked at where no watch tells of changes, milliseconds. */
  readonly lookMs: number;
  /** Between two signs of life of a node, milliseconds, whole seconds. */
  readonly beatMs: number;
}
