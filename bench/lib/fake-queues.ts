/** Commands of schedulers that print a queue of so many running jobs, and note each call. No scheduler behind them: what is measured is ours. */
import { chmod, mkdir, readFile, writeFile } from "node:fs/promises";
import { newToken } from "../../src/common/token.ts";
import { LocalHost } from "../../src/hosts/local/index.ts";
import { createPbs } from "../../src/schedulers/pbs/index.ts";
import { createGridEngine } from "../../src/schedulers/sge/index.ts";
import { createSlurm } from "../../src/schedulers/slurm/index.ts";
import type { ScheduledJob, Scheduler, SchedulerOptions } from "../../src/schedulers/types.ts";
import { temporaryDirectory } from "../../test/helpers/temporary.ts";

export interface FakeQueue extends AsyncDisposable {
  readonly scheduler: Scheduler;
  readonly jobs: readonly ScheduledJob[];
  /** Names of the commands so far. */
  calls(): Promise<readonly string[]>;
}

interface Kind {
  create(options: SchedulerOptions): Scheduler;
  idOf(number: number): string;
  /** What each command prints; `QUEUE` stands for the list of jobs. */
  readonly commands: Readonly<Record<string, string>>;
  queue(jobs: readonly ScheduledJob[]): string;
}

const facts =
  "AccountingStorageType = (null)\nClusterName = blue\nMaxArraySize = 1001\nMinJobAge = 300 sec\nSLURM_VERSION = 23.11.4\n";

export const kinds: Readonly<Record<string, Kind>> = {
  slurm: {
    create: createSlurm,
    idOf: (number) => String(number),
    commands: { scontrol: facts, squeue: "QUEUE" },
    queue: (jobs) => jobs.map(slurmRow).join("\n"),
  },
  pbs: {
    create: createPbs,
    idOf: (number) => `${number}.pbshost`,
    commands: { qstat: "QUEUE" },
    queue: (jobs) => `${JSON.stringify(pbsAnswer(jobs), null, "\t").replaceAll(/":\s/g, '":\t')}\n`,
  },
  sge: {
    create: createGridEngine,
    idOf: (number) => String(number),
    commands: { qstat: "QUEUE" },
    queue: (jobs) => `<job_info>\n<queue_info>\n${jobs.map(sgeEntry).join("\n")}\n</queue_info>\n</job_info>\n`,
  },
};

export async function fakeQueue(kind: Kind, count: number): Promise<FakeQueue> {
  const directory = await temporaryDirectory("sa-bench-");
  const submittedAt = new Date(1_780_000_000_000).toISOString();
  const jobs = Array.from({ length: count }, (_, index): ScheduledJob => {
    return { id: kind.idOf(1_000 + index), token: newToken(), submittedAt };
  });
  await mkdir(directory.join("bin"));
  for (const [name, output] of Object.entries(kind.commands)) {
    await writeFile(
      directory.join(`${name}.out`),
      output.replace("QUEUE", () => kind.queue(jobs)),
    );
    // PBS is asked for its version once.
    const version = `[ "$1" != --version ] || { echo "pbs_version = 23.06.06"; exit; }`;
    const note = `echo ${name} >>${directory.join("calls")}`;
    const text = `#!/bin/sh\n${version}\n${note}\nexec /bin/cat ${directory.join(`${name}.out`)}\n`;
    await writeFile(directory.join("bin", name), text);
    await chmod(directory.join("bin", name), 0o755);
  }
  const host = new LocalHost({ name: "here", workdir: directory.path });
  return {
    jobs,
    scheduler: kind.create({ host, environment: { PATH: `${directory.join("bin")}:/usr/bin:/bin` } }),
    calls: async () => (await readFile(directory.join("calls"), "utf8").catch(() => "")).split("\n").filter(Boolean),
    [Symbol.asyncDispose]: () => directory[Symbol.asyncDispose](),
  };
}

function slurmRow({ id, token }: ScheduledJob): string {
  const times = ["1780000000", "1780000100", "1780003600"];
  return `${[id, "RUNNING", "None", ...times, "node17", "0", "0", token, token].join("\u001f")}\u001e`;
}

/** With as many attributes as a real one has. */
function pbsAnswer(jobs: readonly ScheduledJob[]): object {
  const at = "Fri Nov 20 08:35:22 2026";
  const more = Object.fromEntries(
    Array.from({ length: 25 }, (_, index) => [`Attribute_${index}`, "a value of some length"]),
  );
  const members = jobs.map(({ id, token }) => [
    id,
    {
      Job_Name: token,
      Job_Owner: "svc@login",
      resources_used: { cput: "00:00:00", mem: "1460kb", ncpus: 1, walltime: "00:00:01" },
      job_state: "R",
      ctime: at,
      stime: at,
      mtime: at,
      exec_host: "node17/0",
      substate: 42,
      Resource_List: { ncpus: 1, nodect: 1, place: "pack", select: "1:ncpus=1", walltime: "01:00:00" },
      Variable_List: { PBS_O_HOME: "/home/svc", PBS_O_PATH: "/usr/bin:/bin", SITEAGENT_ATTEMPT_TOKEN: token },
      ...more,
    },
  ]);
  return {
    timestamp: 1_780_000_000,
    pbs_version: "23.06.06",
    pbs_server: "pbshost",
    Jobs: Object.fromEntries(members),
  };
}

function sgeEntry({ id, token }: ScheduledJob): string {
  return `<job_list state="running">
<JB_job_number>${id}</JB_job_number>
<JAT_prio>0.55500</JAT_prio>
<JB_name>${token.slice(0, 10)}</JB_name>
<JB_owner>svc</JB_owner>
<state>r</state>
<JAT_start_time>2026-11-21T17:16:00</JAT_start_time>
<queue_name>all.q@node17</queue_name>
<slots>1</slots>
<full_job_name>${token}</full_job_name>
<hard_req_queue>all.q</hard_req_queue>
</job_list>`;
}
