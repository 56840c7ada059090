/** How long a person waits for the command line: the release build, beside an empty Node. */
import { execFile } from "node:child_process";
import { cp, rm, stat, symlink } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import { build } from "../scripts/build/build.ts";
import { repository } from "../scripts/lib/run.ts";
import { cleanEnvironment } from "../test/helpers/cli.ts";
import { temporaryDirectory } from "../test/helpers/temporary.ts";
import { type Bench, type Figure, quantile, median } from "./lib/bench.ts";
import { BenchHub, newPlace } from "./lib/hub.ts";

const run = promisify(execFile);
const versionGoalMs = 150;
const jobsGoalMs = 300;

export const bench: Bench = {
  about:
    "The command line as installed (compiled to dist, started through bin/siteagent), from its start to its end: `siteagent version`, and `siteagent jobs` against a hub on this machine with 100 jobs. Beside: `node -e 0` with the same Node, in turn with them. Balsam's command line takes 650 ms on two such cores.",
  async run({ quick, ...options }) {
    const rounds = quick ? 5 : 30;
    await using root = await release();
    await using place = await newPlace("sqlite");
    await using hub = await BenchHub.start(place);
    const token = await hub.adminToken();
    const jobs = Array.from({ length: 100 }, (_, i) => ({ workflow: "bench-1.0.0", name: `job ${i}` }));
    await hub.call("POST", "/siteagent/v1/jobs:bulk", token, JSON.stringify({ jobs }));
    const bin = root.join("bin", "siteagent");
    const env = cleanEnvironment(root.path, { SITEAGENT_HUB: hub.url, SITEAGENT_TOKEN: token });
    const took = { node: [] as number[], version: [] as number[], jobs: [] as number[] };
    for (let i = -2; i < rounds; i++) {
      const node = await timed(process.execPath, ["-e", "0"], env);
      const version = await timed(bin, ["version"], env);
      const list = await timed(bin, ["jobs"], env);
      if (i < 0) continue; // files come from the disk at first
      took.node.push(node);
      took.version.push(version);
      took.jobs.push(list);
    }
    options.say(`node ${median(took.node).toFixed(0)} ms, version ${median(took.version).toFixed(0)} ms`);
    return [
      figure("version", took.version, took.node, versionGoalMs),
      figure("jobs", took.jobs, took.node, jobsGoalMs),
    ];
  },
};

function figure(command: string, values: readonly number[], beside: readonly number[], goalMs: number): Figure {
  return {
    what: `siteagent ${command}, ms`,
    values,
    beside: { what: "node -e 0", values: beside },
    goal: { text: `p50 ≤ ${goalMs} ms (p99 ${quantile(values, 0.99).toFixed(0)})`, held: median(values) <= goalMs },
  };
}

/** What a package holds, in a directory of its own. */
async function release() {
  const directory = await temporaryDirectory("sa-release-");
  const dist = join(repository, "dist");
  const before = await stat(dist).catch(() => undefined);
  try {
    await build();
    for (const part of ["dist", "bin", "package.json"]) {
      await cp(join(repository, part), directory.join(part), { recursive: true });
    }
    await symlink(join(repository, "node_modules"), directory.join("node_modules"));
  } finally {
    if (!before) await rm(dist, { recursive: true, force: true });
  }
  return directory;
}

async function timed(file: string, args: readonly string[], env: NodeJS.ProcessEnv): Promise<number> {
  const startedAt = performance.now();
  await run(file, args, { env });
  return performance.now() - startedAt;
}
