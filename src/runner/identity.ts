import { readFileSync, readlinkSync } from "node:fs";
import { errnoOf } from "../common/fault.ts";
import { hasEnded, readStat } from "./processes.ts";

/** Who a process is, beyond its number: numbers are used again, these five together are not. */
export interface ProcessIdentity extends NodeIdentity {
  readonly pid: number;
  /** Field 22 of `/proc/<pid>/stat`: clock ticks between boot and start. */
  readonly startTicks: number;
  /** Wall time at which the identity was written, for display only. */
  readonly atMs: number;
}

/** Where a pid means something. */
export interface NodeIdentity {
  readonly bootId: string;
  /** Inode of the pid namespace. */
  readonly pidNamespace: string;
  readonly machineId: string;
}

/**
 * `same`: it lives, and may be signalled. `different`: it ended, another has its number. `gone`: it ended. `rebooted`: it ended with the
 * machine. `uncertain`: it cannot be told from here (other machine or namespace, `/proc` hidden); never signal, never call it ended.
 */
export type Verdict = "same" | "different" | "gone" | "rebooted" | "uncertain";

/** The identity line that recorders write: `1 PID START BOOT NAMESPACE MACHINE WALLMS [mode]`; undefined when damaged. */
export function parseIdentity(text: string): (ProcessIdentity & { readonly mode: string | undefined }) | undefined {
  const [format, pid, startTicks, bootId, pidNamespace, machineId, atMs, mode] = text.trim().split(/\s+/);
  if (format !== "1" || !bootId || !pidNamespace || !machineId) return undefined;
  const numbers = [pid, startTicks, atMs].map((part) => (/^\d{1,15}$/.test(part ?? "") ? Number(part) : -1));
  const [pidNumber = -1, ticks = -1, at = -1] = numbers;
  if (pidNumber < 2 || ticks < 0 || at < 0) return undefined;
  return { pid: pidNumber, startTicks: ticks, bootId, pidNamespace, machineId, atMs: at, mode };
}

let here: NodeIdentity | undefined;

/** This machine, boot and pid namespace. They do not change while a process lives. */
export function nodeIdentity(): NodeIdentity {
  here ??= {
    bootId: readOr("/proc/sys/kernel/random/boot_id", "-"),
    pidNamespace: /\d+/.exec(readlinkSync("/proc/self/ns/pid"))?.[0] ?? "-",
    machineId: readOr("/etc/machine-id", "-"),
  };
  return here;
}

/** Identity of a process of this machine that lives now; undefined when it does not. */
export function identityOf(pid: number): ProcessIdentity | undefined {
  const stat = readStat(pid);
  return stat && { pid, startTicks: stat.startTicks, ...nodeIdentity(), atMs: Date.now() };
}

/** Looks at the process directly, now. A zombie has ended. */
export function verdictOf(identity: ProcessIdentity, node: NodeIdentity = nodeIdentity()): Verdict {
  if (identity.machineId !== node.machineId) return "uncertain";
  if (identity.bootId !== node.bootId) return "rebooted";
  if (identity.pidNamespace !== node.pidNamespace) return "uncertain";
  const stat = readStat(identity.pid);
  if (stat !== undefined) {
    if (stat.startTicks !== identity.startTicks) return "different";
    return hasEnded(stat) ? "gone" : "same";
  }
  return exists(identity.pid) ? "uncertain" : "gone";
}

/** Signal 0 is no signal. EPERM means that somebody is there. */
function exists(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return readStat(pid) === undefined;
  } catch (error) {
    return errnoOf(error) !== "ESRCH";
  }
}

function readOr(path: string, otherwise: string): string {
  try {
    return readFileSync(path, "utf8").trim() || otherwise;
  } catch {
    return otherwise;
  }
}
