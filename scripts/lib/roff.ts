/** Manual pages as `man` reads them: the few requests of man(7) that a page of ours needs, and their escaping. */

/** Plain text inside a line: nothing in it is a request, every sign comes out as typed. */
export function roffText(text: string): string {
  const line = text.replaceAll(/\s*\n\s*/g, " ");
  const escaped = Array.from(line, (sign) => signs[sign] ?? beyondAscii(sign)).join("");
  return /^[.']/.test(escaped) ? `\\&${escaped}` : escaped;
}

const signs: Readonly<Record<string, string>> = {
  "\\": "\\e",
  "-": "\\-",
  "'": "\\(aq",
  "`": "\\(ga",
  "^": "\\(ha",
  "~": "\\(ti",
  '"': "\\(dq",
};

function beyondAscii(sign: string): string {
  const code = sign.codePointAt(0) ?? 0;
  return code < 128 ? sign : `\\[u${code.toString(16).toUpperCase().padStart(4, "0")}]`;
}

/** Text whose `code` is set in bold. */
export function roffProse(text: string): string {
  const pieces = text.split("`");
  const joined = pieces.map((piece, at) => (at % 2 === 1 ? bold(piece) : inner(piece))).join("");
  return /^[.']/.test(joined) ? `\\&${joined}` : joined;
}

/** Inside a line no dot begins a request. */
function inner(text: string): string {
  return roffText(text).replace(/^\\&/, "");
}

export function bold(text: string): string {
  return `\\fB${inner(text)}\\fP`;
}

export function italic(text: string): string {
  return `\\fI${inner(text)}\\fP`;
}

export function section(title: string, lines: readonly string[]): readonly string[] {
  return lines.length === 0 ? [] : [`.SH ${roffText(title.toUpperCase())}`, ...lines];
}

/** A term (already roff) and what it means (already roff). */
export function entry(term: string, meaning: string): readonly string[] {
  return [".TP", term, meaning];
}

export function paragraph(line: string): readonly string[] {
  return [".PP", line];
}

/** Lines that are neither filled nor cut. */
export function literal(lines: readonly string[]): readonly string[] {
  return [".RS 4", ".nf", ...lines.map((line) => roffText(line)), ".fi", ".RE"];
}

/** The first line of a page, after a remark on where it comes from. */
export function heading(name: string, source: string, version: string): readonly string[] {
  const title = roffText(name.toUpperCase());
  return [
    `.\\" Made by npm run generate from ${source}.`,
    `.TH ${title} 1 "" "siteagent ${version}" "siteagent manual"`,
  ];
}
