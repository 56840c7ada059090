import { formatSize } from "../../common/units.ts";
import { isFinalStatus } from "../../jobs/status.ts";
import type { LocalJob, StatusView } from "../../wire/control-api.ts";
import { rowOf } from "../backend/local.ts";
import type { CliContext } from "../context.ts";
import type { Style } from "../terminal.ts";
import { infoOf, statusStyle } from "./job.ts";
import { section, tableSection } from "./section.ts";
import { type Column, factsText } from "./table.ts";
import { counted, manyLines, oneLine } from "./text.ts";
import { relative, shortAge, timeAndAge } from "./time.ts";

const mostJobs = 20;
const lastLines = 5;

/** The agent at a glance, in the manner of `systemctl status`. */
export function statusText(context: CliContext, view: StatusView): string {
  const sections = [
    headText(context, view),
    problemsText(context, view),
    targetsText(context, view),
    jobsText(context, view),
    nextText(context, view),
    logText(context, view),
  ];
  return sections.filter((text) => text !== "").join("\n");
}

function headText(context: CliContext, view: StatusView): string {
  const { out, symbols, utc } = context;
  const now = context.now();
  const style = modeStyle(view);
  const title = `${out.style(style, symbols.dot)} ${out.style("bold", `siteagent ${oneLine(view.site)}`)} - ${oneLine(view.version)}`;
  const reason = [view.mode_reason, view.mode_by === null || view.mode_by === "" ? null : `by ${view.mode_by}`]
    .filter((text) => text !== null && text !== "")
    .join(", ");
  const until = view.mode_until === null ? "" : `, until ${timeAndAge(view.mode_until, now, utc)}`;
  const mode = `${out.style(style, view.mode)}${reason === "" ? "" : ` (${oneLine(reason)})`}${until}`;
  const facts: (readonly [string, string])[] = [
    ["State", mode],
    ["Health", healthText(context, view)],
    ["Server", serverText(context, view)],
    ["Jobs", countsText(view.jobs)],
    ["Reports", reportsText(view, now)],
    [
      "Journal",
      `${view.journal.health}, ${formatSize(view.journal.bytes)}, ${counted(view.journal.records, "record")}, last sync ${view.journal.last_sync_ms.toFixed(1)} ms`,
    ],
    ...(view.cache === null ? [] : [["Cache", cacheText(view.cache)] as const]),
    ["Config", `${oneLine(view.config.file)}, loaded ${relative(view.config.loaded_at, now)}`],
    ["Process", `${view.pid}, up since ${timeAndAge(view.since, now, utc)}`],
  ];
  return `${title}\n${factsText(facts, out)}`;
}

function modeStyle(view: StatusView): Style {
  if (view.problems.length > 0 || !view.api.reachable) return "yellow";
  return view.mode === "running" ? "green" : "yellow";
}

function healthText(context: CliContext, view: StatusView): string {
  const { out, symbols } = context;
  if (view.problems.length === 0) return out.style("green", `${symbols.good} well`);
  return out.style("yellow", `${symbols.warn} degraded: ${counted(view.problems.length, "problem")}`);
}

function serverText(context: CliContext, view: StatusView): string {
  const { api } = view;
  const now = context.now();
  const state = api.reachable
    ? context.out.style("green", "reachable")
    : context.out.style("red", `not reachable since ${relative(api.since, now)}`);
  const last = api.last_sync_at === null ? "never spoken to" : `last sync ${relative(api.last_sync_at, now)}`;
  const due = api.next_sync_at !== null && Date.parse(api.next_sync_at) > now ? api.next_sync_at : undefined;
  const next = due === undefined ? "" : `, next ${relative(due, now)}`;
  const error = api.last_error === null || api.reachable ? "" : `\n${oneLine(api.last_error)}`;
  return `${oneLine(api.url)} (${oneLine(api.dialect)}), ${state}, ${last}${next}${error}`;
}

function countsText(jobs: readonly LocalJob[]): string {
  const counts = new Map<string, number>();
  for (const job of jobs) {
    if (!isFinalStatus(job.status)) counts.set(job.status, (counts.get(job.status) ?? 0) + 1);
  }
  const held = [...counts.values()].reduce((sum, count) => sum + count, 0);
  const parts = [...counts].map(([status, count]) => `${count} ${status}`);
  return held === 0 ? "none held" : `${held} held: ${parts.join(", ")}`;
}

function reportsText(view: StatusView, now: number): string {
  const { unsent, oldest_at: oldest, parked } = view.outbox;
  const age = oldest === null ? "" : `, the oldest of ${relative(oldest, now)}`;
  return `${unsent === 0 ? "all sent" : `${unsent} unsent${age}`}${parked > 0 ? `, ${parked} refused by the server` : ""}`;
}

function cacheText(cache: NonNullable<StatusView["cache"]>): string {
  const { bytes, files, max_bytes: max, hits, misses, saved_bytes: saved, spoilt } = cache;
  const held = bytes === null || files === null ? "not used yet" : `${formatSize(bytes)} in ${counted(files, "file")}`;
  const removed = spoilt === 0 ? "" : `, ${spoilt} spoilt and removed`;
  return `${held} of at most ${formatSize(max)}; ${counted(hits, "hit")} (${formatSize(saved)}), ${misses} missed${removed}`;
}

function problemsText(context: CliContext, view: StatusView): string {
  const { out, symbols } = context;
  const lines = view.problems.flatMap((problem) => {
    const since = relative(problem.since, context.now());
    const what = `  ${out.style("yellow", symbols.warn)} ${manyLines(problem.what)} (${since})`;
    return problem.repair === undefined ? [what] : [what, `    ${symbols.arrow} ${manyLines(problem.repair)}`];
  });
  return section(context, "Problems", lines.map((line) => `${line}\n`).join(""));
}

function targetsText(context: CliContext, view: StatusView): string {
  type Target = StatusView["targets"][number];
  const apps = (target: Target): string =>
    view.apps
      .filter((app) => app.target === target.name)
      .map((app) => (app.running > 0 ? `${app.name} (${app.running})` : app.name))
      .join(" ");
  const columns: readonly Column<Target>[] = [
    { key: "name", title: "TARGET", value: (target) => target.name },
    { key: "launcher", title: "LAUNCHER", value: (target) => target.launcher },
    { key: "used", title: "USED", value: (target) => `${target.used}/${target.slots}`, right: true },
    { key: "tier", title: "KILL", value: (target) => target.tier },
    { key: "apps", title: "APPS", value: apps, shrinkTo: 12 },
    { key: "problem", title: "PROBLEM", value: (target) => target.problem ?? "", style: () => "yellow", shrinkTo: 12 },
  ];
  return tableSection(context, "Targets", view.targets, columns);
}

function jobsText(context: CliContext, view: StatusView): string {
  const now = context.now();
  const active = view.jobs.filter((job) => !isFinalStatus(job.status)).slice(0, mostJobs);
  const columns: readonly Column<LocalJob>[] = [
    { key: "id", title: "ID", value: (job) => job.id },
    { key: "status", title: "STATUS", value: (job) => job.status, style: (job) => statusStyle(job.status) },
    { key: "app", title: "APP", value: (job) => job.app },
    { key: "target", title: "TARGET", value: (job) => job.target },
    { key: "age", title: "AGE", value: (job) => shortAge(job.claimed_at, now), right: true },
    { key: "info", title: "INFO", value: (job) => infoOf(rowOf(job), now), shrinkTo: 10 },
  ];
  return tableSection(context, "Jobs", active, columns);
}

function nextText(context: CliContext, view: StatusView): string {
  const lines = view.next.map((text) => `  ${context.symbols.arrow} ${oneLine(text)}\n`);
  return section(context, "Next", lines.join(""));
}

function logText(context: CliContext, view: StatusView): string {
  const lines = view.log
    .slice(-lastLines)
    .map((line) => `  ${context.out.style("dim", oneLine(logLine(context, line)))}\n`);
  return section(context, "Log", lines.join(""));
}

/** `2026-11-20T11:48:24.977Z info words`: the time of day as everywhere else here. */
export function logLine(context: CliContext, line: string): string {
  const match = /^(\d{4}-\d{2}-\d{2}T[\d:.]+Z) (.*)$/.exec(line);
  const [, at, rest] = match ?? [];
  if (at === undefined || rest === undefined) return line;
  const date = new Date(at);
  return `${context.utc ? date.toISOString().slice(11, 19) : date.toTimeString().slice(0, 8)} ${rest}`;
}
