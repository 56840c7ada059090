import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { z } from "zod";
import { isFault } from "../../../src/common/fault.ts";
import { loadSite, parseSite } from "../../../src/config/compile.ts";
import { storesOf } from "../../../src/compose-stores.ts";
import { builtInRegistries } from "../../../src/config/registries.ts";
import { readSecret } from "../../../src/config/secrets.ts";
import { showSite } from "../../../src/config/show.ts";
import { type TemporaryDirectory, temporaryDirectory } from "../../helpers/temporary.ts";
import { head, load, writeSecret } from "./files.ts";

let directory: TemporaryDirectory;
beforeEach(async () => {
  directory = await temporaryDirectory();
});
afterEach(async () => {
  await directory[Symbol.asyncDispose]();
});

const small = `${head}apps: {b: {workflow: w, command: [x], target: local}}\n`;

describe("loadSite", () => {
  it("gives defaults, milliseconds, bytes and absolute paths", async () => {
    const site = await load(directory, small, { SITEAGENT_STATE_DIR: "/s", SITEAGENT_RUNTIME_DIR: "/r" });
    expect(site).toMatchObject({
      file: directory.join("site.yaml"),
      id: "lab-a",
      api: { url: "https://api.example.org", dialect: "auto", pollMs: 15_000, timeoutMs: 30_000, clientId: "sys0a1" },
      agent: { stateDir: "/s", runtimeDir: "/r", keepMs: 604_800_000, report: "minimal", claim: true, environment: [] },
      hosts: {
        here: {
          name: "here",
          kind: "local",
          workdir: "/s/work",
          path: "/usr/local/bin:/usr/bin:/bin",
          environment: {},
        },
      },
      targets: { local: { host: "here", launcher: "local", cores: undefined } },
      policy: { sources: [], destinations: [], allow_private: [] },
      maxOutputBytes: 2 ** 30,
      hooks: { maxTimeoutMs: 3_600_000, maxOutputBytes: 2 ** 20 },
      apps: { b: { name: "b", workflow: "w", grace: 30_000, umask: "077" } },
    });
    expect(site.targets["local"]?.slots).toBeGreaterThan(0);
    expect(site.api.clientSecret.path).toBe(directory.join("secret"));
    expect(await readSecret(site.api.clientSecret)).toBe("s3cret");
    expect(JSON.stringify(site)).not.toContain("s3cret");
  });

  it("takes hosts reached by SSH as they are written, with absolute paths and no secret", async () => {
    const key = directory.join("key");
    for (const name of ["key", "passphrase", "known", "config"])
      await writeFile(directory.join(name), "hunter2\n", { mode: 0o600 });
    const site = await load(
      directory,
      `${head}hosts:
  small: {workdir: /scratch/a/, ssh: {host: login}}
  large:
    workdir: /scratch/b
    path: /opt/slurm/bin:/bin
    environment: {SLURM_CONF: /etc/slurm.conf}
    ssh: {host: [a, b], user: svc, port: 2222, key: {file: key}, passphrase: {file: passphrase}, known_hosts: known, jump: "x@gate:22", agent: true, keepalive: 1m, config: config}
targets: {t: {host: large, launcher: batch, scheduler: slurm}}
apps: {}
`,
    );
    const usual = { user: undefined, port: undefined, key: undefined, passphrase: undefined, knownHosts: undefined };
    expect(site.hosts["small"]).toEqual({
      name: "small",
      kind: "ssh",
      workdir: "/scratch/a",
      path: "/usr/local/bin:/usr/bin:/bin",
      environment: {},
      ssh: { hosts: ["login"], ...usual, jump: undefined, agent: undefined, keepaliveMs: 15_000, config: true },
    });
    expect(site.hosts["large"]).toMatchObject({
      path: "/opt/slurm/bin:/bin",
      environment: { SLURM_CONF: "/etc/slurm.conf" },
      ssh: {
        hosts: ["a", "b"],
        user: "svc",
        port: 2222,
        key: { path: key, label: key },
        passphrase: { path: directory.join("passphrase") },
        knownHosts: directory.join("known"),
        jump: ["x@gate:22"],
        agent: true,
        keepaliveMs: 60_000,
        config: directory.join("config"),
      },
    });
    expect(JSON.stringify(site)).not.toContain("hunter2");
  });

  it("resolves ~ and relative paths against home and the file's directory", async () => {
    const site = await load(directory, `${small}hosts: {here: {workdir: ~/w}, other: {workdir: ../w/./x/}}\n`);
    expect(site.hosts["here"]?.workdir).toBe(directory.join("w"));
    expect(site.hosts["other"]?.workdir).toBe(join(directory.path, "..", "w", "x"));
  });

  it("takes systemd credentials", async () => {
    await writeSecret(directory, "from systemd\n", 0o440);
    const text = small.replace("{file: secret}", "{credential: secret}");
    const file = directory.join("site.yaml");
    const site = await parseSite(text, file, builtInRegistries, { env: { CREDENTIALS_DIRECTORY: directory.path } });
    expect(site.api.clientSecret.label).toBe("credential secret");
    expect(await readSecret(site.api.clientSecret)).toBe("from systemd");
  });

  it("G5: notices a secret that became readable for others", async () => {
    const site = await load(directory, small);
    await writeSecret(directory, "new", 0o644);
    await expect(readSecret(site.api.clientSecret)).rejects.toSatisfy((error) => isFault(error, "SECRET"));
  });

  it("has a digest of the settings, not of layout and comments, and one for each app", async () => {
    const first = await load(
      directory,
      `${head}apps: {b: {workflow: w, command: [x], target: local}, c: {workflow: v, command: [y], target: local}}\n`,
    );
    const same = await load(
      directory,
      `# other layout\n${head}apps:\n  c: {command: [y], workflow: v, target: local, grace: 30s}\n  b: {workflow: w, target: local, command: [x]}\n`,
    );
    const other = await load(
      directory,
      `${head}apps: {b: {workflow: w, command: [x], target: local}, c: {workflow: v, command: [z], target: local}}\n`,
    );
    expect(same.digest).toBe(first.digest);
    expect(other.digest).not.toBe(first.digest);
    expect(other.appDigests["b"]).toBe(first.appDigests["b"]);
    expect(other.appDigests["c"]).not.toBe(first.appDigests["c"]);
  });

  it("puts remotes, the site's retry and its ceiling into the apps", async () => {
    const site = await load(
      directory,
      `${head}remotes: {archive: {url: "https://ar.example.org/in/"}}
retry: {attempts: 4}
max_output: 1MiB
apps:
  a: {workflow: w, command: [x], target: local, inputs: {i: {from: "archive:/a/{{config.n}}", to: i}}, outputs: {o: {from: o, to: "archive:/o/{{token}}"}}}
  b: {workflow: v, command: [x], target: local, retry: {attempts: 2}}
`,
    );
    expect(site.apps["a"]).toMatchObject({
      inputs: { i: { from: "https://ar.example.org/in/a/{{config.n}}" } },
      outputs: { o: { to: "https://ar.example.org/in/o/{{token}}" } },
      retry: { attempts: 4 },
      max_output: 2 ** 20,
    });
    expect(site.apps["b"]?.retry.attempts).toBe(2);
  });

  it("puts remotes by SSH into apps and policy, with the settings of a host or their own", async () => {
    const site = await load(
      directory,
      `${head}hosts: {here: {}, login: {workdir: /w, ssh: {host: login.example.org, user: svc}}}
remotes: {archive: {host: login, path: "/data/a b/"}, other: {ssh: {host: o.example.org}, by: rsync, verify: size, files: 2}}
policy: {sources: ["archive:/in/", "other:/"], destinations: ["sftp://archive/data/out/"]}
targets: {local: {host: here, launcher: local}}
apps:
  a: {workflow: w, command: [x], target: local, inputs: {i: {from: "archive:/in/{{config.n}}", to: i}}, outputs: {o: {from: o, to: "other:/o/"}}}
`,
    );
    expect(site.apps["a"]).toMatchObject({
      inputs: { i: { from: "sftp://archive/data/a%20b/in/{{config.n}}" } },
      outputs: { o: { to: "rsync://other/o/" } },
    });
    expect(site.policy.sources).toEqual(["sftp://archive/data/a%20b/in/", "rsync://other/"]);
    expect(site.remotes).toMatchObject({
      archive: {
        files: 16,
        sftp: {
          ssh: { hosts: ["login.example.org"], user: "svc" },
          verify: "digest",
          existing: "replace",
          shell: true,
        },
      },
      other: { files: 2, sftp: { ssh: { hosts: ["o.example.org"] }, verify: "size" } },
    });
  });

  it("puts object stores into apps and policy, with keys by reference", async () => {
    await writeSecret(directory);
    const site = await load(
      directory,
      `${head}remotes:
  archive: {s3: {endpoint: "https://s3.example.org", buckets: [lab-a, shared], credentials: {file: secret, profile: a}}, path: "/results/x y/"}
  public: {s3: {region: cn-north-1, buckets: [open-data], credentials: anonymous, part_size: 1GiB}, verify: size, files: 2}
  cloud: {s3: {endpoint: "http://127.0.0.1:9000", path_style: false, buckets: [mine], credentials: {access_key: {file: secret}, secret_key: {file: secret}}}}
policy: {sources: ["s3://shared/in/"], destinations: ["archive:/"]}
apps: {a: {workflow: w, command: [x], target: local, outputs: {o: {from: o, to: "archive:/o/"}}}}
`,
    );
    expect(site.apps["a"]?.outputs["o"]?.to).toBe("s3://archive/results/x%20y/o/");
    expect(site.policy).toMatchObject({ sources: ["s3://shared/in/"], destinations: ["s3://archive/results/x%20y/"] });
    const secret = { path: directory.join("secret") };
    expect(site.remotes).toMatchObject({
      archive: {
        files: 8,
        s3: {
          endpoint: "https://s3.example.org",
          pathStyle: true,
          keys: { kind: "file", file: secret, profile: "a" },
          partBytes: 2 ** 24,
          existing: "replace",
        },
      },
      public: {
        files: 2,
        s3: {
          endpoint: "https://s3.cn-north-1.amazonaws.com.cn",
          pathStyle: false,
          keys: { kind: "anonymous" },
          partBytes: 2 ** 30,
          verify: "size",
        },
      },
      cloud: { s3: { pathStyle: false, keys: { kind: "keys", accessKey: secret, secretKey: secret } } },
    });
    const find = storesOf(site);
    expect(["archive", "lab-a", "shared", "public", "nothing"].map((host) => find(host)?.bucket)).toEqual([
      "lab-a",
      "lab-a",
      "shared",
      "open-data",
      undefined,
    ]);
    expect(find("shared")?.label).toBe("archive");
  });

  it("counts GPUs from those that a scheduler showed the agent, else from the first of the machine", async () => {
    await writeSecret(directory);
    const text = `${small}targets: {a: {host: here, launcher: local, gpus: 2}, local: {host: here, launcher: local}}\n`;
    const read = (env: NodeJS.ProcessEnv) => parseSite(text, directory.join("site.yaml"), builtInRegistries, { env });
    expect((await read({})).targets["a"]).toMatchObject({ gpus: 2, gpuVendor: "nvidia", gpuIds: ["0", "1"] });
    expect((await read({ CUDA_VISIBLE_DEVICES: "4,5,6" })).targets["a"]?.gpuIds).toEqual(["4", "5"]);
    await expect(read({ CUDA_VISIBLE_DEVICES: "4" })).rejects.toThrow(
      /targets\.a\.gpus: '2' GPUs are more than CUDA_VISIBLE_DEVICES shows this process: 4; allowed: at most 1/,
    );
  });

  it("leaves GPUs to a scheduler that gives allocations", async () => {
    await writeSecret(directory);
    const launchers = { ...builtInRegistries.launchers, cluster: { settings: z.strictObject({}), allocation: true } };
    const registries = { ...builtInRegistries, launchers };
    const text = (gpus: string): string =>
      `${small}targets: {a: {host: here, launcher: cluster, gpus: ${gpus}}, local: {host: here, launcher: local}}\n`;
    const site = await parseSite(text("4"), directory.join("site.yaml"), registries, { env: {} });
    expect(site.targets["a"]).toMatchObject({ gpus: 4, gpuIds: [], allocation: true });
    await expect(parseSite(text("[0, 1]"), directory.join("site.yaml"), registries, { env: {} })).rejects.toThrow(
      /targets\.a\.gpus: which GPUs an attempt gets says the scheduler; allowed: how many/,
    );
  });

  it("refuses starters that cannot be told their nodes where attempts are packed into an allocation", async () => {
    await writeSecret(directory);
    const settings = z.strictObject({});
    const launchers = {
      ...builtInRegistries.launchers,
      whole: { settings, allocation: true },
      packed: { settings, allocation: true, packs: true },
    };
    const registries = { ...builtInRegistries, launchers };
    const text = (launcher: string, app: string): string =>
      `${head}targets: {a: {host: here, launcher: ${launcher}}}\napps: {x: {workflow: x, command: [x], target: a, ${app}}}\n`;
    const read = (launcher: string, app: string) =>
      parseSite(text(launcher, app), directory.join("site.yaml"), registries, { env: {} });
    const starter = (name: string): string => `mpi: {starter: ${name}}`;
    expect((await read("whole", starter("aprun"))).targets["a"]).toMatchObject({ allocation: true, shared: false });
    await expect(read("packed", starter("aprun"))).rejects.toThrow(
      /apps\.x\.mpi\.starter: 'aprun' starts ranks .* gives no attempt one of its own; allowed: srun, mpiexec-openmpi/,
    );
    const wide = "resources: {nodes: 2}";
    expect((await read("packed", `${starter("srun")}, ${wide}`)).apps["x"]?.resources.nodes).toBe(2);
    for (const app of [wide, `${wide}, ${starter("mpirun")}`, `${wide}, ${starter("[run]")}`])
      await expect(read("packed", app)).rejects.toThrow(
        /apps\.x\.resources\.nodes: on several nodes .* needs an MPI starter that can be told which; allowed: 1, or one of srun, mpiexec-openmpi, mpiexec-hydra, mpiexec-pals/,
      );
  });

  it("takes kinds of launchers and schemes that the registries add", async () => {
    const registries = {
      ...builtInRegistries,
      launchers: {
        ...builtInRegistries.launchers,
        mine: { settings: z.strictObject({ speed: z.enum(["fast", "slow"]) }), allocation: false },
      },
      schemes: ["gopher"],
    };
    await writeSecret(directory);
    const text = `${small}targets: {local: {host: here, launcher: mine, speed: fast}}\npolicy: {sources: [gopher://x.example.org/]}\n`;
    const site = await parseSite(text, directory.join("site.yaml"), registries, { env: {} });
    expect(site.targets["local"]?.settings).toEqual({ speed: "fast" });
    const bad = text.replace("speed: fast", "speed: fats");
    await expect(parseSite(bad, directory.join("site.yaml"), registries, { env: {} })).rejects.toThrow(
      /targets\.local\.speed: 'fats' does not fit; allowed: fast, slow; nearest: 'fast'/,
    );
  });

  it("accepts http to this machine and, if told to, elsewhere", async () => {
    for (const api of [
      "url: http://127.0.0.1:8900",
      "url: 'http://[::1]:8900/'",
      "allow_http: true, url: http://hub:8900",
    ]) {
      const site = await load(directory, small.replace("url: https://api.example.org", api));
      expect(site.api.url).toMatch(/^http:.*:8900$/);
    }
  });
});

describe("showSite", () => {
  it("shows every value with its origin, and no secret", async () => {
    await load(directory, `${small}retry: {attempts: 3}\n`);
    const shown = await showSite(directory.join("site.yaml"), builtInRegistries, {
      env: { SITEAGENT_STATE_DIR: "/s" },
    });
    const byPath = Object.fromEntries(shown.settings.map(({ path, value, origin }) => [path, [value, origin]]));
    const file = directory.join("site.yaml");
    expect(byPath).toMatchObject({
      site: ["lab-a", `${file}:1`],
      "api.poll": ["15s", "default"],
      "api.client_secret.file": ["secret", `${file}:2`],
      "agent.state_dir": ["/s", "default"],
      "hosts.here.workdir": ["/s/work", "default"],
      "targets.local.launcher": ["local", "default"],
      "apps.b.command": [["x"], `${file}:3`],
      "apps.b.retry.attempts": [3, "site"],
      "retry.attempts": [3, `${file}:4`],
    });
    expect(JSON.stringify(shown)).not.toContain("s3cret");
  });
});

describe("config/site.example.yaml", () => {
  const example = join(import.meta.dirname, "../../../config/site.example.yaml");

  it("compiles as it is, but for the place of the secret", async () => {
    await writeSecret(directory);
    const text = (await readFile(example, "utf8")).replace("/etc/siteagent/secret", directory.join("secret"));
    const site = await parseSite(text, example, builtInRegistries, { env: {} });
    expect(Object.keys(site.apps)).toEqual(["readqc", "terminal-report"]);
  });

  it("names every problem of a machine that has no secret yet at its place", async () => {
    const text = await readFile(example, "utf8");
    const line = text.split("\n").findIndex((found) => found.includes("client_secret")) + 1;
    const other = text.replace("/etc/siteagent/secret", directory.join("none"));
    await expect(parseSite(other, example, builtInRegistries, { env: {} })).rejects.toThrow(
      new RegExp(`site\\.example\\.yaml:${line}:18: api\\.client_secret`),
    );
    await expect(loadSite(directory.join("none.yaml"), builtInRegistries)).rejects.toThrow(/no such file/);
  });
});
