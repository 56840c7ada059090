import type { Style, Terminal } from "../terminal.ts";
import { cut, displayWidth, oneLine, wrap } from "./text.ts";

export interface Column<Row> {
  readonly key: string;
  readonly title: string;
  /** Foreign text is welcome: it is made harmless here. */
  value(row: Row): string;
  style?(row: Row): Style | undefined;
  readonly right?: boolean;
  /** May be cut on a terminal down to this many columns; absent: never. The last such column gives way first. */
  readonly shrinkTo?: number;
  /** May be left out where the terminal is too narrow even so, the lowest number first; absent: never. */
  readonly giveUp?: number;
  /** The last column only: on a terminal, what has no room beside the others stands whole below its row. */
  readonly below?: boolean;
}

export interface TableOptions {
  readonly header: boolean;
  /** Columns without any value disappear. */
  readonly dropEmpty: boolean;
  readonly ellipsis: string;
}

/** Rows as aligned text. Cut to the width of a terminal; in a pipe nothing is ever cut. */
export function tableText<Row>(
  rows: readonly Row[],
  columns: readonly Column<Row>[],
  terminal: Terminal,
  options: TableOptions,
): string {
  let cells = rows.map((row) => columns.map((column) => oneLine(column.value(row))));
  const kept = columns.flatMap((column, index) => {
    const used = !options.dropEmpty || cells.some((line) => line[index] !== "");
    return used ? [{ column, index }] : [];
  });
  if (kept.length === 0) return "";
  if (options.dropEmpty && terminal.interactive) giveUp(kept, cells, terminal.columns);
  const last = kept.at(-1);
  const below = terminal.interactive && last?.column.below === true && kept.length > 1 ? last : undefined;
  if (below) kept.pop();
  const notes = below && cells.map((line) => line[below.index] ?? "");
  cells = cells.map((line) => kept.map(({ index }) => line[index] ?? ""));
  const shown = kept.map(({ column }) => column);
  const header = options.header ? [shown.map((column) => column.title)] : [];
  const widths = fit([...header, ...cells], shown, terminal);
  const styled = cells.map((line, at) => styleLine(line, rows[at], shown, widths, terminal, options.ellipsis));
  const titles = header.map((line) => line.map((title, at) => terminal.style("bold", cut(title, widths[at] ?? 0, ""))));
  const lines = layout([...titles, ...styled], shown);
  const all =
    below && notes ? withNotes(lines, [...(options.header ? [below.column.title] : []), ...notes], terminal) : lines;
  return all.map((line) => `${line.replace(/ +$/, "")}\n`).join("");
}

/** Each line with its note: beside it where that fits, else below it, wrapped and indented. */
function withNotes(lines: readonly string[], notes: readonly string[], terminal: Terminal): readonly string[] {
  return lines.flatMap((line, at) => {
    const note = notes[at] ?? "";
    if (displayWidth(line) + gap + displayWidth(note) <= terminal.columns) return [`${line}${" ".repeat(gap)}${note}`];
    return [line, ...wrap(note, terminal.columns - noteIndent).map((part) => " ".repeat(noteIndent) + part)];
  });
}

const noteIndent = 6;

/** Removes columns from `kept` until the narrowest form of the table fits. */
function giveUp<Row>(kept: Kept<Row>[], cells: readonly (readonly string[])[], columns: number): void {
  const least = ({ column, index }: Kept<Row>): number => {
    const width = Math.max(displayWidth(column.title), ...cells.map((line) => displayWidth(line[index] ?? "")));
    return Math.min(width, column.shrinkTo ?? width) + gap;
  };
  for (;;) {
    const excess = kept.reduce((sum, one) => sum + least(one), -gap) - columns;
    const [weakest] = kept
      .filter(({ column }) => column.giveUp !== undefined)
      .toSorted((a, b) => (a.column.giveUp ?? 0) - (b.column.giveUp ?? 0));
    if (excess <= 0 || !weakest) return;
    kept.splice(kept.indexOf(weakest), 1);
  }
}

interface Kept<Row> {
  readonly column: Column<Row>;
  readonly index: number;
}

function styleLine<Row>(
  line: readonly string[],
  row: Row | undefined,
  columns: readonly Column<Row>[],
  widths: readonly number[],
  terminal: Terminal,
  ellipsis: string,
): string[] {
  return line.map((cell, at) => {
    const text = cut(cell, widths[at] ?? cell.length, ellipsis);
    const style = row === undefined ? undefined : columns[at]?.style?.(row);
    return style === undefined ? text : terminal.style(style, text);
  });
}

/** Widths of the columns; on a terminal the shrinkable ones give way until the line fits. */
function fit<Row>(
  lines: readonly (readonly string[])[],
  columns: readonly Column<Row>[],
  terminal: Terminal,
): readonly number[] {
  const widths = columns.map((_, at) => Math.max(1, ...lines.map((line) => displayWidth(line[at] ?? ""))));
  if (!terminal.interactive) return widths;
  let excess = widths.reduce((sum, width) => sum + width + gap, -gap) - terminal.columns;
  for (let at = columns.length - 1; at >= 0 && excess > 0; at--) {
    const least = columns[at]?.shrinkTo;
    const width = widths[at] ?? 0;
    if (least === undefined || width <= least) continue;
    const taken = Math.min(excess, width - least);
    widths[at] = width - taken;
    excess -= taken;
  }
  return widths;
}

const gap = 2;

/** Cells side by side, each column as wide as its widest. */
function layout<Row>(lines: readonly (readonly string[])[], columns: readonly Column<Row>[]): readonly string[] {
  const widths = columns.map((_, at) => Math.max(...lines.map((line) => displayWidth(line[at] ?? ""))));
  const padded = (cell: string, at: number): string => {
    const blanks = " ".repeat((widths[at] ?? 0) - displayWidth(cell));
    return columns[at]?.right ? blanks + cell : cell + blanks;
  };
  return lines.map((line) => line.map(padded).join(" ".repeat(gap)));
}

/** `key: value` lines with aligned values; empty values are left out. */
export function factsText(facts: readonly (readonly [string, string])[], terminal: Terminal, indent = ""): string {
  const shown = facts.filter(([, value]) => value !== "");
  const width = Math.max(0, ...shown.map(([name]) => displayWidth(name)));
  return shown
    .map(([name, value]) => {
      const label = terminal.style("dim", `${name.padStart(width)}:`);
      const room = terminal.columns - width - 2 - indent.length;
      const lines = terminal.interactive ? wrap(value, Math.max(20, room)) : value.split("\n");
      const rest = lines.join(`\n${indent}${" ".repeat(width + 2)}`);
      return `${indent}${label} ${rest}\n`;
    })
    .join("");
}
