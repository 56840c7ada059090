import { hostname, userInfo } from "node:os";
import { join } from "node:path";

export interface SlurmOptions {
  /** Simulated nodes, each a slurmd of its own on this host; default 2. */
  readonly nodes?: number;
  /** With slurmdbd and MariaDB. */
  readonly accounting?: boolean;
  /** Memory limits enforced by control groups (version 1). */
  readonly cgroup?: boolean;
  /** Lines of slurm.conf that replace those of the same key or come to them. */
  readonly settings?: Readonly<Record<string, string>>;
}

export interface SlurmPlace {
  readonly directory: string;
  readonly controllerPort: number;
  readonly accountingPort: number;
  readonly nodes: readonly SlurmNode[];
  /** The machine of the controller; default: this one, by loopback. */
  readonly controller?: { readonly name: string; readonly address: string };
}

interface SlurmNode {
  readonly name: string;
  readonly port: number;
  /** Of a machine of its own with that name; default: simulated on this one. */
  readonly address?: string;
}

/** Of each simulated node; more than the machine may have. */
const cpusOfNode = 8;
const megabytesOfNode = 8_000;

/** The text of slurm.conf: everything in the directory and on loopback, faults noticed within seconds, jobs started at once. */
export function slurmConf(place: SlurmPlace, options: SlurmOptions): string {
  const account = userInfo().username;
  const here = { name: hostname().split(".")[0] ?? "localhost", address: "127.0.0.1" };
  const controller = place.controller ?? here;
  const settings: Record<string, string> = {
    ClusterName: "siteagent",
    SlurmctldHost: `${controller.name}(${controller.address})`,
    SlurmctldPort: String(place.controllerPort),
    SlurmUser: account,
    SlurmdUser: account,
    AuthType: "auth/munge",
    AuthInfo: `socket=${join(place.directory, "munge/s")}`,
    CredType: "cred/munge",
    StateSaveLocation: join(place.directory, "state"),
    SlurmdSpoolDir: join(place.directory, "spool/%n"),
    SlurmctldPidFile: join(place.directory, "slurmctld.pid"),
    SlurmdPidFile: join(place.directory, "%n.pid"),
    // More CPUs and memory than the machine has, several nodes on one host.
    SlurmdParameters: "config_overrides",
    SelectType: "select/cons_tres",
    SelectTypeParameters: "CR_Core_Memory",
    DefMemPerCPU: "100",
    SchedulerParameters: "batch_sched_delay=0,sched_interval=1,sched_min_interval=0,bf_interval=1",
    // On a machine that stands still for a while no node is given up; tests of dead nodes set less.
    SlurmdTimeout: "120",
    BatchStartTimeout: "120",
    // Commands try for so long, less a second, to reach a controller that is down.
    MessageTimeout: "10",
    KillWait: "2",
    InactiveLimit: "0",
    CompleteWait: "0",
    ReturnToService: "2",
    JobRequeue: "1",
    MinJobAge: "300",
    MpiDefault: "none",
    EnforcePartLimits: "ALL",
    OverTimeLimit: "0",
    Licenses: "lic:2",
    ...(options.cgroup === true ? enforced : unenforced),
    ...(options.accounting === true ? accounting(place) : {}),
    ...options.settings,
  };
  const lines = Object.entries(settings).map(([key, value]) => `${key}=${value}`);
  for (const { name, port, address } of place.nodes) {
    const machine = address === undefined ? here : { name, address };
    lines.push(
      `NodeName=${name} NodeHostname=${machine.name} NodeAddr=${machine.address} Port=${port} CPUs=${cpusOfNode} ` +
        `RealMemory=${megabytesOfNode} Features=blue State=UNKNOWN`,
    );
  }
  lines.push("PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP");
  lines.push("PartitionName=short Nodes=ALL MaxTime=1 State=UP");
  lines.push("PartitionName=urgent Nodes=ALL PriorityTier=10 State=UP");
  lines.push("PartitionName=closed Nodes=ALL State=DOWN", "");
  return lines.join("\n");
}

const unenforced = {
  ProctrackType: "proctrack/linuxproc",
  TaskPlugin: "task/none",
  JobAcctGatherType: "jobacct_gather/linux",
};
const enforced = {
  ProctrackType: "proctrack/cgroup",
  TaskPlugin: "task/cgroup",
  JobAcctGatherType: "jobacct_gather/cgroup",
};

/** cgroup.conf beside slurm.conf. */
export const cgroupConf = `CgroupPlugin=cgroup/v1
CgroupMountpoint=/sys/fs/cgroup
ConstrainRAMSpace=yes
ConstrainSwapSpace=yes
AllowedSwapSpace=0
ConstrainCores=no
`;

function accounting(place: SlurmPlace): Record<string, string> {
  return {
    AccountingStorageType: "accounting_storage/slurmdbd",
    AccountingStorageHost: "localhost",
    AccountingStoragePort: String(place.accountingPort),
    // Connections to slurmdbd take munge's socket from here, not from AuthInfo.
    AccountingStoragePass: join(place.directory, "munge/s"),
  };
}

/** slurmdbd.conf beside slurm.conf; must be 0600. */
export function slurmdbdConf(place: SlurmPlace): string {
  const settings = {
    AuthType: "auth/munge",
    AuthInfo: `socket=${join(place.directory, "munge/s")}`,
    DbdHost: "localhost",
    DbdAddr: "127.0.0.1",
    DbdPort: String(place.accountingPort),
    SlurmUser: userInfo().username,
    PidFile: join(place.directory, "slurmdbd.pid"),
    StorageType: "accounting_storage/mysql",
    StorageHost: "localhost",
    StorageUser: "root",
    StorageLoc: "slurm",
  };
  return Object.entries(settings)
    .map(([key, value]) => `${key}=${value}\n`)
    .join("");
}
