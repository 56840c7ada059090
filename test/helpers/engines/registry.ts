import { chromium } from "./chromium.ts";
import { container } from "./container.ts";
import { dockerd, podman } from "./containers.ts";
import type { Engine, EngineProbe } from "./engine.ts";
import { gridengine } from "./gridengine.ts";
import { memoryCgroup } from "./memory-cgroup.ts";
import { mount } from "./mount.ts";
import { mpich, openmpi } from "./mpi.ts";
import { perlThreads } from "./perl-threads.ts";
import { postgres } from "./postgres-cluster.ts";
import { pty } from "./pty.ts";
import { radosgw } from "./radosgw.ts";
import { rsync } from "./rsync.ts";
import { slurm, slurmCgroup, slurmdbd } from "./slurm.ts";
import { sshd } from "./sshd.ts";
import { systemdAnalyze } from "./systemd-analyze.ts";

/** All engines that tests may ask for, by the names of TEST_REQUIRE. One file per engine. */
export const engines = {
  postgres,
  pty,
  "systemd-analyze": systemdAnalyze,
  sshd,
  rsync,
  chromium,
  container,
  mount,
  "memory-cgroup": memoryCgroup,
  "perl-threads": perlThreads,
  openmpi,
  mpich,
  podman,
  dockerd,
  slurm,
  slurmdbd,
  "slurm-cgroup": slurmCgroup,
  gridengine,
  radosgw,
} as const satisfies Record<string, Engine>;

export type EngineName = keyof typeof engines;
export type EngineProbes = Readonly<Record<EngineName, EngineProbe>>;

export const engineNames = Object.keys(engines) as readonly EngineName[];

export function isEngineName(name: string): name is EngineName {
  return Object.hasOwn(engines, name);
}

/** Looks for all engines at once; well under a second. */
export async function probeEngines(): Promise<EngineProbes> {
  const entries = await Promise.all(engineNames.map(async (name) => [name, await engines[name].probe()] as const));
  return Object.fromEntries(entries) as Record<EngineName, EngineProbe>;
}
