import { describe, it } from "vitest";
import { type Misfits, expectMisfits, head } from "./files.ts";

const cases: readonly Misfits[] = [
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
    [/hosts\.login\.ssh\.passphrase: a passphrase opens a key, and none is named; allowed: beside key: \{file: PATH\}/],
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
    "addresses of the API that are none, or leak",
    `site: a\napi: {url: "http://api.example.org/", client_id: a, client_secret: {file: secret}, poll: 1ms}\napps: {}\n`,
    [
      /2:12: api\.url: .* would send the client secret in clear/,
      "site.yaml:2:90: api.poll: '1ms' is too short; allowed: at least 50ms",
    ],
  ],
];

describe("things that do not fit each other: hosts, remotes, stores and addresses", () => {
  it.each(cases)("names %s", (_what, text, expected) => expectMisfits(text, expected));
});
