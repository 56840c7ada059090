import { readFileSync } from "node:fs";

/** Ticks of /proc in a second; the same on every Linux that Node 24 runs on. */
const ticksPerSecond = 100;

/** The memory of a process as its share of what it maps (PSS), MiB. Throws when it is gone. */
export function pssMiB(pid: number): number {
  const found = /^Pss:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/smaps_rollup`, "utf8"));
  return Number(found?.[1]) / 1024;
}

/** Processor time that a process has used so far, its own children that ended not counted, seconds. */
export function cpuSeconds(pid: number): number {
  const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  return (Number(fields[11]) + Number(fields[12])) / ticksPerSecond;
}
