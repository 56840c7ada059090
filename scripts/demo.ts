/**
 * `npm run demo`: as `siteagent demo`, and with `--slurm` its jobs run on a Slurm of their own on this host, which ends with this program.
 * `--install` brings Slurm from Debian's packages where it is missing (as root or with sudo).
 */
import { once } from "node:events";
import { join, resolve } from "node:path";
import { parseArgs } from "node:util";
import { runDemo } from "../src/demo/demo.ts";
import { slurm } from "../test/helpers/engines/slurm.ts";
import { SlurmCluster } from "../test/helpers/engines/slurm-cluster.ts";
import { repository } from "./lib/run.ts";
import { installEngines } from "./testing/install.ts";

const usage = "usage: npm run demo -- --slurm [--install] [--keep] [--directory FOLDER]";

const args = process.argv.slice(2);
if (args.includes("--slurm")) process.exitCode = await demoOnSlurm(args);
else {
  const main = join(repository, "src/main.ts");
  process.argv.splice(1, Infinity, main, "demo", ...args);
  await import(main);
}

async function demoOnSlurm(words: readonly string[]): Promise<number> {
  let options;
  try {
    options = parseArgs({
      args: [...words],
      options: {
        slurm: { type: "boolean" },
        install: { type: "boolean", default: false },
        keep: { type: "boolean", default: false },
        directory: { type: "string" },
      },
    }).values;
  } catch (error) {
    return fail(64, `${error instanceof Error ? error.message : String(error)}\n  ${usage}`);
  }
  const { install, keep, directory } = options;
  let found = await slurm.probe();
  if (!found.ok && install) {
    await installEngines(["slurm"]);
    found = await slurm.probe();
  }
  if (!found.ok) {
    const remedy = `add --install, or: apt-get install ${slurm.debianPackages.join(" ")}`;
    return fail(69, `no Slurm that could be started: ${found.reason}\n  hint: ${remedy}`);
  }
  await using cluster = await SlurmCluster.start({ nodes: 1 });
  const { PATH, ...environment } = cluster.environment;
  console.log(`0  A private Slurm (${found.version}) with one node\n   SLURM_CONF=${environment["SLURM_CONF"]}`);
  const signal = new AbortController();
  for (const name of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.once(name, () => signal.abort());
  const code = await runDemo({
    keep,
    ...(directory === undefined ? {} : { directory: resolve(directory) }),
    stdout: process.stdout,
    signal: signal.signal,
    place: {
      what: "that Slurm",
      name: "cpu",
      host: { path: PATH, environment },
      target: { launcher: "batch", scheduler: "slurm", partition: "main", poll: "1s" },
    },
  });
  if (keep && !signal.signal.aborted) {
    console.log("\nSlurm runs as long as this program does; Ctrl-C ends it.");
    await once(signal.signal, "abort");
  }
  return code;
}

function fail(code: number, message: string): number {
  console.error(`siteagent: ${message}`);
  return code;
}
