/**
 * The words in which Python's JSON parser complains; clients of the NMDC Runtime see them in answers 422. Only asked
 * after `JSON.parse` has refused the text.
 */
export interface JsonComplaint {
  /** Without the position, e.g. `Expecting value`. */
  readonly message: string;
  /** Characters (code points) before the fault. */
  readonly position: number;
}

class Complaint extends Error {
  readonly at: number;

  constructor(message: string, at: number) {
    super(message);
    this.at = at;
  }
}

/** Deeper nesting than the recursion below should follow. */
const deepest = 500;

/** What Python's `json.loads` says about `text`. */
export function complainAbout(text: string): JsonComplaint {
  let fault = new Complaint("Expecting value", 0);
  try {
    const end = blanks(text, value(text, blanks(text, 0), 0));
    if (end < text.length) fault = new Complaint("Extra data", end);
  } catch (error) {
    if (error instanceof Complaint) fault = error;
  }
  return { message: fault.message, position: Array.from(text.slice(0, fault.at)).length };
}

/** As Python prints it: `Expecting value: line 1 column 7 (char 6)`. */
export function complaintText(text: string): string {
  const { message, position } = complainAbout(text);
  const before = Array.from(text).slice(0, position);
  const line = before.filter((letter) => letter === "\n").length + 1;
  const column = position - before.lastIndexOf("\n");
  return `${message}: line ${line} column ${column} (char ${position})`;
}

function blanks(text: string, at: number): number {
  let i = at;
  while (i < text.length && " \t\n\r".includes(text.charAt(i))) i++;
  return i;
}

/** Each reader returns the position after what it read. */
function value(text: string, at: number, depth: number): number {
  if (depth > deepest) throw new Complaint("Expecting value", at);
  const first = text.charAt(at);
  if (first === '"') return string(text, at);
  if (first === "{") return object(text, at, depth);
  if (first === "[") return array(text, at, depth);
  const word = /(?:null|true|false|NaN|-?Infinity|-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][-+]?\d+)?)/y;
  word.lastIndex = at;
  const found = word.exec(text);
  if (!found) throw new Complaint("Expecting value", at);
  return word.lastIndex;
}

function string(text: string, at: number): number {
  for (let i = at + 1; i < text.length; i++) {
    const letter = text.charAt(i);
    if (letter === '"') return i + 1;
    if (letter < " ") throw new Complaint("Invalid control character at", i);
    if (letter !== "\\") continue;
    const escaped = text.charAt(i + 1);
    if (escaped === "") break;
    if (escaped === "u") {
      if (!/^[0-9a-fA-F]{4}$/.test(text.slice(i + 2, i + 6))) throw new Complaint("Invalid \\uXXXX escape", i + 1);
      i += 5;
    } else if ('"\\/bfnrt'.includes(escaped)) {
      i += 1;
    } else {
      throw new Complaint("Invalid \\escape", i);
    }
  }
  throw new Complaint("Unterminated string starting at", at);
}

function object(text: string, at: number, depth: number): number {
  let i = blanks(text, at + 1);
  if (text.charAt(i) === "}") return i + 1;
  for (;;) {
    if (text.charAt(i) !== '"') throw new Complaint("Expecting property name enclosed in double quotes", i);
    i = blanks(text, string(text, i));
    if (text.charAt(i) !== ":") throw new Complaint("Expecting ':' delimiter", i);
    i = blanks(text, value(text, blanks(text, i + 1), depth + 1));
    if (text.charAt(i) === "}") return i + 1;
    if (text.charAt(i) !== ",") throw new Complaint("Expecting ',' delimiter", i);
    i = blanks(text, i + 1);
  }
}

function array(text: string, at: number, depth: number): number {
  let i = blanks(text, at + 1);
  if (text.charAt(i) === "]") return i + 1;
  for (;;) {
    i = blanks(text, value(text, i, depth + 1));
    if (text.charAt(i) === "]") return i + 1;
    if (text.charAt(i) !== ",") throw new Complaint("Expecting ',' delimiter", i);
    i = blanks(text, i + 1);
  }
}
