import { readFileSync } from "node:fs";

/** Ticks of /proc in a second; the same on every Linux that Node 24 runs on. */
const ticksPerSecond = 100;

export interface Memory {
  /** Private pages and its share of the shared ones. */
  readonly pss: number;
  /** Private pages alone. */
  readonly own: number;
}

/** What a process takes of the memory, MiB. @throws Error when it is gone. */
export function memoryMiB(pid: number): Memory {
  const text = readFileSync(`/proc/${pid}/smaps_rollup`, "utf8");
  const kiB = (name: string): number => Number(new RegExp(`^${name}:\\s+(\\d+) kB$`, "m").exec(text)?.[1]);
  return { pss: kiB("Pss") / 1024, own: (kiB("Private_Clean") + kiB("Private_Dirty")) / 1024 };
}

/** Processor time that a process has used so far, seconds; `ended`: with that of its children that have ended. @throws Error when it is gone. */
export function cpuSeconds(pid: number, { ended = false } = {}): number {
  const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  const ticks = fields.slice(11, ended ? 15 : 13).reduce((sum, field) => sum + Number(field), 0);
  return ticks / ticksPerSecond;
}

/** Processor time that it uses while `meanwhile` lasts, as seconds in an hour. */
export async function cpuSecondsPerHour(pid: number, meanwhile: () => Promise<unknown>): Promise<number> {
  const [used, startedAt] = [cpuSeconds(pid), performance.now()];
  await meanwhile();
  return ((cpuSeconds(pid) - used) * 3_600_000) / (performance.now() - startedAt);
}
