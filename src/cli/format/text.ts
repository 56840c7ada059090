import { stripVTControlCharacters } from "node:util";

/** Texts that come from jobs, servers and files, made harmless and fitted for a terminal. */

const controls = /[\p{Cc}\p{Zl}\p{Zp}\p{Bidi_Control}]/gu;

/** On one line, every control character written as its escape (`\u001b`): nothing foreign steers the terminal. */
export function oneLine(text: string): string {
  return text.toWellFormed().replace(controls, escape);
}

/** The same, but line ends and tabs stay. */
export function manyLines(text: string): string {
  return text.toWellFormed().replace(controls, (sign) => (sign === "\n" || sign === "\t" ? sign : escape(sign)));
}

function escape(sign: string): string {
  if (sign === "\n") return "\\n";
  if (sign === "\t") return "\\t";
  if (sign === "\r") return "\\r";
  return `\\u${(sign.codePointAt(0) ?? 0).toString(16).padStart(4, "0")}`;
}

let segmenter: Intl.Segmenter | undefined;

/** Signs as people see them. Made on first use: most texts are ASCII, and it takes 12 ms. */
function signs(text: string): Intl.Segments {
  segmenter ??= new Intl.Segmenter("en", { granularity: "grapheme" });
  return segmenter.segment(text);
}

const zeroWidth = /^[\p{Mn}\p{Me}\p{Cf}]+$/u;
const wide =
  /^(?:\p{Emoji_Presentation}|\p{Script=Han}|\p{Script=Hiragana}|\p{Script=Katakana}|\p{Script=Hangul}|[\u3000-\u303e\uff01-\uff60\uffe0-\uffe6])/u;

/** Columns that a text takes; colours take none. */
export function displayWidth(text: string): number {
  const plain = text.includes("\u001b") ? stripVTControlCharacters(text) : text;
  if (/^[\x20-\x7e]*$/.test(plain)) return plain.length;
  let width = 0;
  for (const { segment } of signs(plain)) width += widthOf(segment);
  return width;
}

function widthOf(segment: string): number {
  if (zeroWidth.test(segment)) return 0;
  return wide.test(segment) ? 2 : 1;
}

/** At most `width` columns; what was cut ends in `ellipsis`. */
export function cut(text: string, width: number, ellipsis: string): string {
  if (displayWidth(text) <= width) return text;
  const room = width - displayWidth(ellipsis);
  let used = 0;
  let kept = "";
  for (const { segment } of signs(text)) {
    used += widthOf(segment);
    if (used > room) break;
    kept += segment;
  }
  return room < 0 ? "" : kept + ellipsis;
}

/** Breaks a text into lines of at most `width` columns at blanks; longer words stay whole. */
export function wrap(text: string, width: number): readonly string[] {
  const lines: string[] = [];
  for (const paragraph of text.split("\n")) {
    let line = "";
    for (const word of paragraph.split(" ")) {
      const longer = line === "" ? word : `${line} ${word}`;
      if (line !== "" && displayWidth(longer) > width) {
        lines.push(line);
        line = word;
      } else line = longer;
    }
    lines.push(line);
  }
  return lines;
}

/** `1 job`, `3 jobs`. */
export function counted(count: number, noun: string): string {
  return `${count.toLocaleString("en-US")} ${noun}${count === 1 ? "" : "s"}`;
}
