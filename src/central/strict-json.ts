/** JSON from a server that may be broken or hostile: what a parser lets pass but nobody honest sends is refused. */

/** Nesting that no answer of the API comes near; deeper text is an attack on recursive readers. */
export const deepestAnswer = 128;
/** Nesting allowed in one job's own data. */
export const deepestItem = 64;

/**
 * Parses JSON text.
 * @throws SyntaxError for text that is no JSON, nests deeper than `maxDepth`, or names a member twice
 */
export function parseStrictJson(text: string, maxDepth = deepestAnswer): unknown {
  checkText(text, maxDepth);
  return JSON.parse(text) as unknown;
}

/**
 * Says what is wrong with a parsed value (`itself`: only with its own members): a member that would reach into prototypes, or too deep
 * nesting; undefined = nothing.
 */
export function hostility(value: unknown, part: "whole" | "itself" = "whole"): string | undefined {
  let level: object[] = isObject(value) ? [value] : [];
  for (let depth = 1; level.length > 0; depth++) {
    if (part === "itself" && depth > 1) return undefined;
    if (depth > deepestItem) return `nested deeper than ${deepestItem}`;
    const next: object[] = [];
    for (const holder of level) {
      if (Object.hasOwn(holder, "__proto__")) return "a member named '__proto__'";
      for (const member of Object.values(holder)) if (isObject(member)) next.push(member);
    }
    level = next;
  }
  return undefined;
}

function isObject(value: unknown): value is object {
  return typeof value === "object" && value !== null;
}

/** One pass over the text, without recursion; what is no JSON at all is left to the parser. */
function checkText(text: string, maxDepth: number): void {
  const names: (Set<string> | undefined)[] = [];
  for (let at = 0; at < text.length; at++) {
    switch (text.charCodeAt(at)) {
      case 0x7b: // {
      case 0x5b: // [
        names.push(text.charCodeAt(at) === 0x7b ? new Set() : undefined);
        if (names.length > maxDepth) throw new SyntaxError(`JSON nested deeper than ${maxDepth}`);
        break;
      case 0x7d: // }
      case 0x5d: // ]
        names.pop();
        break;
      case 0x22: {
        const end = endOfString(text, at);
        if (isName(text, end)) checkName(names.at(-1), text.slice(at, end + 1));
        at = end;
        break;
      }
      default:
        break;
    }
  }
}

/** Index of the closing quote of the string that begins at `start`. */
function endOfString(text: string, start: number): number {
  for (let at = text.indexOf('"', start + 1); at !== -1; at = text.indexOf('"', at + 1)) {
    let slashes = 0;
    while (text.charCodeAt(at - 1 - slashes) === 0x5c) slashes++;
    if (slashes % 2 === 0) return at;
  }
  return text.length;
}

function isName(text: string, end: number): boolean {
  let at = end + 1;
  while (at < text.length && " \t\r\n".includes(text.charAt(at))) at++;
  return text.charCodeAt(at) === 0x3a;
}

function checkName(seen: Set<string> | undefined, quoted: string): void {
  if (!seen) return;
  const name = quoted.includes("\\") ? String(JSON.parse(quoted)) : quoted.slice(1, -1);
  if (seen.has(name)) throw new SyntaxError(`JSON names the member '${name.slice(0, 100)}' twice`);
  seen.add(name);
}
