import { Fault } from "../../common/fault.ts";
import { quoted } from "../../common/nearest.ts";
import type { JobList, JobRow } from "../backend/types.ts";
import { connect } from "../connect.ts";
import { type CliContext, isMachine, printData } from "../context.ts";
import { jobColumns, tableColumns, totalText, wideColumns } from "../format/job.ts";
import { type Column, tableText } from "../format/table.ts";
import { hintNearest } from "../hints.ts";
import { filterOf } from "../query.ts";
import type { CommandCall } from "../spec.ts";

/** `siteagent jobs`. */
export async function run(context: CliContext, call: CommandCall): Promise<number> {
  const { options } = call;
  const chosen = chosenColumns(context, options.text("columns"));
  await using backend = await connect(context, options);
  const filter = await filterOf(context, options, backend, { active: true });
  const list = await backend.list(filter);
  const { rows, total } = list;
  if (context.format === "jsonl")
    await printData(
      context,
      rows.map((row) => row.raw),
    );
  else if (isMachine(context.format))
    await printData(context, {
      jobs: rows.map((row) => row.raw),
      total,
      total_capped: list.capped,
    });
  else if (context.format === "name") context.print(rows.map((row) => `${row.id}\n`).join(""));
  else {
    const explicit = options.given("columns");
    // `wide` is never cut, whatever the terminal.
    const terminal = context.format === "wide" ? { ...context.out, interactive: false } : context.out;
    context.print(
      tableText(rows, chosen, terminal, {
        header: options.notRefused("header") && rows.length > 0,
        dropEmpty: !explicit,
        ellipsis: context.symbols.ellipsis,
      }),
    );
    remark(context, list, filter.active);
  }
  return 0;
}

function chosenColumns(context: CliContext, text: string | undefined): readonly Column<JobRow>[] {
  const all = jobColumns(context);
  const names = text?.split(",") ?? (context.format === "wide" ? wideColumns : tableColumns);
  return names.map((name) => {
    const column = all.find(({ key }) => key === name.trim().toLowerCase());
    if (column) return column;
    throw new Fault("USAGE", `--columns names ${quoted(name)}, which is no column`, {
      hint: hintNearest(
        name,
        all.map(({ key }) => key),
      ),
    });
  });
}

function remark(context: CliContext, list: JobList, active: boolean): void {
  const { length } = list.rows;
  const all = totalText(list);
  if (all !== undefined) context.note(`${length} of ${all} shown; see --limit and the filters`);
  else if (length === 0) context.note(active ? "no active jobs; --all shows those that have ended" : "no jobs");
}
