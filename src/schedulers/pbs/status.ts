import { secondsOf } from "../directive-words.ts";
import type { ScheduledStatus, Verdict } from "../types.ts";
import { type ExitMeaning, meaningOfExitStatus } from "./exit-status.ts";
import { bytesOf, type JobRecord, timeOf } from "./record.ts";
import type { Flavour } from "./version.ts";

/** `substate` of a job that was deleted (JOB_SUBSTATE_TERMINATED). */
const terminated = "91";
/** How far a walltime may be short of its limit and still be what ended the job: the server looks every now and then. */
const walltimeSlackS = 5;

/** What a record says of its job. Letters: qstat(1B); `F` and `X` are in the history of OpenPBS, `C` is Torque's. */
export function statusOf(record: JobRecord, flavour: Flavour): ScheduledStatus {
  const { attributes } = record;
  const state = attributes.get("job_state") ?? "";
  switch (state) {
    case "Q":
    case "W":
    case "T":
      return queued(record);
    case "H":
      return { ...queued(record), stuck: true, reason: heldReason(record) };
    case "R":
    case "B":
      return running(record);
    case "S":
    case "U":
      return { ...running(record), suspended: true };
    case "E":
      return { state: "finishing" };
    case "F":
    case "X":
    case "C":
      return { state: "ended", verdict: verdictOf(record, flavour) };
    case "M":
      return { state: "unknown", why: "PBS says that the job was moved to another server" };
    default:
      return { state: "unknown", why: `PBS says job_state '${state}'` };
  }
}

function queued(record: JobRecord): Extract<ScheduledStatus, { state: "queued" }> {
  const reason = record.attributes.get("comment");
  return {
    state: "queued",
    ...(reason === undefined ? {} : { reason }),
    ...(reason?.startsWith("Can Never Run") ? { stuck: true } : {}),
    ...restartsOf(record),
  };
}

function running(record: JobRecord): Extract<ScheduledStatus, { state: "running" }> {
  return {
    state: "running",
    since: timeOf(record.attributes.get("stime") ?? record.attributes.get("start_time")),
    nodes: record.attributes.get("exec_host"),
    ...restartsOf(record, 1),
  };
}

/** `run_count` counts starts: one that runs for the first time has 1, one that was put back into the queue keeps it. */
function restartsOf({ attributes }: JobRecord, first = 0): { restarts?: number } {
  const count = Number(attributes.get("run_count") ?? "");
  return Number.isInteger(count) && count > first ? { restarts: count - first } : {};
}

function heldReason({ attributes }: JobRecord): string {
  const types = attributes.get("Hold_Types") ?? "?";
  const depend = attributes.get("depend");
  const parts = [
    `held (Hold_Types ${types})`,
    depend === undefined ? "" : `depend ${depend}`,
    attributes.get("comment") ?? "",
  ];
  return parts.filter((part) => part !== "").join("; ");
}

/** Of a job that has ended. Without `Exit_status` it never started: deleted while it was queued. */
export function verdictOf(record: JobRecord, flavour: Flavour): Verdict {
  const { attributes } = record;
  const text = attributes.get("Exit_status") ?? attributes.get("exit_status");
  const status = text !== undefined && /^-?\d+$/.test(text) ? Number(text) : undefined;
  const meaning: ExitMeaning = status === undefined ? { kind: "cancelled" } : meaningOfExitStatus(status, flavour);
  return {
    ...meaning,
    kind: kindOf(record, meaning, status),
    by: deletedBy(record),
    raw: rawOf(record, text),
    source: "queue",
    startedAt: timeOf(attributes.get("stime") ?? attributes.get("start_time")),
    endedAt: endOf(record),
    usage: {
      maxRssBytes: bytesOf(attributes.get("resources_used.mem")),
      cpuSeconds: secondsOf(attributes.get("resources_used.cput")),
    },
  };
}

/** Older servers end a job at its walltime with the same signal as a deletion; only the time that it used tells them apart. */
function kindOf(record: JobRecord, meaning: ExitMeaning, status: number | undefined): Verdict["kind"] {
  const { attributes } = record;
  const comment = attributes.get("comment") ?? "";
  if (status === undefined || status < 0) return meaning.kind;
  if (/exceeded resource walltime/.test(comment)) return "timeout";
  if (/exceeded resource v?mem\b/.test(comment)) return "oom";
  if (attributes.get("substate") === terminated || deletedBy(record) !== undefined) return "cancelled";
  if (meaning.signal === undefined) return meaning.kind;
  if (usedItsWalltime(record)) return "timeout";
  return meaning.signal === "SIGTERM" ? "cancelled" : "failed";
}

function usedItsWalltime({ attributes }: JobRecord): boolean {
  const used = secondsOf(attributes.get("resources_used.walltime"));
  const limit = secondsOf(attributes.get("Resource_List.walltime"));
  return used !== undefined && limit !== undefined && used >= limit - walltimeSlackS;
}

function deletedBy({ attributes }: JobRecord): string | undefined {
  return /\bterminated by (\S+)/.exec(attributes.get("comment") ?? "")?.[1];
}

function rawOf({ attributes }: JobRecord, exitStatus: string | undefined): string {
  const comment = attributes.get("comment");
  return [
    `job_state ${attributes.get("job_state")}`,
    exitStatus === undefined ? "no Exit_status" : `Exit_status ${exitStatus}`,
    ...(attributes.has("substate") ? [`substate ${attributes.get("substate")}`] : []),
    ...(comment === undefined ? [] : [comment]),
  ].join("; ");
}

/** The end is in `obittime` of newer versions, in `comp_time` of Torque; else the last change of the record is near it. */
function endOf({ attributes }: JobRecord): string | undefined {
  const history = Number(attributes.get("history_timestamp") ?? "");
  const noted = timeOf(attributes.get("obittime") ?? attributes.get("comp_time"));
  if (noted !== undefined) return noted;
  if (history > 0 && Number.isSafeInteger(history * 1000)) return new Date(history * 1000).toISOString();
  return timeOf(attributes.get("mtime"));
}
