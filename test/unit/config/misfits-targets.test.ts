import { describe, it } from "vitest";
import { type Misfits, expectMisfits, head } from "./files.ts";

const cases: readonly Misfits[] = [
  [
    "a target on a batch scheduler",
    `${head}targets: {cpu: {host: here, launcher: batch, scheduler: slrum, partition: a, queue: b, native: ["a\\nb"], pol: 1s}}\nhosts: {here: {path: bin}}\napps: {b: {workflow: w, command: [x], target: cpu, runtime: pty}}\n`,
    [
      /^site\.yaml:3:\d+: targets\.cpu\.scheduler: .*'slrum'.*slurm, pbs, sge/,
      /^site\.yaml:3:\d+: targets\.cpu\.queue: partition and queue are the same/,
      /^site\.yaml:3:\d+: targets\.cpu\.native\[0\]: .*one line without control characters/,
      /^site\.yaml:3:\d+: targets\.cpu\.pol: .*nearest: 'poll'/,
      /^site\.yaml:4:\d+: hosts\.here\.path: part 1 of 'bin' is not absolute/,
      /^site\.yaml:5:\d+: apps\.b\.runtime: 'pty' cannot run on target 'cpu' \(launcher batch\)/,
    ],
  ],
  [
    "partition and queue",
    `${head}targets: {cpu: {host: here, launcher: batch, scheduler: pbs, partition: a, queue: b}}\nhosts: {here: {}}\napps: {}\n`,
    [/^site\.yaml:3:\d+: targets\.cpu\.queue: partition and queue are the same; give one/],
  ],
  [
    "allocations, and attempts that never fit into one",
    `${head}targets: {cpu: {host: here, launcher: pilot, scheduler: pbs, nodes: 2, node_cores: 4, walltime: 90s, min_allocations: 2}}\nhosts: {here: {}}\napps: {}\n`,
    [
      /^site\.yaml:3:\d+: targets\.cpu\.nodes: more than one node needs node_starter/,
      /^site\.yaml:3:\d+: targets\.cpu\.walltime: must be longer than margin and start together/,
      /^site\.yaml:3:\d+: targets\.cpu\.min_allocations: more than max_allocations/,
    ],
  ],
  [
    "apps that fit into no allocation",
    `${head}targets: {cpu: {host: here, launcher: pilot, scheduler: slurm, node_cores: 4, walltime: 1h}}\nhosts: {here: {}}\napps: {b: {workflow: w, command: [x], target: cpu, mpi: {starter: srun}, resources: {nodes: 2, cores: 5, gpus: 1, walltime: 1h}}}\n`,
    [
      /^site\.yaml:5:\d+: apps\.b\.resources\.nodes: '2' nodes are more than target 'cpu' has; allowed: at most 1/,
      /^site\.yaml:5:\d+: apps\.b\.resources\.cores: '5' cores on a node are more than target 'cpu' has; allowed: at most 4/,
      /^site\.yaml:5:\d+: apps\.b\.resources\.gpus: '1' GPUs on a node are more than target 'cpu' has; allowed: at most 0/,
      /^site\.yaml:5:\d+: apps\.b\.resources\.walltime: 1h and the grace of .* are longer .*; allowed: at most 58m together/,
    ],
  ],
  [
    "apps that ask for more than a queue gives, all of it at once",
    `${head}targets: {cpu: {host: here, launcher: batch, scheduler: slurm, limits: {nodes: 4, node_memory: 8GiB, cores: 16, gpus: 0, walltime: 1h}}}\nhosts: {here: {}}\napps: {b: {workflow: w, command: [x], target: cpu, resources: {nodes: 5, cores: 4, memory: 9GiB, gpus: 1, walltime: 1h}}}\n`,
    [
      /^site\.yaml:5:\d+: apps\.b\.resources\.nodes: '5' nodes are more than target 'cpu' has; allowed: at most 4/,
      /^site\.yaml:5:\d+: apps\.b\.resources\.cores: '20' cores on 5 nodes are more than target 'cpu' has; allowed: at most 16/,
      /^site\.yaml:5:\d+: apps\.b\.resources\.memory: '9663676416' bytes of memory on a node are more .* at most 8589934592/,
      /^site\.yaml:5:\d+: apps\.b\.resources\.gpus: '5' GPUs on 5 nodes are more than target 'cpu' has; allowed: at most 0/,
      /^site\.yaml:5:\d+: apps\.b\.resources\.walltime: 1h and the grace of 30s are longer .*; allowed: at most 59m together/,
    ],
  ],
  [
    "a queue's time that is all margin",
    `${head}targets: {cpu: {host: here, launcher: batch, scheduler: slurm, limits: {walltime: 60s}}}\nhosts: {here: {}}\napps: {}\n`,
    [/^site\.yaml:3:\d+: targets\.cpu\.limits\.walltime: must be longer than walltime_margin/],
  ],
  [
    "names that are not there",
    `${head}targets: {cpu: {host: her, launcher: locl}}\nhosts: {here: {}}\napps: {b: {workflow: w, command: [x], target: cpuu}}\n`,
    [
      "site.yaml:3:23: targets.cpu.host: 'her' is not a host of this file; allowed: here; nearest: 'here'",
      "site.yaml:3:38: targets.cpu.launcher: 'locl' is not a launcher of this version; allowed: local, batch, pilot; nearest: 'local'",
      "site.yaml:5:47: apps.b.target: 'cpuu' is not a target of this file; allowed: cpu; nearest: 'cpu'",
    ],
  ],
  [
    "a key of another launcher",
    `${head}targets: {cpu: {host: here, launcher: local, slot: 2}}\napps: {}\n`,
    [
      "site.yaml:3:46: targets.cpu.slot: unknown key 'slot'; allowed: host, launcher, slots, cores, memory, gpus, gpu_vendor; nearest: 'slots'",
    ],
  ],
  [
    "GPUs that are no ids, and variables that they set",
    `${head}targets: {a: {host: here, launcher: local, gpus: [0, 1, 0]}, b: {host: here, launcher: local, gpus: ["0,1"]}}\napps: {b: {workflow: w, command: [x], target: a, environment: {CUDA_VISIBLE_DEVICES: "0"}}}\n`,
    [/^site\.yaml:3:\d+: targets\.b\.gpus\[0\]: '0,1' does not fit; allowed: an id/],
  ],
  [
    "GPUs that are there twice, and variables that they set",
    `${head}targets: {a: {host: here, launcher: local, gpus: [0, 1, 0]}}\napps: {b: {workflow: w, command: [x], target: a, environment: {CUDA_VISIBLE_DEVICES: "0"}}}\n`,
    [
      "site.yaml:3:50: targets.a.gpus: GPU '0' is there twice; allowed: each id once",
      /^site\.yaml:4:\d+: apps\.b\.environment\.CUDA_VISIBLE_DEVICES: 'CUDA_VISIBLE_DEVICES' is set by siteagent from the GPUs of target 'a'/,
    ],
  ],
  [
    "a launcher of this machine on a host by SSH",
    `${head}hosts: {login: {workdir: /w, ssh: {host: a}}}\ntargets: {t: {host: login, launcher: local}}\napps: {}\n`,
    [
      "site.yaml:4:38: targets.t.launcher: launcher 'local' starts attempts on this machine, and host 'login' is reached by SSH; allowed: a host without ssh, or a launcher that hands attempts to a scheduler, as batch",
    ],
  ],
  [
    "more than the target or the site allows",
    `${head}max_output: 1MiB\nhooks: {max_timeout: 1m}\ntargets: {t: {host: here, launcher: local, cores: 2}}\napps:\n  b: {workflow: w, command: [x], target: t, resources: {cores: 4, nodes: 2}, max_output: 2MiB, hooks: {postprocess: {command: [y], timeout: 5m}, preprocess: {command: [y]}}}\n`,
    [
      /7:64: apps\.b\.resources\.cores: '8' cores on 2 nodes are more than target 't' has; allowed: at most 2/,
      /resources\.nodes: '2' nodes are more than target 't' has; allowed: at most 1/,
      /max_output: '2097152' bytes are more than the site's max_output; allowed: at most 1048576/,
      /hooks\.postprocess\.timeout: '300000' ms are more than the site's hooks\.max_timeout; allowed: at most 60000 ms/,
    ],
  ],
];

describe("things that do not fit each other: targets and queues", () => {
  it.each(cases)("names %s", (_what, text, expected) => expectMisfits(text, expected));
});
