/** Longest text that is kept of what a command said. */
const longestWords = 500;

/** What a command printed, for people: one line, without control characters, cut. Empty when it said nothing. */
export function wordsOf(text: string): string {
  // oxlint-disable-next-line no-control-regex -- control characters are what is replaced
  const line = text.replace(/[\u0000-\u001f\u007f]+/g, " ").trim();
  return line.length <= longestWords ? line : `${line.slice(0, longestWords)}…`;
}
