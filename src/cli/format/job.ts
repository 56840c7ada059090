import { isFinalStatus, type Status } from "../../jobs/status.ts";
import { progressText } from "../../jobs/progress.ts";
import { elapsed } from "./time.ts";
import type { JobList, JobRow } from "../backend/types.ts";
import type { CliContext } from "../context.ts";
import type { Style } from "../terminal.ts";
import type { Column } from "./table.ts";
import { counted } from "./text.ts";
import { localTime, relative, shortAge } from "./time.ts";

export function statusStyle(status: string): Style | undefined {
  const styles: Partial<Record<Status, Style>> = {
    FINISHED: "green",
    FAILED: "red",
    CANCELLED: "yellow",
    BLOCKED: "yellow",
    PAUSED: "yellow",
    RUNNING: "cyan",
  };
  return styles[status as Status];
}

/** What matters now about a job, in one line: failure, hold, reason for waiting, or where it is. */
export function infoOf(row: JobRow, now: number): string {
  if (row.failure && row.status === "FAILED") return failureText(row);
  if (row.status === "CANCELLED") return row.failure?.message ?? "";
  if (row.hold) {
    const next = row.hold.next_try_at === undefined ? "" : `; next try ${relative(row.hold.next_try_at, now)}`;
    const verb = row.hold.kind === "cancelling" ? "being cancelled" : "";
    return [verb, `${row.hold.reason}${next}`].filter((text) => text !== "").join(": ");
  }
  if (row.lostContact) return "site not heard of";
  if (row.waiting !== null && !isFinalStatus(row.status)) return row.waiting;
  if (row.progress) return `moving ${row.progress.stage}: ${progressText(row.progress)}`;
  if (row.phase === "suspended") return "stopped by a signal or its scheduler";
  if (row.state === "AWAITING_PARENTS") return `waits for ${row.parents.length === 1 ? "its parent" : "its parents"}`;
  if (row.status === "PENDING" && row.place === "") return "waits for a site";
  return row.attempt > 1 ? `attempt ${row.attempt}` : "";
}

function failureText(row: JobRow): string {
  const { failure } = row;
  if (!failure) return "";
  const exit = failure.exit_code !== undefined && !failure.message.includes(`${failure.exit_code}`);
  return exit ? `${failure.message} (exit ${failure.exit_code})` : failure.message;
}

export function tagsText(tags: Readonly<Record<string, string>>): string {
  return Object.entries(tags)
    .map(([key, value]) => (value === "" ? key : `${key}=${value}`))
    .join(" ");
}

/** How long it ran, or has been running; empty before a site took it. */
function duration(row: JobRow, now: number): string {
  return row.claimedAt === null ? "" : elapsed(row.claimedAt, row.endedAt, now);
}

/** Every column there is, by name; `tableColumns` and `wideColumns` choose. */
export function jobColumns(context: CliContext): readonly Column<JobRow>[] {
  const now = context.now();
  const time = (iso: string | null): string => (iso === null ? "" : localTime(iso, context.utc));
  return [
    { key: "id", title: "ID", value: (row) => row.id },
    { key: "status", title: "STATUS", value: (row) => row.status, style: (row) => statusStyle(row.status) },
    { key: "state", title: "STATE", value: (row) => row.state },
    { key: "phase", title: "PHASE", value: (row) => (row.phase === "none" ? "" : row.phase) },
    { key: "name", title: "NAME", value: (row) => row.name, shrinkTo: 10, giveUp: 5 },
    { key: "workflow", title: "WORKFLOW", value: (row) => row.workflow, shrinkTo: 12, giveUp: 6 },
    { key: "site", title: "SITE", value: (row) => row.place, shrinkTo: 8, giveUp: 4 },
    { key: "owner", title: "OWNER", value: (row) => row.owner, shrinkTo: 6, giveUp: 2 },
    { key: "tags", title: "TAGS", value: (row) => tagsText(row.tags), shrinkTo: 8, giveUp: 1 },
    { key: "attempt", title: "TRY", value: (row) => (row.attempt > 1 ? String(row.attempt) : ""), right: true },
    { key: "created", title: "CREATED", value: (row) => time(row.createdAt) },
    { key: "updated", title: "UPDATED", value: (row) => time(row.updatedAt) },
    { key: "ended", title: "ENDED", value: (row) => time(row.endedAt) },
    { key: "age", title: "AGE", value: (row) => shortAge(row.createdAt, now), right: true },
    { key: "time", title: "TIME", value: (row) => duration(row, now), right: true, giveUp: 3 },
    { key: "info", title: "INFO", value: (row) => infoOf(row, now), shrinkTo: 20, style: infoStyle },
  ];
}

function infoStyle(row: JobRow): Style | undefined {
  return row.status === "FAILED" ? "red" : row.hold || row.lostContact ? "yellow" : "dim";
}

export const tableColumns = ["id", "status", "name", "workflow", "site", "tags", "age", "time", "info"] as const;
export const wideColumns = [
  "id",
  "status",
  "state",
  "phase",
  "name",
  "workflow",
  "site",
  "owner",
  "tags",
  "attempt",
  "created",
  "updated",
  "ended",
  "time",
  "info",
] as const;

/** How many jobs there are beyond those that are shown, in words: `73 jobs`, `more than 1,000 jobs`; undefined when all are shown. */
export function totalText(list: JobList): string | undefined {
  if (list.capped) return `more than ${counted(list.total, "job")}`;
  return list.total > list.rows.length ? counted(list.total, "job") : undefined;
}
