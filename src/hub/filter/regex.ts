/**
 * `$regex` of a filter: RE2 syntax, linear time whatever the pattern and the text. A pattern travels through SQL as one
 * packed string (options, slash, source) so that a database function can take it.
 */
import { RE2JS } from "re2js";
import { Fault } from "../../common/fault.ts";

/** Longest pattern, characters. Compiled size grows with it. */
export const longestPattern = 1_000;
/** A repetition such as `(a{50}){50}` unrolls; above this many instructions a pattern is refused. */
const largestProgram = 10_000;
const kept = 200;

const compiled = new Map<string, RE2JS>();

/** Checks and packs a pattern. Options: `i`, `m`, `s`, `x` (blanks and comments in the pattern do not count), `u`. Throws `BAD_FILTER`. */
export function packRegex(source: string, options: string): string {
  const unknown = Array.from(options).find((letter) => !"imsxu".includes(letter));
  if (unknown !== undefined) {
    throw new Fault("BAD_FILTER", `$options has the letter '${unknown}'; i, m, s, x and u are allowed`);
  }
  if (source.length > longestPattern) {
    throw new Fault("BAD_FILTER", `a $regex of ${source.length} characters is too long; ${longestPattern} are allowed`);
  }
  const packed = `${options}/${options.includes("x") ? withoutBlanks(source) : source}`;
  pattern(packed);
  return packed;
}

/** True when the packed pattern is found anywhere in `text`. */
export function regexTest(packed: string, text: string): boolean {
  return pattern(packed).test(text);
}

function pattern(packed: string): RE2JS {
  const known = compiled.get(packed);
  if (known) return known;
  const slash = packed.indexOf("/");
  const options = packed.slice(0, slash);
  const source = packed.slice(slash + 1);
  let flags = 0;
  if (options.includes("i")) flags |= RE2JS.CASE_INSENSITIVE;
  if (options.includes("m")) flags |= RE2JS.MULTILINE;
  if (options.includes("s")) flags |= RE2JS.DOTALL;
  const made = compile(source, flags);
  if (compiled.size >= kept) compiled.clear();
  compiled.set(packed, made);
  return made;
}

function compile(source: string, flags: number): RE2JS {
  let made: RE2JS;
  try {
    made = RE2JS.compile(source, flags);
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new Fault("BAD_FILTER", `$regex '${source}' cannot be used: ${reason}`, {
      hint: "patterns are RE2: no look-around, no back-references",
      cause: error,
    });
  }
  if (made.programSize() > largestProgram) {
    throw new Fault("BAD_FILTER", `$regex '${source}' is too large when its repetitions are written out`);
  }
  return made;
}

/** What option `x` means: white space and `# …` comments do not count, except escaped or in a class. */
function withoutBlanks(source: string): string {
  let out = "";
  let inClass = false;
  for (let i = 0; i < source.length; i++) {
    const letter = source.charAt(i);
    if (letter === "\\") {
      out += letter + source.charAt(++i);
      continue;
    }
    if (letter === "[") inClass = true;
    if (letter === "]") inClass = false;
    if (!inClass && letter === "#") {
      while (i < source.length && source.charAt(i) !== "\n") i++;
      continue;
    }
    if (inClass || !/\s/.test(letter)) out += letter;
  }
  return out;
}
