import { readdir, readFile } from "node:fs/promises";
import { basename, dirname, join, parse } from "node:path";
import { arraysIn, parseNote } from "../../src/launchers/batch/arrays.ts";
import { slurm as engine } from "../../test/helpers/engines/slurm.ts";
import { SlurmCluster } from "../../test/helpers/engines/slurm-cluster.ts";
import { TestSite } from "../../test/helpers/site.ts";
import { temporaryDirectory } from "../../test/helpers/temporary.ts";
import type { Phase, PhaseOptions, PhaseResult } from "./phases.ts";
import { playOn } from "./random.ts";
import { randomApps, shapes } from "./shapes.ts";

/** What leaves its session is ended by control groups, which this cluster does without. */
const cast = shapes.filter(({ app }) => app !== "daemon");

/** Kills agent and hub at random moments while jobs run on a real Slurm: besides the books, one scheduler job for each attempt. */
export const slurm: Phase = {
  name: "slurm",
  async run(options): Promise<PhaseResult> {
    const found = await engine.probe();
    if (!found.ok) {
      options.say(`not run: ${found.reason}`);
      return { counts: [["not run: no Slurm", 0]], failures: [] };
    }
    await using logs = await temporaryDirectory("sa-jobcomp-");
    const log = logs.join("completed");
    const settings = { JobCompType: "jobcomp/filetxt", JobCompLoc: log };
    await using cluster = await SlurmCluster.start({ nodes: 2, settings });
    const { PATH, ...environment } = cluster.environment;
    const site = await TestSite.start({
      apps: randomApps,
      armable: true,
      slots: 12,
      host: { path: PATH, environment },
      target: { launcher: "batch", scheduler: "slurm", poll: "1s", settle: "5s", walltime_margin: "10s" },
    });
    let scheduled = 0;
    const kills = Math.ceil(options.kills * 0.2);
    const share: PhaseOptions = { ...options, jobs: Math.ceil(options.jobs * 0.3), kills, agentKills: kills };
    const { counts, failures } = await playOn(site, cast, share, async () => {
      const books = await submissions(site.root, log);
      scheduled = books.scheduled;
      return books.wrong;
    });
    return { counts: [...counts, ["scheduler jobs and tasks", scheduled]], failures };
  },
};

/** What was submitted, by the notes beside the attempts, against what Slurm says that it ended. */
async function submissions(root: string, log: string): Promise<{ scheduled: number; wrong: readonly string[] }> {
  const wanted = new Map<string, number>();
  const ofAttempt = new Map<string, Set<string>>();
  for (const { token, attempt } of await noted(join(root, "work"))) {
    wanted.set(token, (wanted.get(token) ?? 0) + 1);
    ofAttempt.set(attempt, (ofAttempt.get(attempt) ?? new Set()).add(token));
  }
  const ended = new Map<string, Set<string>>();
  for (const [, id = "", name = ""] of (await readFile(log, "utf8")).matchAll(/^JobId=(\d+) .*?\bName=(\S+)/gm)) {
    ended.set(name, (ended.get(name) ?? new Set()).add(id));
  }
  const wrong: string[] = [];
  let scheduled = 0;
  for (const [token, ids] of ended) {
    scheduled += ids.size;
    const asked = wanted.get(token) ?? 0;
    if (ids.size > asked) wrong.push(`${ids.size} scheduler jobs bear the name ${token} of ${asked} attempts`);
  }
  for (const [attempt, tokens] of ofAttempt) {
    const taken = [...tokens].filter((token) => ended.has(token));
    if (taken.length > 1) wrong.push(`Slurm took the attempt in '${attempt}' as ${taken.join(" and as ")}`);
  }
  return { scheduled, wrong };
}

/** The directory of each attempt with the name of a scheduler job under which it may have been submitted: by itself, or as a task. */
async function noted(workdir: string): Promise<Iterable<{ readonly token: string; readonly attempt: string }>> {
  // A task that has begun is named by the note of its array and beside its attempt.
  const found = new Map<string, { readonly token: string; readonly attempt: string }>();
  const note = (token: string, attempt: string): void => void found.set(`${token} ${attempt}`, { token, attempt });
  for (const name of await readdir(workdir, { recursive: true })) {
    const path = join(workdir, name);
    if (basename(path) === "submission") {
      const { token } = JSON.parse(await readFile(path, "utf8")) as { token: string };
      note(token, dirname(path));
    }
    const tasks = dirname(path) === arraysIn(workdir) ? parseNote(await readFile(path, "utf8"))?.tasks : undefined;
    for (const { directory } of tasks ?? []) note(parse(path).name, directory);
  }
  return found.values();
}
