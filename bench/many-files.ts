/** What the memory of a process grows by when it moves very many files. */
import { existsSync, linkSync, mkdirSync, writeFileSync } from "node:fs";
import { mkdir, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { SshServer } from "../test/helpers/engines/ssh-server.ts";
import { sshd } from "../test/helpers/engines/sshd.ts";
import { Program } from "../test/helpers/program.ts";
import type { Bench, BenchOptions, Figure } from "./lib/bench.ts";
import type { ManyFilesTask } from "./lib/many-files-child.ts";
import { memoryMiB } from "./lib/process.ts";

const limitMiB = 150;
const filesPerDirectory = 1_000;
/** Names of one file: more are not allowed on every file system. */
const namesPerFile = 10_000;
const longestMs = 3_600_000;
/** As bin/siteagent starts an agent, whose heap of the C library and young generation are small. */
const asAgent = ["--max-semi-space-size=1"];

export const bench: Bench = {
  about:
    "Files of a few bytes in directories of 1,000, staged in by the engine in a process of its own that records each file as the agent does: as links of this machine, and over a private sshd on loopback. Then both once more by a new process, which finds all of them there. All on a file system in memory where there is one. PSS of the process, looked at four times a second, less what it had before the first file.",
  async run(options) {
    const { quick, say } = options;
    const base = await mkdtemp(join(existsSync("/dev/shm") ? "/dev/shm" : tmpdir(), "sa-many-"));
    try {
      const figures: Figure[] = [];
      const links = quick ? 20_000 : 1_000_000;
      makeTree(join(base, "source"), links);
      figures.push(...(await both(options, links, { source: join(base, "source"), job: join(base, "links") })));
      const found = await sshd.probe();
      if (!found.ok) {
        say(`not measured over SFTP: ${found.reason}`);
        return figures;
      }
      const far = quick ? 5_000 : 200_000;
      makeTree(join(base, "far"), far);
      await using server = await SshServer.start();
      const settings = server.settings({ port: server.port });
      figures.push(...(await both(options, far, { settings, source: join(base, "far"), job: join(base, "copies") })));
      return figures;
    } finally {
      await rm(base, { recursive: true, force: true });
    }
  },
};

/** Everything is moved, and then everything is found. */
async function both({ say }: BenchOptions, files: number, task: ManyFilesTask): Promise<readonly Figure[]> {
  await mkdir(task.job, { recursive: true });
  const figures: Figure[] = [];
  for (const [what, known] of [
    ["moved", false],
    ["found there", true],
  ] as const) {
    const startedAt = performance.now();
    const grown = await growth(task, files, known);
    const name = `${files} files ${task.settings ? "over SFTP" : "of this machine"} ${what}`;
    const seconds = (performance.now() - startedAt) / 1000;
    say(`${name}: ${grown.toFixed(0)} MiB more, ${seconds.toFixed(0)} s`);
    const goal = { text: `≤ ${limitMiB} MiB`, held: grown <= limitMiB };
    figures.push({ what: `${name}, MiB of PSS`, values: [grown], goal });
  }
  return figures;
}

/** MiB of PSS above those of the process before it began. */
async function growth(task: ManyFilesTask, files: number, known: boolean): Promise<number> {
  const script = join(import.meta.dirname, "lib/many-files-child.ts");
  const { MALLOC_ARENA_MAX = "1", MALLOC_TRIM_THRESHOLD_ = "131072" } = process.env;
  const env = { ...process.env, MALLOC_ARENA_MAX, MALLOC_TRIM_THRESHOLD_ };
  await using child = await Program.start(process.execPath, [...asAgent, script, JSON.stringify(task)], { env });
  await child.output(/^idle$/m, { timeoutMs: 60_000 });
  const idle = memoryMiB(child.pid).pss;
  let most = idle;
  child.write("go\n");
  const said = child.output(/^\{.*\}$/m, { timeoutMs: longestMs });
  while ((await Promise.race([said, sleep(250)])) === undefined) most = Math.max(most, memoryMiB(child.pid).pss);
  const outcome = JSON.parse((await said)[0]) as { readonly files: number; readonly movedBytes: number };
  if (outcome.files !== files) throw new Error(`${outcome.files} of ${files} files lie there`);
  if (known && outcome.movedBytes > 0) throw new Error(`${outcome.movedBytes} bytes were moved once more`);
  return most - idle;
}

function makeTree(root: string, files: number): void {
  let first = "";
  for (let n = 0; n < files; n++) {
    const directory = join(root, String(Math.floor(n / filesPerDirectory)));
    if (n % filesPerDirectory === 0) mkdirSync(directory, { recursive: true });
    const path = join(directory, `file-${n}`);
    if (n % namesPerFile !== 0) linkSync(first, path);
    else writeFileSync((first = path), `${n}\n`);
  }
}
