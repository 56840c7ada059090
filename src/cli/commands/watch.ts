import { Fault, isFault } from "../../common/fault.ts";
import { isFinalStatus } from "../../jobs/status.ts";
import type { JobBackend, JobRow } from "../backend/types.ts";
import { connect } from "../connect.ts";
import { type CliContext, isMachine } from "../context.ts";
import { infoOf, jobColumns, statusStyle } from "../format/job.ts";
import { liveText } from "../format/progress.ts";
import { tableText } from "../format/table.ts";
import { counted, oneLine } from "../format/text.ts";
import { localTime } from "../format/time.ts";
import { resolveIds } from "../query.ts";
import type { CommandCall } from "../spec.ts";
import { timeoutExit } from "./wait.ts";

const screenMs = 500;
const mostRows = 30;

/** `siteagent watch IDS`. */
export async function run(context: CliContext, call: CommandCall): Promise<number> {
  if (context.format === "json" || context.format === "yaml") {
    throw new Fault("USAGE", `a stream of changes is not one document of '${context.format}'`, {
      hint: "add -o jsonl for one object per change, or use: siteagent wait IDS, then siteagent job ID -o json",
    });
  }
  await using backend = await connect(context, call.options);
  const timeoutMs = call.options.durationMs("timeout");
  const ids = await resolveIds(backend, call.args);
  return await watchJobs(context, backend, ids, timeoutMs);
}

/** Shows changes until all jobs have ended. 0 all finished, 1 not, 124 time is over. */
export async function watchJobs(
  context: CliContext,
  backend: JobBackend,
  ids: readonly string[],
  timeoutMs: number | undefined,
): Promise<number> {
  const machine = isMachine(context.format);
  if (backend.kind === "hub" && !machine) context.note(`watching ${counted(ids.length, "job")} at ${backend.address}`);
  const view = machine
    ? jsonView(context)
    : context.out.interactive
      ? await screenView(context, ids)
      : lineView(context);
  try {
    const rows = await backend.wait(ids, { timeoutMs, onChange: (row) => view.change(row) });
    view.close(rows);
    return rows.every((row) => row.status === "FINISHED") ? 0 : 1;
  } catch (error) {
    view.close([]);
    if (!isFault(error, "TIMEOUT")) throw error;
    context.note(`siteagent: ${error.message}`);
    return timeoutExit;
  }
}

interface View {
  change(row: JobRow): void;
  close(rows: readonly JobRow[]): void;
}

/** One object per event and a closing one, each on a line. */
function jsonView(context: CliContext): View {
  const write = (data: object): void => context.print(`${JSON.stringify(data)}\n`);
  return {
    change: (row) => write({ event: "change", job: row.raw }),
    close: (rows) =>
      write({
        event: "end",
        finished: rows.length > 0 && rows.every((row) => row.status === "FINISHED"),
        jobs: rows.map((row) => ({ id: row.id, status: row.status })),
      }),
  };
}

/** One line per change of the words that people see; figures of files that move are for screens. */
function lineView(context: CliContext): View {
  const last = new Map<string, string>();
  return {
    change(row) {
      const wordsOf = (seen: JobRow): string =>
        [seen.status, infoOf(seen, context.now())].filter((text) => text !== "").join("  ");
      const words = wordsOf(row);
      const lasting = row.progress ? wordsOf({ ...row, progress: null }) : words;
      if (last.get(row.id) === lasting) return;
      last.set(row.id, lasting);
      context.print(`${localTime(row.updatedAt, context.utc)}  ${oneLine(row.id)}  ${oneLine(words)}\n`);
    },
    close: () => {},
  };
}

/** What runs and what failed; what has finished is folded into a count. */
async function screenView(context: CliContext, ids: readonly string[]): Promise<View> {
  const { createLogUpdate } = await import("log-update");
  const screen = createLogUpdate(process.stdout, { showCursor: true });
  const rows = new Map<string, JobRow>();
  let closed = false;
  let waiting = false;
  // Changes that come together are one drawing.
  const draw = (): void => {
    if (waiting) return;
    waiting = true;
    setImmediate(() => {
      waiting = false;
      if (!closed) screen(screenText(context, ids, rows));
    });
  };
  const timer = setInterval(draw, screenMs);
  return {
    change(row) {
      rows.set(row.id, row);
      draw();
    },
    close(ends) {
      clearInterval(timer);
      closed = true;
      screen.clear();
      screen.done();
      for (const row of ends) {
        const { good, bad } = context.symbols;
        const sign = row.status === "FINISHED" ? good : bad;
        const style = statusStyle(row.status) ?? "bold";
        const info = infoOf(row, context.now());
        context.print(`${context.out.style(style, `${sign} ${row.status}`)}  ${oneLine(row.id)}  ${oneLine(info)}\n`);
      }
    },
  };
}

/** As in a list of jobs, with a bar where files move. */
function liveInfo(context: CliContext, row: JobRow): string {
  return row.progress && !row.hold ? liveText(context, row.progress) : infoOf(row, context.now());
}

function screenText(context: CliContext, ids: readonly string[], rows: ReadonlyMap<string, JobRow>): string {
  const known = ids.map((id) => rows.get(id)).filter((row) => row !== undefined);
  const finished = known.filter((row) => row.status === "FINISHED").length;
  const shown = known.filter((row) => row.status !== "FINISHED" || ids.length === 1);
  const names = ["id", "status", "name", "site", "time", "info"];
  const columns = jobColumns(context)
    .filter(({ key }) => names.includes(key))
    .map((column) => (column.key === "info" ? { ...column, value: (row: JobRow) => liveInfo(context, row) } : column));
  const { ellipsis } = context.symbols;
  const table = tableText(shown.slice(0, mostRows), columns, context.out, {
    header: true,
    dropEmpty: true,
    ellipsis,
  });
  const open = ids.length - known.filter((row) => isFinalStatus(row.status)).length;
  const more = shown.length > mostRows ? `, ${shown.length - mostRows} more` : "";
  const failed = known.length - finished - known.filter((row) => !isFinalStatus(row.status)).length;
  const counts = `${open} to go, ${finished} finished, ${failed} failed or cancelled${more}`;
  return `${table}${context.out.style("dim", `${counts}; Ctrl-C stops watching, not the jobs`)}`;
}
