/**
 * Every adapter that a suite of src/conformance is run on, by the kind of adapter and by name. docs/conformance.md is made of this list and
 * of the suites; the tests hold each line to be true: all cases that apply pass, and what an adapter lacks is exactly what is said here.
 */
import type { EngineName } from "../helpers/engines/registry.ts";

export interface TriedAdapter {
  /** What it is tried on. */
  readonly on: string;
  /** Test file below test. */
  readonly file: string;
  readonly engine?: EngineName;
  /** Abilities of its suite that it does not have, or that cannot be tried on it. */
  readonly lacks: readonly string[];
}

const scripted = "a scheduler in the test's own process, for faults that no real one can be made to show";

export const adapters = {
  scheduler: {
    slurm: { on: "a real Slurm, no accounting", file: "conformance/slurm.test.ts", engine: "slurm", lacks: [] },
    "slurm, slurmdbd": {
      on: "a real Slurm with slurmdbd",
      file: "conformance/slurmdbd.test.ts",
      engine: "slurmdbd",
      lacks: [],
    },
    pbs: {
      on: "programs that answer as OpenPBS 23.06.06 does, on which the suite was tried by hand",
      file: "conformance/pbs.test.ts",
      lacks: [],
    },
    "pbs, Torque": {
      on: "programs that answer as Torque 6 does by its manual and sources",
      file: "conformance/pbs.test.ts",
      lacks: [],
    },
    sge: { on: "a real Grid Engine", file: "conformance/gridengine.test.ts", engine: "gridengine", lacks: [] },
    scripted: { on: scripted, file: "integration/schedulers/scripted.test.ts", lacks: [] },
  },
  launcher: {
    local: { on: "the strongest tier of the machine", file: "integration/launchers/local.test.ts", lacks: [] },
    "local, subreaper": { on: "the tier subreaper", file: "integration/launchers/local.test.ts", lacks: [] },
    "local, portable recorder": {
      on: "the tier group: POSIX sh alone",
      file: "integration/launchers/local.test.ts",
      lacks: [],
    },
    batch: { on: "the scripted scheduler", file: "integration/launchers/batch.test.ts", lacks: [] },
    pilot: { on: "an allocation of the scripted scheduler", file: "integration/launchers/pilot.test.ts", lacks: [] },
  },
  host: {
    local: { on: "this machine", file: "integration/hosts/local.test.ts", lacks: [] },
    ssh: { on: "a real sshd", file: "integration/hosts/ssh.test.ts", engine: "sshd", lacks: [] },
  },
  transfer: {
    local: { on: "directories of this machine", file: "integration/transfer/conformance.test.ts", lacks: [] },
    sftp: { on: "a real sshd", file: "integration/transfer/conformance.test.ts", engine: "sshd", lacks: [] },
    "sftp, no commands": {
      on: "a real sshd that serves files alone",
      file: "integration/transfer/conformance.test.ts",
      engine: "sshd",
      lacks: [],
    },
    s3: {
      on: "a real object store (Ceph radosgw)",
      file: "integration/transfer/s3.test.ts",
      engine: "radosgw",
      lacks: [],
    },
    rsync: {
      on: "a real sshd and a real rsync at both ends",
      file: "integration/transfer/conformance.test.ts",
      engine: "rsync",
      lacks: ["resume"],
    },
    http: { on: "a server on loopback", file: "integration/transfer/conformance.test.ts", lacks: ["list", "digest"] },
    globus: {
      on: "a server on loopback that answers as the API of Globus is documented",
      file: "integration/transfer/conformance.test.ts",
      lacks: ["resume", "digest", "stream"],
    },
  },
} as const satisfies Readonly<Record<string, Readonly<Record<string, TriedAdapter>>>>;

export type SchedulerName = keyof typeof adapters.scheduler;
export type LauncherName = keyof typeof adapters.launcher;
export type HostName = keyof typeof adapters.host;
export type TransferName = keyof typeof adapters.transfer;
