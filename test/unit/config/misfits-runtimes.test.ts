import { describe, it } from "vitest";
import { type Misfits, app, expectMisfits, head } from "./files.ts";

const cases: readonly Misfits[] = [
  [
    "MPI starters that cannot work here",
    app(`command: [-x]\nmpi: {starter: srun}`),
    [
      /^site\.yaml:7:\d+: apps\.b\.command\[0\]: the program '-x' would be an option of what starts it/,
      /^site\.yaml:8:\d+: apps\.b\.mpi\.starter: 'srun' starts ranks in a scheduler's allocation, and target 'local' gives no attempt one of its own; allowed: mpiexec-openmpi, mpiexec-hydra, mpirun/,
    ],
  ],
  [
    "MPI starters that are misspelled",
    app(`command: [x]\nmpi: {starter: mpiexec-openmp}`),
    [/^site\.yaml:8:\d+: apps\.b\.mpi\.starter: 'mpiexec-openmp' does not fit; .*nearest: 'mpiexec-openmpi'/],
  ],
  [
    "containers that are none, or two",
    app(`command: [x]\nruntime: {podmn: {image: x}}`),
    [
      "site.yaml:8:14: apps.b.runtime: one runtime is needed; allowed: apptainer, podman, docker, zip, one of them",
      "site.yaml:8:15: apps.b.runtime.podmn: unknown key 'podmn'; allowed: apptainer, podman, docker, zip; nearest: 'podman'",
    ],
  ],
  [
    "what a container cannot have",
    app(`command: [x]\nruntime: {docker: {image: UPPER, mounts: [{path: data}], options: [-it, --rm]}}`),
    [
      "site.yaml:8:54: apps.b.runtime.docker.mounts[0].path: 'data' is not absolute; allowed: an absolute path",
      "site.yaml:8:72: apps.b.runtime.docker.options[0]: '-it' is not one option in one word; allowed: --name, --name=value",
      "site.yaml:8:77: apps.b.runtime.docker.options[1]: '--rm' is set by siteagent; allowed: other options, or the app's own keys",
    ],
  ],
  [
    "images and variables that a job would choose, and ranks that one container cannot hold",
    app(
      `command: [x]\nparameters: {p: {type: string}, k: {type: secret, file: secret}}\nenvironment: {LD_LIBRARY_PATH: "/{{p}}"}\nmpi: {starter: srun}\nruntime: {podman: {image: "a.example.org/{{p}}"}}`,
    ),
    [
      /^site\.yaml:9:\d+: apps\.b\.environment\.LD_LIBRARY_PATH: .* means something to podman itself.*; allowed: a value without places/,
      /^site\.yaml:10:\d+: apps\.b\.mpi\.starter: 'srun' starts ranks in a scheduler's allocation/,
      /^site\.yaml:10:\d+: apps\.b\.mpi\.starter: the starter runs inside the container of podman, where 'srun' reaches no scheduler/,
      "site.yaml:11:31: apps.b.runtime.podman.image: a job would choose the image, and policy.images allows none; allowed: an image without places, or policy.images",
    ],
  ],
  [
    "a secret in an image's name",
    app(
      `command: [x]\nparameters: {k: {type: secret, file: secret}}\nruntime: {podman: {image: "a.example.org/{{k}}"}}`,
    ),
    [/^site\.yaml:9:\d+: apps\.b\.runtime\.podman\.image: '\{\{k\}\}' .* is a secret/],
  ],
  [
    "images that policy.images does not name, and rules that name none",
    `${head}policy: {images: [a.example.org, "b.example.org/x/"]}\napps: {b: {workflow: w, command: [x], target: local, runtime: {docker: {image: "c.example.org/x/y"}}}}\n`,
    [
      /^site\.yaml:3:19: policy\.images\[0\]: 'a\.example\.org' does not name a registry and what lies below it; allowed: /,
      /^site\.yaml:4:\d+: apps\.b\.runtime\.docker\.image: 'c\.example\.org\/x\/y' is not allowed by policy\.images; allowed: a\.example\.org, b/,
    ],
  ],
  [
    "archives that are none, or that a job would choose",
    app(
      `command: [app/x]\nparameters: {p: {type: string}}\ninputs: {t: {from: "https://a.example.org/{{p}}.zip", to: t}}\nruntime: {zip: {input: t}}`,
    ),
    [
      /^site\.yaml:10:\d+: apps\.b\.runtime\.zip\.input: a job would choose the program: 'from' and 'sha256' of input 't' have places; allowed: an input/,
    ],
  ],
  [
    "an archive that is not there, and one too many",
    `${head}apps:\n  a: {workflow: a, command: [app/x], target: local, runtime: {zip: {archive: none.zip}}}\n  b: {workflow: b, command: [app/x], target: local, runtime: {zip: {input: u}}}\n`,
    [
      /^site\.yaml:4:\d+: apps\.a\.runtime\.zip\.archive: '.*none\.zip' cannot be read/,
      /^site\.yaml:5:\d+: apps\.b\.runtime\.zip\.input: 'u' is not an input of this app/,
    ],
  ],
  [
    "an archive and an input at once",
    app(`command: [app/x]\nruntime: {zip: {archive: a.zip, input: b, into: ../x}}`),
    [
      /^site\.yaml:8:\d+: apps\.b\.runtime\.zip: either an archive or an input is needed/,
      /^site\.yaml:8:\d+: apps\.b\.runtime\.zip\.into: '\.\.\/x' does not fit; allowed: a name/,
    ],
  ],
  [
    "a work directory that cannot be mounted",
    `${head}hosts: {here: {workdir: "/w,x"}}\napps: {b: {workflow: w, command: [x], target: local, runtime: {apptainer: {image: /x.sif}}}}\n`,
    [/^site\.yaml:4:\d+: apps\.b\.runtime: the workdir '\/w,x' of host 'here' holds a colon, comma/],
  ],
  [
    "places in a starter that are no sizes",
    app(`command: [x]\nparameters: {n: {type: integer}}\nmpi: {starter: [run, "{{n}}", "{{rank}}"], program: run}`),
    [
      /^site\.yaml:9:\d+: apps\.b\.mpi\.starter\[1\]: '\{\{n\}\}' .* is unknown; allowed: nodes, ranks, /,
      /^site\.yaml:9:\d+: apps\.b\.mpi\.starter\[2\]: '\{\{rank\}\}' .* is unknown; .*nearest: 'ranks'/,
      /^site\.yaml:9:\d+: apps\.b\.mpi\.program: 'program' belongs to a built-in starter/,
    ],
  ],
];

describe("things that do not fit each other: containers, archives and MPI", () => {
  it.each(cases)("names %s", (_what, text, expected) => expectMisfits(text, expected));
});
