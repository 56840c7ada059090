import { formatDuration, formatSize } from "../../common/units.ts";
import type { Limits } from "../../wire/apps.ts";

/** What an attempt may take, in words, by name. */
export function limitTexts(limits: Limits): Record<string, string> {
  return {
    walltime: limits.walltime_ms === undefined ? "no limit" : formatDuration(limits.walltime_ms),
    cores: String(limits.cores),
    ...(limits.nodes > 1 ? { nodes: String(limits.nodes) } : {}),
    ...(limits.gpus > 0 ? { gpus: String(limits.gpus) } : {}),
    ...(limits.memory_bytes === undefined ? {} : { memory: formatSize(limits.memory_bytes) }),
  };
}
