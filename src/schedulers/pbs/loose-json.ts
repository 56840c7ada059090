/**
 * Reads the JSON of qstat, which is not always JSON: control characters and quotes stand unescaped in values of exported shell functions, words
 * such as `nan` or `007` without quotes, an object's name twice, a comma too many or too few. Values come as the text that stood there, for `1e5` may be
 * a name; an object that comes twice is merged.
 */
export type LooseValue = string | LooseObject | readonly LooseValue[];
export type LooseObject = Map<string, LooseValue>;

/** undefined when it is no object, or does not close. */
export function parseLooseJson(text: string): LooseObject | undefined {
  const reader = new Reader(text);
  try {
    const value = reader.value(0);
    return value instanceof Map && reader.atEnd() ? value : undefined;
  } catch (error) {
    if (error instanceof Unreadable) return undefined;
    throw error;
  }
}

class Unreadable extends Error {}

const deepest = 32;
const spaces = /[\s,]*/y;
const bare = /[^\s,\]}:"]+/y;
/** After a quote that ends a string one of these follows at once; any other quote belongs to the value. */
const afterString = /[,:}\]]|[ \t]*(?:\n|$)/y;
const special = /["\\]/g;
const hex = /^[0-9a-fA-F]{4}$/;
const escapes: Readonly<Record<string, string>> = { n: "\n", t: "\t", r: "\r", b: "\b", f: "\f" };

class Reader {
  readonly #text: string;
  #at = 0;

  constructor(text: string) {
    this.#text = text;
  }

  atEnd(): boolean {
    this.#skip();
    return this.#at >= this.#text.length;
  }

  value(depth: number): LooseValue {
    if (depth > deepest) throw new Unreadable();
    this.#skip();
    const first = this.#text[this.#at];
    if (first === "{") return this.#object(depth);
    if (first === "[") return this.#list(depth);
    return first === '"' ? this.#string() : this.#bare();
  }

  #object(depth: number): LooseObject {
    const object: LooseObject = new Map();
    this.#at++;
    for (;;) {
      this.#skip();
      if (this.#text[this.#at] === "}") break;
      if (this.#text[this.#at] !== '"') throw new Unreadable();
      const key = this.#string();
      this.#skip();
      if (this.#text[this.#at] !== ":") throw new Unreadable();
      this.#at++;
      const value = this.value(depth + 1);
      const before = object.get(key);
      if (before instanceof Map && value instanceof Map) for (const [name, each] of value) before.set(name, each);
      else object.set(key, value);
    }
    this.#at++;
    return object;
  }

  #list(depth: number): readonly LooseValue[] {
    const list: LooseValue[] = [];
    this.#at++;
    for (;;) {
      this.#skip();
      if (this.#text[this.#at] === "]") break;
      list.push(this.value(depth + 1));
    }
    this.#at++;
    return list;
  }

  #string(): string {
    let value = "";
    let from = this.#at + 1;
    for (;;) {
      const special = this.#next(from);
      value += this.#text.slice(from, special.at);
      if (special.char === '"') {
        if (this.#follows(afterString, special.at + 1)) {
          this.#at = special.at + 1;
          return value;
        }
        value += '"';
        from = special.at + 1;
      } else {
        const next = this.#text[special.at + 1] ?? "";
        const code = next === "u" ? hex.exec(this.#text.slice(special.at + 2, special.at + 6))?.[0] : undefined;
        value += code === undefined ? (escapes[next] ?? next) : String.fromCharCode(Number.parseInt(code, 16));
        from = special.at + (code === undefined ? 2 : 6);
      }
    }
  }

  /** The next quote or backslash. */
  #next(from: number): { readonly at: number; readonly char: string } {
    special.lastIndex = from;
    const found = special.exec(this.#text);
    if (!found) throw new Unreadable();
    return { at: found.index, char: found[0] };
  }

  #bare(): string {
    bare.lastIndex = this.#at;
    const word = bare.exec(this.#text)?.[0];
    if (word === undefined) throw new Unreadable();
    this.#at += word.length;
    return word;
  }

  #skip(): void {
    spaces.lastIndex = this.#at;
    this.#at += spaces.exec(this.#text)?.[0].length ?? 0;
  }

  #follows(pattern: RegExp, at: number): boolean {
    pattern.lastIndex = at;
    return pattern.test(this.#text);
  }
}
