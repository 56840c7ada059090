import type { Steps } from "../../common/slices.ts";
import type { RunResult } from "../../hosts/types.ts";
import { queryOutputBytes, queryTimeoutMs, type SchedulerCommand } from "../command.ts";
import { whyOf } from "../words.ts";
import { kindOfWords } from "./errors.ts";
import { idIn } from "./ids.ts";
import { jobsOfJson } from "./qstat-json.ts";
import { jobsOfText } from "./qstat-text.ts";
import type { JobRecord } from "./record.ts";
import type { Flavour } from "./version.ts";

export interface QstatAnswer {
  /** By id. An array's tasks are here beside it. */
  readonly records: ReadonlyMap<string, JobRecord>;
  /** Ids of which the server says that it knows no such job. */
  readonly unknown: ReadonlySet<string>;
  /** Ids that are in the history alone; asked again with it they are answered. */
  readonly finished: ReadonlySet<string>;
  /** The server keeps no history: the whole question was refused for the option that asks for it (with exit status 0). */
  readonly historyOff: boolean;
  /** Why an id that is in none of these got no answer; undefined: the command knows of no reason. */
  readonly trouble: string | undefined;
  /** There is more of it than can be read. */
  readonly truncated: boolean;
  /** The output is not in the format that was asked for (malformed, or a qstat that does not know the option): another format may do. */
  readonly unreadable: boolean;
}

export interface QstatQuestion {
  readonly ids: readonly string[];
  readonly flavour: Flavour;
  /** `text` asks for each id by itself, and every id that is not known is named; `json` asks for all of them in one request. */
  readonly format: "json" | "text";
  /** Ended jobs, too. Torque shows them unasked. */
  readonly history: boolean;
}

/** All attributes of jobs and arrays with their tasks. Times are formatted by qstat itself: in UTC, because it runs so. */
export function qstat(question: QstatQuestion): SchedulerCommand<QstatAnswer> {
  const { ids, format } = question;
  return {
    argv: ["qstat", ...optionsOf(question), ...ids],
    timeoutMs: queryTimeoutMs,
    maxOutputBytes: queryOutputBytes,
    parse: (result) => parseQstat(result, format),
  };
}

function optionsOf({ flavour, format, history }: QstatQuestion): readonly string[] {
  // `-1`: no wrapped lines; with Torque `-x` would mean XML.
  if (flavour === "torque") return ["-f", "-1", "-t"];
  // `-E` puts all ids into one request. Without it current versions print the first job of several alone.
  return [...(history ? ["-x"] : []), "-t", "-f", ...(format === "json" ? ["-E", "-F", "json"] : [])];
}

export function* parseQstat(result: RunResult, format: QstatQuestion["format"]): Steps<QstatAnswer> {
  const jobs = yield* format === "json" ? jobsOfJson(result.stdout) : jobsOfText(result.stdout);
  const usage = isUsage(result);
  const complaints = readComplaints(result.stderr, usage);
  const broken = result.timedOut || result.truncated || result.signal !== undefined;
  return {
    records: new Map((jobs ?? []).map((record) => [record.id, record])),
    unknown: complaints.unknown,
    finished: complaints.finished,
    historyOff: complaints.historyOff,
    truncated: result.truncated,
    trouble: broken || complaints.trouble ? whyOf("qstat", result) : undefined,
    unreadable: (jobs === undefined || usage) && !broken && !complaints.trouble,
  };
}

function isUsage({ exitCode, stderr }: RunResult): boolean {
  return exitCode === 2 || /^usage:|invalid option|illegal option/im.test(stderr);
}

function readComplaints(
  stderr: string,
  usage: boolean,
): Pick<QstatAnswer, "unknown" | "finished" | "historyOff"> & { trouble: boolean } {
  const unknown = new Set<string>();
  const finished = new Set<string>();
  let historyOff = false;
  let trouble = false;
  for (const line of stderr.split("\n")) {
    const kind = kindOfWords(line);
    const id = idIn(line);
    if (kind === "no-history") historyOff = true;
    else if (kind === "unknown-job" && id !== undefined) unknown.add(id);
    else if (kind === "finished" && id !== undefined) finished.add(id);
    else if (kind !== undefined || (!usage && /^qstat:|connection refused|timed? ?out/i.test(line))) trouble = true;
  }
  return { unknown, finished, historyOff, trouble };
}
