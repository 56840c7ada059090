/** qsub of the fake server: directives of the script on stdin. */
import { spawn } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { isTorque, type JobState, serverName, type Store } from "./store.ts";

export interface Output {
  exitCode: number;
  stdout: string;
  stderr: string;
}

export class Refused extends Error {
  readonly exitCode: number;

  constructor(exitCode: number, message: string) {
    super(message);
    this.exitCode = exitCode;
  }
}

export function qsub(store: Store, args: readonly string[]): Output {
  const faults = store.faults();
  const script = readFileSync(0, "utf8");
  if (faults.qsubRefused) throw new Refused(faults.qsubRefused.exitCode, faults.qsubRefused.stderr);
  const options = readOptions([...args, ...directivesOf(script)]);
  const number = store.nextNumber();
  const id = options.tasks === undefined ? `${number}.${serverName}` : `${number}[].${serverName}`;
  const job: JobState = {
    id,
    script,
    name: options.name ?? "STDIN",
    output: options.output,
    variables: options.variables,
    walltimeS: seconds(options.resources["walltime"]),
    resources: options.resources,
    ctime: Date.now(),
    notBefore: options.notBefore,
    state: options.notBefore === undefined ? "Q" : "W",
    holdTypes: "n",
    substate: 10,
    ...(options.tasks === undefined ? {} : { tasks: options.tasks }),
  };
  store.put(job);
  const { tasks, ...one } = job;
  for (let index = 0; index < (tasks ?? 0); index++) {
    const output = isTorque ? `${options.output}-${index}` : options.output?.replace("^array_index^", String(index));
    const name = isTorque ? `${one.name}-${index}` : one.name;
    store.put({ ...one, name, id: id.replace("[]", `[${index}]`), array: id, index, output });
  }
  start(store, id);
  if (faults.qsubAfter) throw new Refused(faults.qsubAfter.exitCode, faults.qsubAfter.stderr);
  return { exitCode: 0, stdout: `${id}\n`, stderr: "" };
}

/** Begins what may begin, each job and task once. */
export function start(store: Store, id: string): void {
  const job = store.get(id);
  const parts = job?.tasks === undefined ? [job] : store.tasksOf(id);
  for (const part of parts) {
    if (part === undefined || part.state !== "Q" || part.holdTypes !== "n" || !store.take(part.id)) continue;
    const program = join(import.meta.dirname, "main.ts");
    spawn(process.execPath, [program, store.directory, "keeper", part.id], { detached: true, stdio: "ignore" }).unref();
  }
}

function directivesOf(script: string): readonly string[] {
  const words: string[] = [];
  for (const line of script.split("\n")) {
    if (line.startsWith("#PBS ")) words.push(...wordsOf(line.slice("#PBS ".length)));
    else if (!line.startsWith("#") && line.trim() !== "") break;
  }
  return words;
}

function wordsOf(line: string): readonly string[] {
  const words: string[] = [];
  for (const [word] of line.matchAll(/(?:'[^']*'|"[^"]*"|[^\s'"])+/g)) {
    words.push(
      word.replaceAll(
        /'([^']*)'|"([^"]*)"/g,
        (_, one: string | undefined, two: string | undefined) => one ?? two ?? "",
      ),
    );
  }
  return words;
}

interface Options {
  name?: string;
  output?: string;
  tasks?: number;
  notBefore?: number;
  variables: Record<string, string>;
  resources: Record<string, string>;
}

function readOptions(words: readonly string[]): Options {
  const options: Options = { variables: {}, resources: {} };
  let rerunable = true;
  for (let i = 0; i < words.length; i += 2) {
    const [option = "", value = ""] = words.slice(i, i + 2);
    if (option === "-N") options.name = value;
    else if (option === "-o") options.output = value.replace(/^[^/]*:/, "");
    else if (option === "-r") rerunable = value !== "n";
    else if (option === "-J" && isTorque)
      throw new Refused(2, "The -J option can only be used in conjunction with -P\nusage: qsub\n");
    else if (option === "-J" || (option === "-t" && isTorque)) options.tasks = tasksOf(value);
    else if (option === "-a") options.notBefore = timeOf(value);
    else if (option === "-v") Object.assign(options.variables, Object.fromEntries([value.split(/=(.*)/s).slice(0, 2)]));
    else if (option === "-l") readResource(options, value);
    else if (option === "-q" && value !== "workq")
      throw new Refused(
        170,
        isTorque ? "qsub: submit error (Unknown queue MSG=cannot locate queue)\n" : "qsub: Unknown queue\n",
      );
    else if (!["-S", "-m", "-j", "-q", "-A", "-P", "-p"].includes(option))
      throw new Refused(2, "usage: qsub [-a date_time] …\n");
  }
  if (options.tasks !== undefined && !rerunable && !isTorque)
    throw new Refused(1, "qsub:  cannot submit non-rerunable Array Job\n");
  if ((options.name ?? "").length > 230) throw new Refused(1, "qsub: illegal -N value\n");
  return options;
}

function tasksOf(range: string): number {
  const [, first, last] = /^(\d+)-(\d+)$/.exec(range) ?? [];
  if (first !== "0" || Number(last) <= 0) throw new Refused(1, "qsub: illegal -J value\n");
  return Number(last) + 1;
}

function readResource(options: Options, text: string): void {
  const [name = "", value = ""] = text.split(/=(.*)/s);
  if (isTorque && !["nodes", "mem", "walltime"].includes(name))
    throw new Refused(171, `qsub: submit error (Unknown resource type  Resource_List.${name})\n`);
  if (!isTorque && !["select", "place", "walltime"].includes(name))
    throw new Refused(187, `qsub: Unknown resource Resource_List.${name}\n`);
  if (name === "walltime" && seconds(value) === undefined) {
    throw new Refused(166, "qsub: Illegal attribute or resource value Resource_List.walltime\n");
  }
  options.resources[name] = value;
}

function seconds(text: string | undefined): number | undefined {
  const parts = /^(\d+):(\d\d):(\d\d)$/.exec(text ?? "");
  return parts ? Number(parts[1]) * 3600 + Number(parts[2]) * 60 + Number(parts[3]) : undefined;
}

function timeOf(text: string): number {
  const [, year, month, day, hour, minute] = /^(\d{4})(\d\d)(\d\d)(\d\d)(\d\d)$/.exec(text) ?? [];
  if (year === undefined) throw new Refused(2, "qsub: illegal -a value\n");
  return new Date(Number(year), Number(month) - 1, Number(day), Number(hour), Number(minute)).getTime();
}
