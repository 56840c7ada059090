import { readFileSync } from "node:fs";
import { findProgram, versionOf } from "./command.ts";
import type { Engine, EngineProbe } from "./engine.ts";

const administrators = ["/usr/sbin", "/usr/local/sbin", "/sbin"];
const slurmPrograms = ["slurmctld", "slurmd", "munged", "munge", "sbatch", "squeue", "scancel", "scontrol", "sinfo"];
const accountingPrograms = ["slurmdbd", "mariadbd", "mariadb-install-db", "mariadb-admin", "sacct", "sacctmgr"];

/** Absolute path of a program of Slurm, munge or MariaDB; daemons lie where PATH may not lead. */
export function slurmProgram(name: string): string {
  const path = findProgram(name, administrators);
  if (path === undefined) throw new Error(`'${name}' is not installed`);
  return path;
}

async function probe(programs: readonly string[]): Promise<EngineProbe> {
  const missing = programs.filter((name) => findProgram(name, administrators) === undefined);
  if (missing.length > 0) return { ok: false, reason: `not installed: ${missing.join(", ")}` };
  return await versionOf(slurmProgram("slurmctld"), ["-V"]);
}

/** Slurm's daemons and commands and munge: a whole cluster on this host, without accounting. Any account can start one for its own jobs. */
export const slurm: Engine = {
  debianPackages: ["slurmctld", "slurmd", "slurm-client", "munge"],
  probe: () => probe(slurmPrograms),
};

/** Slurm with accounting: slurmdbd on a MariaDB. */
export const slurmdbd: Engine = {
  debianPackages: [...slurm.debianPackages, "slurmdbd", "mariadb-server"],
  probe: () => probe([...slurmPrograms, ...accountingPrograms]),
};

/** Slurm on a machine whose control groups (version 1) it may use, so that it enforces memory limits as a centre's does. */
export const slurmCgroup: Engine = {
  debianPackages: slurm.debianPackages,
  async probe() {
    const found = await probe(slurmPrograms);
    if (!found.ok) return found;
    if (process.getuid?.() !== 0) return { ok: false, reason: "control groups are made by root only" };
    const mounts = readFileSync("/proc/self/mounts", "utf8").split("\n");
    const writable = mounts.some((line) => /^\S+ \/sys\/fs\/cgroup\/memory cgroup rw[, ]/.test(line));
    return writable ? found : { ok: false, reason: "no writable control groups of version 1 at /sys/fs/cgroup" };
  },
};
