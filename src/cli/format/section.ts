import type { CliContext } from "../context.ts";
import { type Column, tableText } from "./table.ts";

/** A bold title over its lines; nothing when there are none. */
export function section(context: CliContext, title: string, body: string): string {
  return body === "" ? "" : `${context.out.style("bold", title)}\n${body}`;
}

/** The rows as an indented table below a title; nothing when there are none. */
export function tableSection<Row>(
  context: CliContext,
  title: string,
  rows: readonly Row[],
  columns: readonly Column<Row>[],
): string {
  if (rows.length === 0) return "";
  const { ellipsis } = context.symbols;
  const terminal = { ...context.out, columns: context.out.columns - 2 };
  const text = tableText(rows, columns, terminal, { header: true, dropEmpty: true, ellipsis });
  return section(context, title, text.replace(/^(?=.)/gm, "  "));
}
