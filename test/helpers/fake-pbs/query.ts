/** qstat and qselect of the fake server, as the real ones answer: exit status, words, and what of it is missing. */
import {
  arrayState,
  endedStates as ended,
  type Faults,
  isTorque,
  type JobState,
  serverName,
  type Store,
} from "./store.ts";
import { type Output, Refused } from "./submit.ts";

type Attributes = Record<string, string | number | Record<string, string | number>>;

const unknownJob = 153;
const historyJob = 35;

export function qstat(store: Store, args: readonly string[]): Output {
  const faults = store.faults();
  if (args.includes("-B")) return serverOf(faults);
  if (isTorque) return torqueQstat(store, args, faults);
  const json = args.includes("json");
  if (json && faults.noJson) throw new Refused(2, "qstat: invalid option -- 'F'\nusage: \nqstat [-f] [-t] [-x]\n");
  const ids = args.filter((word) => /^\d/.test(word));
  const output: Output = { exitCode: 0, stdout: "", stderr: "" };
  const history = args.includes("-x");
  const found = ids.map((id) => answered(store, id, { history, tasks: args.includes("-t") }, faults, output));
  const groups = json && args.includes("-E") && !faults.firstOnly ? [found.flat()] : found;
  if (json && args.includes("-E") && found.flat().length > 0) Object.assign(output, { exitCode: 0, stderr: "" });
  if (faults.silent) return { exitCode: 0, stdout: "", stderr: "" };
  if (json && faults.json === "empty") return { exitCode: 0, stdout: jsonOf([], faults), stderr: "" };
  const shown = json ? (groups.find((group) => group.length > 0) ?? []) : groups.flat();
  output.stdout = json ? jsonOf(shown, faults) : shown.map((job) => textOf(job, faults)).join("");
  return output;
}

/** Torque's: text or XML, what has ended among the rest as long as it is kept; of an array with `-t` its tasks alone. Without ids all there is. */
function torqueQstat(store: Store, args: readonly string[], faults: Faults): Output {
  if (args.some((word) => ["-F", "-E", "json"].includes(word)))
    return { exitCode: 2, stdout: "", stderr: "qstat: invalid option -- 'F'\nusage: qstat [-f [-1]]\n" };
  if (faults.silent) return { exitCode: 0, stdout: "", stderr: "" };
  const output: Output = { exitCode: 0, stdout: "", stderr: "" };
  const kept = store.all().filter(({ state }) => !(faults.noHistory && ended.has(state)));
  const asked = args.filter((word) => /^\d/.test(word)).map((id) => (id.includes(".") ? id : `${id}.${serverName}`));
  const shown = kept.filter(({ id, array, tasks }) => {
    if (tasks !== undefined && args.includes("-t")) return false;
    return asked.length === 0 || asked.includes(id) || (array !== undefined && asked.includes(array));
  });
  for (const id of asked) {
    if (shown.some((job) => job.id === id || job.array === id)) continue;
    output.exitCode = unknownJob;
    output.stderr += `qstat: Unknown Job Id Error ${id}\n`;
  }
  output.stdout = args.includes("-x") ? `<Data></Data>` : shown.map((job) => torqueText(job, faults)).join("");
  return output;
}

function torqueText(job: JobState, faults: Faults): string {
  const { Job_Name, Job_Owner, job_state, queue, server, ctime, mtime, Hold_Types } = attributesOf(job, {});
  const variables = Object.entries({ PBS_O_QUEUE: "workq", PBS_O_HOME: "/home/tester", ...job.variables });
  const attributes: Attributes = {
    ...{ Job_Name: Job_Name ?? "", Job_Owner: Job_Owner ?? "", job_state: job_state ?? "", queue: queue ?? "" },
    ...{
      server: server ?? "",
      ctime: ctime ?? "",
      Hold_Types: Hold_Types ?? "",
      mtime: mtime ?? "",
      Rerunable: "False",
    },
    Resource_List: { ...job.resources },
    Variable_List: variables.map(([variable, each]) => `${variable}=${each}`).join(","),
    ...(job.array === undefined ? {} : { job_array_id: job.index ?? 0 }),
    ...(job.stime === undefined ? {} : { exec_host: `${serverName}/0`, start_time: clock(job.stime), start_count: 1 }),
    ...(job.exitStatus === undefined ? {} : { exit_status: job.exitStatus }),
    ...(job.obittime === undefined ? {} : { comp_time: clock(job.obittime) }),
    ...faults.records?.[job.id],
  };
  return textOfAttributes(job.id, attributes);
}

function answered(
  store: Store,
  asked: string,
  wanted: { readonly history: boolean; readonly tasks: boolean },
  faults: Faults,
  output: Output,
): readonly JobState[] {
  const complain = (exitCode: number, words: string): readonly JobState[] => {
    output.exitCode = exitCode;
    output.stderr += `qstat: ${words}\n`;
    return [];
  };
  const id = asked.includes(".") ? asked : `${asked}.${serverName}`;
  if (wanted.history && faults.noHistory) {
    return complain(0, `PBS is not configured to maintain job history ${id}`);
  }
  const job = store.get(id);
  if (job === undefined || job.purged) return complain(unknownJob, `Unknown Job Id ${id}`);
  const tasks = job.tasks === undefined ? [] : store.tasksOf(id);
  const now = job.tasks === undefined ? job : arrayState(job, tasks);
  if (ended.has(now.state) && !wanted.history) {
    if (faults.noHistory) return complain(unknownJob, `Unknown Job Id ${id}`);
    return complain(historyJob, `${id} Job has finished, use -x or -H to obtain historical job information`);
  }
  return [now, ...(wanted.tasks ? tasks.map((task) => shownTask(task, now, faults)) : [])];
}

/** Of a task that has no record of its own any more the server shows its array's, in the task's state. */
function shownTask(task: JobState, parent: JobState, faults: Faults): JobState {
  const isOwn = !ended.has(task.state) || (task.stime !== undefined && !faults.noHistory);
  if (isOwn) return task;
  const { tasks: _, ...shown } = parent;
  return { exitStatus: 0, ...shown, id: task.id, state: task.state, substate: 70, comment: "Subjob finished" };
}

function jsonOf(jobs: readonly JobState[], faults: Faults): string {
  const entries = jobs.map((job) => [job.id, attributesOf(job, faults)] as const);
  const head = { timestamp: Math.floor(Date.now() / 1000), pbs_version: "23.06.06", pbs_server: serverName };
  const whole = (some: typeof entries): string =>
    `${JSON.stringify(some.length > 0 ? { ...head, Jobs: Object.fromEntries(some) } : head, null, "\t")}\n`;
  if (faults.json === "cut") return whole(entries).slice(0, -20);
  if (faults.json === "jobs-twice" && entries.length > 1) {
    const [first, ...others] = entries.map(([id, job]) => `"Jobs": {${JSON.stringify(id)}: ${JSON.stringify(job)}}`);
    return `{"timestamp": 1,\n${first},\n${others.join(",\n")}\n}\n`;
  }
  if (faults.json !== "shell-function") return whole(entries);
  const broken = '"BASH_FUNC_ml()":\t"() {  eval `$LMOD_CMD bash "$@"`;\n [ "$1" ] && echo "loaded"\n}",\n';
  return whole(entries).replaceAll('"Variable_List": {', `"Variable_List": {\n${broken}`);
}

function textOf(job: JobState, faults: Faults): string {
  return textOfAttributes(job.id, attributesOf(job, faults));
}

function textOfAttributes(id: string, attributes: Attributes): string {
  const lines = [`Job Id: ${id}`];
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value !== "object") lines.push(`    ${name} = ${value}`);
    else if (name !== "Variable_List") {
      for (const [part, each] of Object.entries(value)) lines.push(`    ${name}.${part} = ${each}`);
    } else {
      const pairs = Object.entries(value).map(([variable, each]) => `${variable}=${each}`);
      lines.push(`    Variable_List = ${pairs.join(",\n\t")}`);
    }
  }
  return `${lines.join("\n")}\n\n`;
}

function attributesOf(job: JobState, faults: Faults): Attributes {
  const attributes: Attributes = {
    Job_Name: job.name,
    Job_Owner: "tester@fakepbs",
    job_state: job.holdTypes !== "n" && ["Q", "W"].includes(job.state) ? "H" : job.state,
    queue: "workq",
    server: serverName,
    ctime: clock(job.ctime),
    Hold_Types: job.holdTypes,
    mtime: clock(job.obittime ?? job.stime ?? job.ctime),
    substate: job.substate,
    Resource_List: { ...job.resources },
  };
  if (job.array === undefined) attributes["Variable_List"] = { PBS_O_HOME: "/home/tester", ...job.variables };
  else Object.assign(attributes, { array_id: job.array, array_index: job.index ?? 0 });
  if (job.tasks !== undefined) attributes["array_indices_submitted"] = `0-${job.tasks - 1}`;
  if (job.stime !== undefined) Object.assign(attributes, { stime: clock(job.stime), exec_host: `${serverName}/0` });
  if (job.obittime !== undefined) attributes["obittime"] = clock(job.obittime);
  if (job.comment !== undefined) attributes["comment"] = job.comment;
  if (job.runCount !== undefined) attributes["run_count"] = job.runCount;
  if (job.exitStatus !== undefined) attributes["Exit_status"] = job.exitStatus;
  return { ...attributes, ...faults.records?.[job.id] };
}

/** As ctime(3) writes it, in the zone of the command. */
function clock(ms: number): string {
  const [day, month, date, year, time] = new Date(ms).toString().split(" ");
  return `${day} ${month} ${String(Number(date)).padStart(2)} ${time} ${year}`;
}

function serverOf(faults: Faults): Output {
  const history = faults.noHistory ? [] : ["    job_history_enable = True"];
  const torque = ["    max_job_array_size = 5000", ...(faults.noHistory ? [] : ["    keep_completed = 300"])];
  const own = isTorque ? torque : ["    max_array_size = 10000", ...history];
  const lines = [`Server: ${serverName}`, "    server_state = Active", ...own];
  return { exitCode: 0, stdout: `${lines.join("\n")}\n\n`, stderr: "" };
}

export function qselect(store: Store, args: readonly string[]): Output {
  const faults = store.faults();
  const history = args.includes("-x");
  if (history && isTorque)
    return { exitCode: 2, stdout: "", stderr: "qselect: invalid option -- 'x'\nusage: qselect\n" };
  if (history && faults.noHistory) {
    return { exitCode: 0, stdout: "", stderr: "qselect: PBS is not configured to maintain job history\n" };
  }
  const name = args[args.indexOf("-N") + 1];
  const jobs = store
    .all()
    .filter((job) => job.array === undefined && job.name === name)
    .map((job) => (job.tasks === undefined ? job : arrayState(job, store.tasksOf(job.id))))
    .filter((job) => history || !ended.has(job.state) || (isTorque && !faults.noHistory));
  return { exitCode: 0, stdout: jobs.map(({ id }) => `${id}\n`).join(""), stderr: "" };
}
