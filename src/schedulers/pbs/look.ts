import { inRanges } from "../directive-words.ts";
import type { ScheduledJob, ScheduledStatus } from "../types.ts";
import { idOf } from "./ids.ts";
import type { QstatAnswer } from "./qstat.ts";
import { type JobRecord, timeOf, tokensOf } from "./record.ts";
import { statusOf } from "./status.ts";
import type { Flavour } from "./version.ts";

/** The server's clock may be wrong by so much against ours. */
const clockSkewMs = 86_400_000;

/** What the answers say of this job, after making sure that the record is its own: ids are used again. */
export function judge(job: ScheduledJob, answer: QstatAnswer, flavour: Flavour): ScheduledStatus {
  const parent = answer.records.get(job.id);
  const record = answer.records.get(idOf(job));
  if (flavour === "torque" && job.task === undefined && record === undefined) {
    const tasks = tasksOf(job, answer);
    if (tasks.length > 0) return wholeOf(job, tasks);
  }
  if (record === undefined && parent === undefined) {
    if (answer.unknown.has(idOf(job)) || answer.unknown.has(job.id)) return { state: "absent" };
    return { state: "unknown", why: answer.trouble ?? `qstat says nothing of ${job.id}` };
  }
  const owned = isOurs(
    job,
    [record, parent].filter((each) => each !== undefined),
  );
  if (owned !== "yes") {
    const why = `${job.id} does not say that it is '${job.token}'`;
    return owned === "no" ? { state: "absent" } : { state: "unknown", why };
  }
  if (record !== undefined) {
    const status = statusOf(record, flavour);
    return status.state === "ended" && isStandIn(job, record, flavour) ? { state: "absent" } : status;
  }
  return parent === undefined ? { state: "absent" } : taskByItsArray(job, parent, flavour);
}

/** Torque lists of an array what is left of its tasks, and not the array itself. */
export function tasksOf({ id }: ScheduledJob, { records }: QstatAnswer): readonly JobRecord[] {
  const [number, rest] = id.split("[]");
  if (rest === undefined) return [];
  return [...records.values()].filter((each) => each.id.startsWith(`${number}[`) && each.id.endsWith(`]${rest}`));
}

/** It runs while one of its tasks does, and has ended well if all have. */
function wholeOf(job: ScheduledJob, tasks: readonly JobRecord[]): ScheduledStatus {
  const owned = isOurs(job, tasks);
  if (owned === "no") return { state: "absent" };
  if (owned === "unclear") return { state: "unknown", why: `${job.id} does not say that it is '${job.token}'` };
  const statuses = tasks.map((task) => statusOf(task, "torque"));
  for (const state of ["unknown", "running", "finishing", "queued"] as const) {
    const found = statuses.find((status) => status.state === state);
    if (found !== undefined) return found;
  }
  const bad = statuses.find((status) => status.state === "ended" && status.verdict.kind !== "completed");
  return bad ?? statuses[0] ?? { state: "absent" };
}

/** A task has no variables of its own: they are its array's. Only a record that shows them can say that it is another's. */
function isOurs(job: ScheduledJob, records: readonly JobRecord[]): "yes" | "no" | "unclear" {
  const made = records.map(({ attributes }) => timeOf(attributes.get("ctime"))).find((time) => time !== undefined);
  if (made !== undefined && Date.parse(made) < Date.parse(job.submittedAt) - clockSkewMs) return "no";
  if (records.some((record) => tokensOf(record).includes(job.token))) return "yes";
  const shown = records.some(({ attributes }) =>
    [...attributes.keys()].some((name) => name.startsWith("Variable_List")),
  );
  return shown ? "no" : "unclear";
}

/**
 * Of a task whose own record the server has no more (without history: each that is over) OpenPBS shows its array's, under the task's id and
 * with another state: `Exit_status` and `substate` are not the task's then.
 */
function isStandIn(job: ScheduledJob, { attributes }: JobRecord, flavour: Flavour): boolean {
  return flavour === "openpbs" && job.task !== undefined && !attributes.has("array_index");
}

/** Older servers do not list the tasks of an array that have not begun. */
function taskByItsArray(job: ScheduledJob, parent: JobRecord, flavour: Flavour): ScheduledStatus {
  const status = statusOf(parent, flavour);
  const submitted = parent.attributes.get("array_indices_submitted");
  if (submitted !== undefined && !inRanges(submitted, job.task ?? -1)) return { state: "absent" };
  if (status.state === "queued") return status;
  const waits = inRanges(parent.attributes.get("array_indices_remaining"), job.task ?? -1);
  if (status.state === "running" && waits) return { state: "queued", reason: parent.attributes.get("comment") };
  if (status.state === "ended" && (waits || !parent.attributes.has("Exit_status"))) return neverBegan(parent);
  return { state: "unknown", why: `qstat lists ${job.id} without its task ${job.task}` };
}

function neverBegan(parent: JobRecord): ScheduledStatus {
  const raw = `the array is ${parent.attributes.get("job_state")}; the task never began`;
  return { state: "ended", verdict: { kind: "cancelled", raw, source: "queue" } };
}
