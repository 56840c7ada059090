import { type Document, isMap, isScalar, isSeq, parseDocument } from "yaml";
import type { ConfigProblem } from "./problems.ts";

/** Files above this are refused unread: no site file is so long. */
export const maxFileBytes = 4 * 1024 * 1024;
/** Deeper nesting than any schema of ours has. */
const maxDepth = 64;
const maxAliases = 100;

export interface Position {
  readonly line: number;
  readonly column: number;
}

export interface ParsedYaml {
  /** Plain data; undefined when `problems` is not empty. */
  readonly value: unknown;
  readonly problems: readonly ConfigProblem[];
  /** Where the value at `path` begins, or the nearest thing above it that is in the text. */
  locate(path: readonly PropertyKey[]): Position | undefined;
  /** Where the key at the end of `path` is written. */
  locateKey(path: readonly PropertyKey[]): Position | undefined;
  /** True when the text itself has something at `path` (not a default). */
  has(path: readonly PropertyKey[]): boolean;
}

/**
 * YAML 1.2 (core schema) → plain data with positions. One document; duplicate keys, unknown tags, unknown or excessive aliases and
 * absurd nesting are problems, not surprises. Never throws.
 */
export function parseYaml(text: string, file: string): ParsedYaml {
  let document: Document.Parsed;
  try {
    document = parseDocument(text, {
      version: "1.2",
      schema: "core",
      prettyErrors: false,
      logLevel: "error",
    });
  } catch (error) {
    return unusable(file, textOf(error)); // a stack error on absurd nesting
  }
  if (document.errors.some(({ code }) => code === "RESOURCE_EXHAUSTION"))
    return unusable(file, "nested too deeply to be read");
  const at = positions(text);
  const problems: ConfigProblem[] = [...document.errors, ...document.warnings].map((error) => {
    return { file, ...at(error.pos[0]), path: "", message: yamlMessage(error.code, error.message) };
  });
  let value: unknown;
  if (problems.length === 0) {
    try {
      value = document.toJS({ maxAliasCount: maxAliases });
      if (depthExceeds(value, maxDepth)) return unusable(file, `nested deeper than ${maxDepth} levels`);
    } catch (error) {
      return unusable(file, textOf(error));
    }
  }
  return {
    value,
    problems,
    locate: (path) => offsetAt(at, find(document, path)?.value ?? nearestAbove(document, path)),
    locateKey: (path) => offsetAt(at, find(document, path)?.key ?? nearestAbove(document, path)),
    has: (path) => find(document, path) !== undefined,
  };
}

/** Lines and columns of offsets. The library's own counter knows only what it has read: not all where it gives up early. */
function positions(text: string): (offset: number) => Position {
  const starts = [0, ...[...text.matchAll(/\n/g)].map(({ index }) => index + 1)];
  return (offset) => {
    const place = Math.min(Math.max(offset, 0), text.length);
    let low = 0;
    for (let high = starts.length; high - low > 1;) {
      const middle = (low + high) >> 1;
      if ((starts[middle] ?? 0) <= place) low = middle;
      else high = middle;
    }
    return { line: low + 1, column: place - (starts[low] ?? 0) + 1 };
  };
}

interface Found {
  readonly key: number | undefined;
  readonly value: number | undefined;
}

function offsetAt(at: (offset: number) => Position, offset: number | undefined): Position | undefined {
  return offset === undefined ? undefined : at(offset);
}

/** Offsets of key and value at `path`; undefined when the text has no such thing. Aliases are followed one level at a time. */
function find(document: Document.Parsed, path: readonly PropertyKey[]): Found | undefined {
  let node: unknown = document.contents;
  let key: number | undefined;
  for (const step of path) {
    node = resolved(document, node);
    if (isMap(node)) {
      const pair = node.items.find((item) => keyText(item.key) === String(step));
      if (!pair) return undefined;
      key = startOf(pair.key);
      node = pair.value;
    } else if (isSeq(node)) {
      if (!(Number(step) in node.items)) return undefined;
      node = node.items[Number(step)];
      key = undefined;
    } else return undefined;
  }
  const value = startOf(node) ?? key;
  return { key: key ?? value, value };
}

function nearestAbove(document: Document.Parsed, path: readonly PropertyKey[]): number | undefined {
  for (let length = path.length - 1; length > 0; length--) {
    const found = find(document, path.slice(0, length));
    if (found) return found.key;
  }
  return startOf(document.contents) ?? 0;
}

function resolved(document: Document.Parsed, node: unknown): unknown {
  if (typeof node !== "object" || node === null || !("source" in node) || isScalar(node)) return node;
  return "resolve" in node && typeof node.resolve === "function" ? (node.resolve(document) as unknown) : node;
}

function keyText(key: unknown): string {
  return isScalar(key) ? String(key.value) : String(key);
}

function startOf(node: unknown): number | undefined {
  if (typeof node !== "object" || node === null || !("range" in node) || !Array.isArray(node.range)) return undefined;
  const [start] = node.range as readonly unknown[];
  return typeof start === "number" ? start : undefined;
}

function depthExceeds(value: unknown, left: number): boolean {
  if (typeof value !== "object" || value === null) return false;
  if (left === 0) return true;
  return Object.values(value).some((inner) => depthExceeds(inner, left - 1));
}

function yamlMessage(code: string, message: string): string {
  if (code === "DUPLICATE_KEY") return "a key that is there twice; keys of one mapping are unique";
  if (code === "MULTIPLE_DOCS") return "more than one YAML document; one is expected";
  return message.split("\n", 1)[0] ?? message;
}

function textOf(error: unknown): string {
  if (error instanceof RangeError) return "nested too deeply to be read";
  return error instanceof Error ? error.message : String(error);
}

function unusable(file: string, message: string): ParsedYaml {
  const none = (): undefined => undefined;
  const problem = { file, line: 1, column: 1, path: "", message };
  return { value: undefined, problems: [problem], locate: none, locateKey: none, has: () => false };
}
