import { formatDuration, formatSize } from "../../common/units.ts";
import { isFinalStatus } from "../../jobs/status.ts";
import type { AttemptEnd } from "../../jobs/states.ts";
import type { JobStory, Milestone, StoryFile } from "../backend/types.ts";
import type { CliContext } from "../context.ts";
import { infoOf, statusStyle, tagsText } from "./job.ts";
import { transferText } from "./progress.ts";
import { section, tableSection } from "./section.ts";
import { type Column, factsText } from "./table.ts";
import { manyLines, oneLine } from "./text.ts";
import { elapsed, localTime, timeAndAge } from "./time.ts";

/** The whole story of a job for people. */
export function storyText(context: CliContext, story: JobStory): string {
  const sections = [
    headText(context, story),
    failureSection(context, story),
    timelineSection(context, story),
    attemptsSection(context, story),
    filesSection(context, "Inputs", story.inputs),
    filesSection(context, "Outputs", story.outputs),
    askedSection(context, story),
  ];
  return sections.filter((text) => text !== "").join("\n");
}

function headText(context: CliContext, story: JobStory): string {
  const { row } = story;
  const now = context.now();
  const status = context.out.style(statusStyle(row.status) ?? "bold", row.status);
  const { dot } = context.symbols;
  const title = `${context.out.style(statusStyle(row.status) ?? "bold", dot)} ${context.out.style("bold", oneLine(row.id))}`;
  const state = row.phase === "none" ? row.state : `${row.state}, ${row.phase}`;
  const within = state === row.status ? "" : ` (${state})`;
  const facts: (readonly [string, string])[] = [
    ["Status", `${status}${within}${row.attempt > 1 ? `, attempt ${row.attempt}` : ""}`],
    // What moves has a line of its own.
    ["Now", isFinalStatus(row.status) ? "" : oneLine(infoOf({ ...row, progress: null }, now))],
    ["Moving", row.progress === null ? "" : transferText(context, row.progress)],
    ["File", row.progress === null ? "" : oneLine(row.progress.path)],
    ["Name", oneLine(row.name)],
    ["Workflow", oneLine(row.workflow)],
    [isLocal(story) ? "Target" : "Site", oneLine(row.place)],
    ["Owner", oneLine(row.owner)],
    ["Tags", oneLine(tagsText(row.tags))],
    ["Parents", oneLine(row.parents.join(" "))],
    ["Retry of", oneLine(row.retryOf ?? "")],
    [isLocal(story) ? "Claimed" : "Made", timeAndAge(row.createdAt, now, context.utc)],
    ["Ended", row.endedAt === null ? "" : timeAndAge(row.endedAt, now, context.utc)],
    ["Took", row.claimedAt === null ? "" : `${elapsed(row.claimedAt, row.endedAt, now)} since it was claimed`],
    ["Exit", row.end === null ? "" : endText(row.end)],
  ];
  return `${title}\n${factsText(facts, context.out)}`;
}

/** Told by an agent: it knows directories. */
function isLocal(story: JobStory): boolean {
  return "directory" in story.row.raw;
}

/** `exit code 3, 12s`, `SIGKILL (out of memory)`. */
export function endText(end: AttemptEnd): string {
  const parts = [end.cause === "exit" ? `exit code ${end.exit_code ?? "?"}` : end.cause];
  if (end.cause !== "exit" && end.exit_code !== undefined) parts.push(`exit code ${end.exit_code}`);
  if (end.signal !== undefined) parts.push(end.signal);
  if (end.started_at !== undefined) {
    parts.push(`after ${formatDuration(Math.max(0, Date.parse(end.ended_at) - Date.parse(end.started_at)))}`);
  }
  if (end.usage?.cpu_seconds !== undefined) parts.push(`${end.usage.cpu_seconds.toFixed(1)} s of CPU`);
  if (end.usage?.max_rss_bytes !== undefined) parts.push(`peak ${formatSize(end.usage.max_rss_bytes)}`);
  return oneLine(parts.join(", "));
}

function failureSection(context: CliContext, { row }: JobStory): string {
  const { failure } = row;
  if (!failure) return "";
  const whose = { user: "of the job", site: "of the site", service: "of the service" }[failure.category];
  const facts: (readonly [string, string])[] = [
    ["What", context.out.style("red", manyLines(failure.message))],
    ["Kind", `${failure.code}, ${whose}`],
    ["Hint", manyLines(failure.hint ?? "")],
    ["Scheduler", oneLine(failure.scheduler_reason ?? "")],
  ];
  return section(context, "Failure", factsText(facts, context.out, "  "));
}

function timelineSection(context: CliContext, story: JobStory): string {
  const { timeline, row } = story;
  const spans = new Map(timeline.map((entry, at) => [entry, timeline[at + 1]?.at ?? row.endedAt]));
  const isLast = (entry: Milestone): boolean => entry === timeline.at(-1);
  const columns: readonly Column<Milestone>[] = [
    { key: "at", title: "AT", value: (entry) => localTime(entry.at, context.utc) },
    { key: "what", title: "STATE", value: (entry) => entry.what },
    { key: "status", title: "STATUS", value: (entry) => entry.status },
    { key: "try", title: "TRY", value: (entry) => (row.attempt > 1 && entry.attempt > 0 ? String(entry.attempt) : "") },
    {
      key: "for",
      title: "FOR",
      right: true,
      value: (entry) =>
        isLast(entry) && isFinalStatus(row.status) ? "" : elapsed(entry.at, spans.get(entry) ?? null, context.now()),
    },
    { key: "message", title: "", value: (entry) => entry.message, below: true },
  ];
  return tableSection(context, "Timeline", timeline, columns);
}

function attemptsSection(context: CliContext, story: JobStory): string {
  const columns: readonly Column<JobStory["attempts"][number]>[] = [
    { key: "attempt", title: "TRY", value: (attempt) => String(attempt.attempt), right: true },
    { key: "end", title: "END", value: (attempt) => (attempt.end ? endText(attempt.end) : "running") },
    { key: "directory", title: "DIRECTORY", value: (attempt) => attempt.directory },
  ];
  return tableSection(context, "Attempts", story.attempts, columns);
}

function filesSection(context: CliContext, title: string, files: readonly StoryFile[]): string {
  const columns: readonly Column<StoryFile>[] = [
    { key: "item", title: "ITEM", value: (file) => file.item },
    { key: "path", title: "PATH", value: (file) => file.path, shrinkTo: 16 },
    { key: "size", title: "SIZE", value: (file) => formatSize(file.bytes), right: true },
    { key: "sha", title: "SHA-256", value: (file) => file.sha256.slice(0, 12) },
    { key: "where", title: "WHERE", value: (file) => file.where, shrinkTo: 12 },
  ];
  return tableSection(context, title, files, columns);
}

function askedSection(context: CliContext, story: JobStory): string {
  const lines = Object.entries(story.asked).flatMap(([name, values]) =>
    Object.entries(values).map(([key, value]) => {
      const text = typeof value === "string" ? value : JSON.stringify(value);
      return [`${name}.${oneLine(key)}`, oneLine(text)] as const;
    }),
  );
  return section(context, "Asked for", factsText(lines, context.out, "  "));
}
