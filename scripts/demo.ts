/**
 * `npm run demo`: as `siteagent demo`, and with `--slurm` its jobs run on a Slurm of their own on this host, which ends with this program:
 * once in each way that `--on` names, else in all. `--install` brings Slurm and sshd from Debian's packages where they are missing (as root
 * or with sudo).
 */
import { once } from "node:events";
import { join, resolve } from "node:path";
import { parseArgs } from "node:util";
import { runDemo } from "../src/demo/demo.ts";
import type { DemoPlace } from "../src/demo/scene.ts";
import { engines } from "../test/helpers/engines/registry.ts";
import { SlurmCluster } from "../test/helpers/engines/slurm-cluster.ts";
import { SshServer } from "../test/helpers/engines/ssh-server.ts";
import { waitFor } from "../test/helpers/wait.ts";
import { repository } from "./lib/run.ts";
import { installEngines } from "./testing/install.ts";

/** Launchers, each with a scheduler on this machine and with one that is reached by SSH. */
const ways = ["batch", "pilot", "batch-ssh", "pilot-ssh"] as const;
type Way = (typeof ways)[number];

const usage = `usage: npm run demo -- --slurm [--on ${ways.join("|")}]… [--install] [--keep] [--directory FOLDER]`;

const args = process.argv.slice(2);
if (args.includes("--slurm")) process.exitCode = await demoOnSlurm(args);
else {
  const main = join(repository, "src/main.ts");
  process.argv.splice(1, Infinity, main, "demo", ...args);
  await import(main);
}

interface Options {
  readonly install: boolean;
  readonly keep: boolean;
  readonly directory: string | undefined;
  readonly on: readonly Way[];
}

function optionsOf(words: readonly string[]): Options | string {
  try {
    const { values } = parseArgs({
      args: [...words],
      options: {
        slurm: { type: "boolean" },
        on: { type: "string", multiple: true, default: [...ways] },
        install: { type: "boolean", default: false },
        keep: { type: "boolean", default: false },
        directory: { type: "string" },
      },
    });
    const { install, keep, directory } = values;
    const wrong = values.on.find((word) => !ways.some((way) => way === word));
    if (wrong !== undefined) return `--on: '${wrong}' is none of ${ways.join(", ")}`;
    if (keep && values.on.length > 1) return "--keep leaves one running: say which with --on";
    return { install, keep, directory, on: ways.filter((way) => values.on.includes(way)) };
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}

async function demoOnSlurm(words: readonly string[]): Promise<number> {
  const options = optionsOf(words);
  if (typeof options === "string") return fail(64, `${options}\n  ${usage}`);
  const missing = await missingEngine(options);
  if (missing !== undefined) return fail(69, missing);
  await using cluster = await SlurmCluster.start({ nodes: 1 });
  await using server = options.on.some(bySsh) ? await SshServer.start() : undefined;
  console.log(`0  A private Slurm with one node\n   SLURM_CONF=${cluster.environment["SLURM_CONF"]}`);
  if (server) console.log(`   and an OpenSSH server on port ${server.port} of 127.0.0.1`);
  const signal = new AbortController();
  for (const name of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.once(name, () => signal.abort());
  for (const way of options.on) {
    const code = await runDemo({
      keep: options.keep,
      ...(options.directory === undefined ? {} : { directory: resolve(options.directory) }),
      stdout: process.stdout,
      signal: signal.signal,
      place: placeOf(way, cluster, server),
    });
    if (code !== 0) return code;
    if (!options.keep) await emptied(cluster);
  }
  if (options.keep && !signal.signal.aborted) {
    console.log("\nSlurm runs as long as this program does; Ctrl-C ends it.");
    await once(signal.signal, "abort");
  }
  return 0;
}

/** An allocation waits a while for more work: it ends before its directory is another's. */
async function emptied(cluster: SlurmCluster): Promise<void> {
  await cluster.run("scancel", "--me");
  await waitFor(async () => (await cluster.run("squeue", "-h", "--me")) === "", {
    what: "the end of all scheduler jobs",
    timeoutMs: 60_000,
    intervalMs: 500,
  });
}

function bySsh(way: Way): boolean {
  return way.endsWith("-ssh");
}

/** Why it cannot be shown; undefined = it can. */
async function missingEngine({ on, install }: Options): Promise<string | undefined> {
  for (const name of on.some(bySsh) ? (["slurm", "sshd"] as const) : (["slurm"] as const)) {
    const engine = engines[name];
    let found = await engine.probe();
    if (!found.ok && install) {
      await installEngines([name]);
      found = await engine.probe();
    }
    if (found.ok) continue;
    const remedy = `add --install, or: apt-get install ${engine.debianPackages.join(" ")}`;
    return `no ${name} that could be started: ${found.reason}\n  hint: ${remedy}`;
  }
  return undefined;
}

function placeOf(way: Way, cluster: SlurmCluster, server: SshServer | undefined): DemoPlace {
  const { PATH, ...environment } = cluster.environment;
  const ssh = server && {
    host: "127.0.0.1",
    port: server.port,
    key: { file: server.userKey },
    known_hosts: server.knownHosts,
    config: false,
  };
  const scheduler = { scheduler: "slurm", partition: "main", poll: "1s" };
  return {
    what: `that Slurm, ${way.startsWith("pilot") ? "packed into an allocation" : "a scheduler job for each attempt"}${bySsh(way) ? ", reached by SSH" : ""}`,
    name: way,
    host: { path: PATH, environment, ...(ssh && bySsh(way) ? { ssh } : {}) },
    target: way.startsWith("pilot")
      ? { launcher: "pilot", ...scheduler, node_cores: 4, walltime: "30m", idle: "30s" }
      : { launcher: "batch", ...scheduler },
  };
}

function fail(code: number, message: string): number {
  console.error(`siteagent: ${message}`);
  return code;
}
