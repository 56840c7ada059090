/** Every kind of bad input names file, line, column, value, what is allowed and the nearest word. */
import fc from "fast-check";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { type TemporaryDirectory, temporaryDirectory } from "../../helpers/temporary.ts";
import { head, problemsOf, rawProblemsOf, writeSecret } from "./files.ts";
import { loadSite, parseSite } from "../../../src/config/compile.ts";
import { ConfigProblems } from "../../../src/config/problems.ts";
import { builtInRegistries } from "../../../src/config/registries.ts";
import { isFault } from "../../../src/common/fault.ts";
import { writeFile } from "node:fs/promises";
import { fuzz, fuzzing } from "../../helpers/fuzz.ts";

let directory: TemporaryDirectory;
beforeEach(async () => {
  directory = await temporaryDirectory();
});
afterEach(async () => {
  await directory[Symbol.asyncDispose]();
});

const app = (lines: string): string => `${head}apps:
  b:
    workflow: w
    target: local
${lines.replace(/^/gm, "    ")}
`;

describe("text that is no YAML of ours", () => {
  it.each<[string, string, RegExp]>([
    ["a key twice", "site: a\nsite: b\n", /^site\.yaml:2:1: a key that is there twice/],
    ["a broken mapping", "site: [a\napi: {}\n", /^site\.yaml:2:/],
    ["a tab", "site:\n\t- a\n", /^site\.yaml:2:1: /],
    ["two documents", "site: a\n---\nsite: b\n", /^site\.yaml:2:1: more than one YAML document/],
    ["an unknown tag", "site: !env HOME\n", /^site\.yaml:1:7: Unresolved tag: !env/],
    ["an unknown alias", "site: *nobody\n", /nobody/],
    [
      "a billion laughs",
      `a: &a [x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b]\nd: [*c,*c,*c,*c,*c,*c,*c,*c]\n`,
      /Excessive alias count/,
    ],
    ["absurd nesting", `site: ${"[".repeat(5000)}${"]".repeat(5000)}\n`, /nested/],
    ["deep nesting", `site: ${"[".repeat(80)}${"]".repeat(80)}\n`, /nested deeper than 64 levels/],
    ["an empty file", "", /'site' is missing/],
    ["a list", "- a\n", /a list with 1 entries does not fit; allowed: a mapping|expected/],
  ])("refuses %s", async (_what, text, message) => {
    expect((await problemsOf(directory, text)).join("\n")).toMatch(message);
  });

  it.each<[string, string | Buffer | undefined, RegExp]>([
    ["a file that is not there", undefined, /no such file/],
    ["bytes that are no UTF-8", Buffer.from([0x73, 0xff, 0xfe]), /is not UTF-8 text/],
    ["a file of 5 MB", "#".repeat(5_000_000), /5000000 bytes; at most 4194304 are read/],
  ])("refuses %s", async (_what, content, message) => {
    if (content !== undefined) await writeFile(directory.join("site.yaml"), content);
    const error: unknown = await loadSite(directory.join("site.yaml"), builtInRegistries).catch(
      (caught: unknown) => caught,
    );
    expect(isFault(error, "CONFIG")).toBe(true);
    expect(String(error)).toMatch(message);
  });
});

describe("values that do not fit the schema", () => {
  it("names all of them at once, in the order of the text", async () => {
    const text = `site: lab a
api: {url: https://x.example.org, clientid: a, client_secret: hunter2, poll: 5 parsecs, dialect: hubb}
hosts:
  here: {workdir: 7}
targets:
  local: {host: here, launcher: local, slots: 0}
apps:
  9a: {}
  b:
    workflow: w
    command: []
    target: local
    parameters: {p: {type: strin}, q: {type: string, patern: x}}
    hooks: {preprocess: {comand: [x]}, prep: {}}
    retry: {on: [timout], attempts: many}
    runtime: ptty
    max_output: 1 stone
    umask: 027
`;
    expect(await problemsOf(directory, text)).toEqual([
      "site.yaml:1:7: site: 'lab a' does not fit; allowed: a name: letters, digits, _ . -, at most 128",
      "site.yaml:2:1: api.client_id: 'client_id' is missing; allowed: text (id of the site's client, as central gave it)",
      "site.yaml:2:35: api.clientid: unknown key 'clientid'; allowed: url, client_id, client_secret, dialect, poll, timeout, ca_file, allow_http; nearest: 'client_id'",
      "site.yaml:2:63: api.client_secret: a secret is never written into this file; allowed: {file: …} or {credential: …} (where the secret lies: {file: PATH} or {credential: NAME})",
      "site.yaml:2:78: api.poll: '5 parsecs' is not a duration; allowed: 250ms, 10s, 5m, 2h, 1d, 1h30m, D-HH:MM:SS",
      "site.yaml:2:98: api.dialect: 'hubb' does not fit; allowed: auto, nmdc, hub; nearest: 'hub'",
      "site.yaml:4:19: hosts.here.workdir: '7' does not fit; allowed: text (directory below which all directories of jobs lie; default: <state_dir>/work; absolute, and needed, for a host by SSH)",
      "site.yaml:6:47: targets.local.slots: '0' does not fit; allowed: at least 1",
      "site.yaml:8:3: apps.9a: '9a' is not a name that can be used; allowed: a name: a letter, then letters, digits, _ or -, at most 64",
      "site.yaml:11:14: apps.b.command: a list with 0 entries does not fit; allowed: a list with at least 1",
      "site.yaml:13:28: apps.b.parameters.p.type: 'strin' does not fit; allowed: string, integer, number, boolean, secret; nearest: 'string'",
      "site.yaml:13:54: apps.b.parameters.q.patern: unknown key 'patern'; allowed: type, description, from, required, default, pattern, enum, min_length, max_length, allow_leading_dash; nearest: 'pattern'",
      "site.yaml:14:13: apps.b.hooks.preprocess.command: 'command' is missing; allowed: a list (argv, run on the target's host in the work directory)",
      "site.yaml:14:26: apps.b.hooks.preprocess.comand: unknown key 'comand'; allowed: command, timeout, module; nearest: 'command'",
      "site.yaml:14:40: apps.b.hooks.prep: unknown key 'prep'; allowed: preprocess, postprocess, handle_error, handle_timeout",
      "site.yaml:15:18: apps.b.retry.on[0]: 'timout' does not fit; allowed: one of timeout, node, oom, launch, status-lost, exit, exit:CODE, signal, signal:NAME",
      "site.yaml:15:37: apps.b.retry.attempts: 'many' does not fit; allowed: a whole number (tries in all; lost allocations do not count)",
      "site.yaml:16:14: apps.b.runtime: 'ptty' does not fit; allowed: plain, pty; nearest: 'pty'",
      "site.yaml:17:17: apps.b.max_output: '1 stone' is not a size; allowed: a number of bytes, or with KiB, MiB, GiB, TiB, kB, MB, GB, TB",
      `site.yaml:18:12: apps.b.umask: '27' does not fit; allowed: text (three octal digits in quotes, as "027")`,
    ]);
  });

  it("names what does not fit each other in the same go", async () => {
    const text = `${head}aps: {}
policy: {sources: [htp://x/]}
apps:
  a: {workflow: w, command: [x], target: locl, retrry: {}}
  b: {workflow: v, command: x, target: locl}
`;
    const problems = await rawProblemsOf(directory, text);
    expect(problems.map(({ path }) => path)).toEqual([
      "aps",
      "policy.sources[0]",
      "apps.a.target",
      "apps.a.retrry",
      "apps.b.command",
    ]);
  });

  it("throws nothing but problems, whatever is written", fuzzing, async () => {
    await writeSecret(directory);
    const good = `${head}remotes: {ar: {url: "https://a.example.org/"}}
apps: {b: {workflow: w, command: [x, "{{p}}"], target: local, parameters: {p: {type: string}}, inputs: {i: {from: "ar:/{{p}}", to: i}}}}
`;
    const word = fc.constantFrom(
      "{{",
      "}}",
      "{",
      "}",
      "[",
      "]",
      ":",
      "&a ",
      "*a",
      "- ",
      "\n",
      " ",
      "'",
      "!x ",
      "null",
      "-1",
      "__proto__: 1",
      "<<",
      "\0",
      "💥",
    );
    const edit = fc.tuple(fc.nat({ max: good.length }), fc.nat({ max: 30 }), word);
    await fc.assert(
      fc.asyncProperty(fc.array(edit, { maxLength: 4 }), async (edits) => {
        let text = good;
        for (const [at, cut, put] of edits) text = text.slice(0, at) + put + text.slice(at + cut);
        const file = directory.join("site.yaml");
        const result: unknown = await parseSite(text, file, builtInRegistries, { env: {} }).catch(
          (error: unknown) => error,
        );
        if (result instanceof Error) expect(result).toBeInstanceOf(ConfigProblems);
      }),
      fuzz(300),
    );
  });

  it("never shows a secret that somebody wrote into the file", async () => {
    for (const value of [
      "hunter2",
      "{value: hunter2}",
      "{file: [hunter2]}",
      "[hunter2]",
      "{credential: 'hunter 2 hunter2'}",
    ]) {
      const text = `site: a\napi: {url: https://x.example.org, client_id: a, client_secret: ${value}}\napps: {}\n`;
      const problems = await rawProblemsOf(directory, text);
      expect(problems.length).toBeGreaterThan(0);
      expect(JSON.stringify(problems)).not.toContain("hunter2");
    }
  });
});

describe("things that do not fit each other", () => {
  it.each<[string, string, readonly (string | RegExp)[]]>([
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
      "warnings that come too early, or to nobody",
      `${head}apps:\n  b: {workflow: w, command: [x], target: local, warning: {before: 1m}}\n  c: {workflow: v, command: [x], target: local, runtime: pty, resources: {walltime: 1m}, warning: {before: 60s, to: command, signal: SIGKILL}}\n  d: {workflow: u, command: [x], target: local, runtime: pty, resources: {walltime: 1m}, warning: {before: 60s, to: command}}\n  e: {workflow: t, command: [x], target: local, runtime: {podman: {image: "example.org/a@sha256:${"0".repeat(64)}"}}, resources: {walltime: 1h}, warning: {before: 60s}}\n`,
      [
        /^site\.yaml:4:\d+: apps\.b\.warning\.before: 1m before the time limit cannot be: there is no time limit; allowed: less than/,
        /apps\.c\.warning\.signal: .*SIGHUP.*SIGUSR2/,
        /apps\.d\.warning\.before: 1m before the time limit cannot be: the time limit is 1m/,
        /apps\.d\.warning\.to: the first process of an attempt with a terminal is the one that holds it; allowed: all/,
        /apps\.e\.warning: a warning does not reach a container of 'podman'; allowed: another runtime, or no warning/,
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
      "a workflow that two apps serve",
      `${head}apps:\n  a: {workflow: w, command: [x], target: local}\n  b: {workflow: w, command: [x], target: local}\n`,
      [
        "site.yaml:5:17: apps.b.workflow: workflow 'w' is served by app 'a' already; allowed: one app for each workflow",
      ],
    ],
    [
      "a host by SSH without a work directory",
      `${head}hosts: {here: {}, login: {ssh: {host: a.example.org}}}\napps: {}\n`,
      [
        "site.yaml:3:19: hosts.login: a host reached by SSH needs a 'workdir'; allowed: an absolute path there, as /scratch/svc/siteagent",
      ],
    ],
    [
      "a work directory that nobody finds at the other end",
      `${head}hosts: {here: {}, login: {workdir: ~/work, ssh: {host: a.example.org}}}\napps: {}\n`,
      [/^site\.yaml:3:\d+: hosts\.login\.workdir: '~\/work' is no directory that can be found at the other end/],
    ],
    [
      "an SSH host that cannot be one",
      `${head}hosts: {here: {}, login: {workdir: /w, ssh: {host: svc@a.example.org, port: 0, keepalive: 10ms, jump: -oProxyCommand=x, known_hosts: none}}}\napps: {}\n`,
      [
        /hosts\.login\.ssh\.host: .*a name, alias or address, without account and port/,
        /hosts\.login\.ssh\.port: /,
        /hosts\.login\.ssh\.jump: .*\[account@\]host\[:port\]/,
      ],
    ],
    [
      "files and times of an SSH host that cannot be used",
      `${head}hosts: {here: {}, login: {workdir: /w, ssh: {host: a, keepalive: 10ms, known_hosts: none, config: nothing, key: {file: no-key}}}}\napps: {}\n`,
      [
        /hosts\.login\.ssh\.keepalive: '10ms' is too short; allowed: at least 1s/,
        /hosts\.login\.ssh\.known_hosts: 'none' cannot be read/,
        /hosts\.login\.ssh\.config: 'nothing' cannot be read/,
        /hosts\.login\.ssh\.key: the secret 'no-key' cannot be read: ENOENT/,
      ],
    ],
    [
      "a passphrase without key",
      `${head}hosts: {here: {}, login: {workdir: /w, ssh: {host: a, passphrase: {file: secret}}}}\napps: {}\n`,
      [
        /hosts\.login\.ssh\.passphrase: a passphrase opens a key, and none is named; allowed: beside key: \{file: PATH\}/,
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
      "policy rules that are none",
      `${head}policy: {sources: [htp://x/, "https://a.example.org/?x", "https://u:hunter2@a.example.org/"], allow_private: [10.0.0.0/99]}\napps: {}\n`,
      [
        "site.yaml:3:20: policy.sources[0]: 'htp' is not a scheme that this version moves files by; allowed: file, globus, http, https, rsync, s3, scp, sftp; nearest: 'http'",
        /^site\.yaml:3:30: policy\.sources\[1\]: 'https:\/\/a\.example\.org\/\?x' cannot be used: a rule has no query; allowed: scheme/,
        "site.yaml:3:58: policy.sources[2]: a URL with user or password; allowed: a URL without them",
        /^site\.yaml:3:\d+: policy\.allow_private\[0\]: '10\.0\.0\.0\/99' is not an address/,
      ],
    ],
    [
      "remotes that are none",
      `${head}remotes: {https: {url: "https://a.example.org/"}, attic: {url: "https://*.example.org/"}}\napps: {}\n`,
      [
        /^site\.yaml:3:11: remotes\.https: 'https' is the name of a scheme/,
        /^site\.yaml:3:\d+: remotes\.attic\.url: .*names no single host/,
      ],
    ],
    [
      "remotes by SSH that are none",
      `${head}hosts: {here: {}, login: {workdir: /w, ssh: {host: a}}}
remotes:
  ar: {host: logn, path: /d}
  br: {host: here}
  cr: {ssh: {host: a}, path: d/../e}
  dr: {ssh: {host: a, key: {file: nothing}}, url: "https://a.example.org/"}
  er: {}
  fr: {url: "https://a.example.org/", verify: size}
policy: {sources: [arr:/x/, "ar:/x/"]}
apps: {a: {workflow: w, command: [x], target: t, inputs: {i: {from: "arr:/{{config.n}}", to: i}}}}
targets: {t: {host: here, launcher: local}}
`,
      [
        "site.yaml:5:14: remotes.ar.host: 'logn' is not a host of this file; allowed: login; nearest: 'login'",
        "site.yaml:6:14: remotes.br.host: host 'here' is not reached by SSH; allowed: a host with ssh, or url: file:///path/",
        /^site\.yaml:7:30: remotes\.cr\.path: 'd\/\.\.\/e' is no directory of a remote: it is not absolute; allowed: an absolute path there/,
        "site.yaml:8:3: remotes.dr: remote 'dr' has url and ssh; allowed: one of url, ssh, host and s3",
        "site.yaml:9:3: remotes.er: remote 'er' has none of them; allowed: one of url, ssh, host and s3",
        "site.yaml:10:39: remotes.fr.verify: 'verify' has no meaning for a remote by url; allowed: beside ssh or host or s3",
        "site.yaml:11:20: policy.sources[0]: 'arr' is no remote of this file; allowed: ar, br, cr, dr, er, fr; nearest: 'ar'",
        /^site\.yaml:12:\d+: apps\.a\.inputs\.i\.from: 'arr' of 'arr:\/\{\{config\.n\}\}' is no remote of this file; .*nearest: 'ar'/,
      ],
    ],
    [
      "object stores that are none",
      `${head}remotes:
  ar: {s3: {endpoint: "http://s3.example.org", buckets: [lab-a], credentials: anonymous}, shell: false}
  br: {s3: {endpoint: "https://u:hunter2@s3.example.org/x", buckets: [lab-b, lab-a], credentials: {file: nothing}}}
  cr: {s3: {buckets: [lab-c], credentials: anonymous, part_size: 1MiB}, url: "file:///x/"}
  dr: {s3: {buckets: [lab-d], credentials: anonymous, part_size: 1MiB}}
  er: {s3: {buckets: [lab-e], credentials: anonymous}, verify: sample}
apps: {}
`,
      [
        "site.yaml:4:23: remotes.ar.s3.endpoint: 'http://s3.example.org' would send contents in clear; allowed: https://, http:// to this machine, or allow_http: true",
        "site.yaml:4:91: remotes.ar.shell: 'shell' has no meaning for a remote by s3; allowed: beside ssh or host",
        /^site\.yaml:5:23: remotes\.br\.s3\.endpoint: the address holds a password; allowed: an address as https/,
        "site.yaml:5:78: remotes.br.s3.buckets[1]: 's3://lab-a/' leads to remote 'ar' already; allowed: each bucket at one remote, or first in the list",
        /^site\.yaml:5:106: remotes\.br\.s3\.credentials\.file: the secret 'nothing' cannot be read/,
        "site.yaml:6:3: remotes.cr: remote 'cr' has url and s3; allowed: one of url, ssh, host and s3",
        "site.yaml:7:66: remotes.dr.s3.part_size: '1048576' bytes are no size of a part; allowed: 5MiB to 5GiB",
        "site.yaml:8:64: remotes.er.verify: 'sample' has no meaning for a remote by s3; allowed: digest or size",
      ],
    ],
    [
      "keys of object stores that are none",
      `${head}remotes:
  cr: {s3: {buckets: [Lab, lab-c], credentials: AKIAHUNTER2}}
  dr: {s3: {buckets: [lab-d], credentials: {access_key: hunter2, secret_key: {file: nothing}}}}
  er: {s3: {buckets: [lab-e], credentials: {fil: x}}}
apps: {}
`,
      [
        /^site\.yaml:4:23: remotes\.cr\.s3\.buckets\[0\]: 'Lab' does not fit; allowed: the name of a bucket/,
        /^site\.yaml:4:49: remotes\.cr\.s3\.credentials: the value does not fit; allowed: anonymous, instance-role/,
        /^site\.yaml:5:57: remotes\.dr\.s3\.credentials\.access_key: a secret is never written into this file/,
        /^site\.yaml:6:31: remotes\.er\.s3\.credentials\.file: 'file' is missing/,
        /^site\.yaml:6:\d+: remotes\.er\.s3\.credentials\.fil: unknown key 'fil'; .*nearest: 'file'/,
      ],
    ],
    [
      "templates with unknown names",
      app(
        `command: [x, "{{thread}}", "{{config.x}}", "{{", "{{inputs.red}}"]\nparameters: {threads: {type: integer}}\ninputs: {reads: {from: "{{config.u}}", to: r}}`,
      ),
      [
        "site.yaml:7:18: apps.b.command[1]: '{{thread}}' at column 3 of '{{thread}}' is unknown; allowed: threads, inputs.reads, in, work, attempt, token; nearest: 'threads'",
        /^site\.yaml:7:32: apps\.b\.command\[2\]: .*commands take declared parameters only; allowed: a parameter with from: config\.x/,
        /^site\.yaml:7:48: apps\.b\.command\[3\]: '\{\{' at column 1 of '\{\{' has no '\}\}'/,
        /^site\.yaml:7:54: apps\.b\.command\[4\]: .* is unknown; .*nearest: 'inputs\.reads'/,
      ],
    ],
    [
      "parameters that contradict themselves",
      app(
        `command: [x]\nparameters: {p: {type: string, pattern: "(?=x)"}, t: {type: integer, default: 9, maximum: 8}, in: {type: boolean}}`,
      ),
      [
        /^site\.yaml:8:45: apps\.b\.parameters\.p\.pattern: '\(\?=x\)' is not a pattern/,
        "site.yaml:8:83: apps.b.parameters.t.default: '9' is out of range; allowed: a whole number from 0 to 8",
        /^site\.yaml:8:\d+: apps\.b\.parameters\.in: 'in' has a meaning of its own/,
      ],
    ],
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
    [
      "paths that leave their place, or meet",
      app(
        `command: [x]\ninputs: {a: {from: "{{config.u}}", to: ../x}, b: {from: "{{config.u}}", to: y}, c: {from: "{{config.u}}", to: y/}}\noutputs: {o: {from: "*.json"}, p: {from: /etc/passwd}, q: {from: "{{token}}"}}`,
      ),
      [
        /8:44: apps\.b\.inputs\.a\.to: '\.\.\/x' leaves its directory/,
        /inputs\.c\.to: 'y\/' is the place of input 'b'/,
        /outputs\.o\.from: '\*\.json' holds signs of a pattern; allowed: .*kind: glob/,
        /outputs\.p\.from: '\/etc\/passwd' is not a relative path/,
        /outputs\.q\.from: '\{\{token\}\}' is a template/,
      ],
    ],
    [
      "filters that are no expressions",
      app(`command: [x]\noutputs: {o: {from: ., kind: directory, include: ["*.a", "re:("], exclude: ["re:a.*"]}}`),
      [/^site\.yaml:8:\d+: apps\.b\.outputs\.o\.include\[1\]: .*it is no RE2 expression: /],
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
    [
      "variables that nobody may hand on or set",
      `${head}agent: {environment: [NODE_OPTIONS, HOME]}\napps: {b: {workflow: w, command: [x], target: local, environment: {SITEAGENT_X: y}}}\n`,
      [
        /3:23: agent\.environment\[0\]: 'NODE_OPTIONS' is never handed on/,
        /4:68: apps\.b\.environment\.SITEAGENT_X: 'SITEAGENT_X' is set by siteagent/,
      ],
    ],
    [
      "commands that jobs could rewrite",
      app(
        `command: ["{{tool}}", x]\nparameters: {tool: {type: string}}\nhooks: {preprocess: {command: [sh, -c, "echo {{tool}}"]}}`,
      ),
      [
        /7:15: apps\.b\.command\[0\]: the program .* would be chosen by the job/,
        /hooks\.preprocess\.command\[2\]: .* into the text of 'sh', where they are code/,
      ],
    ],
    [
      "addresses of the API that are none, or leak",
      `site: a\napi: {url: "http://api.example.org/", client_id: a, client_secret: {file: secret}, poll: 1ms}\napps: {}\n`,
      [
        /2:12: api\.url: .* would send the client secret in clear/,
        "site.yaml:2:90: api.poll: '1ms' is too short; allowed: at least 50ms",
      ],
    ],
  ])("names %s", async (_what, text, expected) => {
    const problems = await problemsOf(directory, text);
    expect(problems).toHaveLength(expected.length);
    for (const [index, wanted] of expected.entries()) {
      if (typeof wanted === "string") expect(problems[index]).toBe(wanted);
      else expect(problems[index]).toMatch(wanted);
    }
  });
});

describe("secrets", () => {
  const text = `${head}apps: {}\n`;
  it.each<[string, string, number, RegExp]>([
    ["readable by the group", "x", 0o640, /has mode '0640', allowed are 0600 and 0400; allowed: chmod 600 '/],
    ["readable by all", "x", 0o604, /has mode '0604'/],
    ["empty", "\n", 0o600, /is empty/],
    ["a megabyte long", "x".repeat(1_000_000), 0o600, /'1000000' bytes/],
  ])("refuses a file that is %s", async (_what, content, mode, message) => {
    await writeSecret(directory, content, mode);
    await writeFile(directory.join("site.yaml"), text);
    await expect(loadSite(directory.join("site.yaml"), builtInRegistries, { env: {} })).rejects.toThrow(message);
  });

  it("refuses a file that is not there, and a directory", async () => {
    const missing = text.replace("{file: secret}", "{file: nothing}");
    expect((await problemsOf(directory, missing))[0]).toMatch(
      /^site\.yaml:2:71: api\.client_secret: the secret 'nothing' cannot be read: ENOENT/,
    );
    expect((await problemsOf(directory, text.replace("{file: secret}", "{file: .}")))[0]).toMatch(
      /is not a plain file/,
    );
  });

  it("finds systemd credentials, and says when there are none", async () => {
    const credential = text.replace("{file: secret}", "{credential: api}");
    expect((await problemsOf(directory, credential))[0]).toMatch(
      /credential 'api' cannot be found: CREDENTIALS_DIRECTORY is not set/,
    );
  });
});
