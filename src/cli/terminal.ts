import { styleText } from "node:util";

/** The parts of a Node stream that decide how text looks on it. */
export interface TextStream {
  readonly isTTY?: boolean | undefined;
  readonly columns?: number | undefined;
  write(text: string | Uint8Array): boolean;
}

export const colorModes = ["auto", "always", "never"] as const;
export type ColorMode = (typeof colorModes)[number];

export type Style = Parameters<typeof styleText>[0];

/** How text may look on one stream. */
export interface Terminal {
  /** True on a terminal: cut to width, live screens, escape sequences out of foreign text. */
  readonly interactive: boolean;
  /** Columns, at least 40; 100 when it is no terminal. */
  readonly columns: number;
  readonly color: boolean;
  /** False: ASCII symbols only. */
  readonly unicode: boolean;
  style(style: Style, text: string): string;
}

export function terminalOf(stream: TextStream, env: NodeJS.ProcessEnv, mode: ColorMode): Terminal {
  const interactive = stream.isTTY === true && env["TERM"] !== "dumb";
  const color = wantsColor(interactive, env, mode);
  return {
    interactive,
    columns: Math.max(40, stream.columns ?? (Number(env["COLUMNS"]) || 100)),
    color,
    unicode: speaksUtf8(env),
    style: (style, text) => (color && text !== "" ? styleText(style, text, { validateStream: false }) : text),
  };
}

/** Flag, then NO_COLOR, then FORCE_COLOR, then whether it is a terminal that can. */
function wantsColor(interactive: boolean, env: NodeJS.ProcessEnv, mode: ColorMode): boolean {
  if (mode !== "auto") return mode === "always";
  if (env["NO_COLOR"]) return false;
  const force = env["FORCE_COLOR"];
  if (force !== undefined && force !== "") return force !== "0" && force !== "false";
  return interactive;
}

/** The first of LC_ALL, LC_CTYPE, LANG that is set decides, as in the C library. */
export function speaksUtf8(env: NodeJS.ProcessEnv): boolean {
  const locale = env["LC_ALL"] || env["LC_CTYPE"] || env["LANG"] || "";
  return /utf-?8/i.test(locale);
}

/** Signs with which lines begin; a word always stands beside them. */
export interface Symbols {
  readonly good: string;
  readonly bad: string;
  readonly warn: string;
  readonly skip: string;
  readonly dot: string;
  readonly arrow: string;
  readonly ellipsis: string;
}
const utf8Symbols: Symbols = { good: "✔", bad: "✖", warn: "▲", skip: "–", dot: "●", arrow: "→", ellipsis: "…" };
const asciiSymbols: Symbols = { good: "+", bad: "x", warn: "!", skip: "-", dot: "*", arrow: "->", ellipsis: "+" };

export function symbolsOf(terminal: Terminal): Symbols {
  return terminal.unicode ? utf8Symbols : asciiSymbols;
}
