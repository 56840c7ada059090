/** The XML of object stores, read with suspicion: bounded, without document types, entities left to us. */
import type { HttpAnswer } from "../http/client.ts";

/** Elements that are lists, however many there are. */
const lists = new Set(["Contents", "Part", "Upload"]);

/** An element: its text, or its children. */
export class Xml {
  readonly name: string;
  readonly #node: unknown;

  constructor(name: string, node: unknown) {
    this.name = name;
    this.#node = node;
  }

  /** Text of the child `name`; undefined when there is none. */
  text(name: string): string | undefined {
    const child = this.#child(name);
    return typeof child === "string" ? decodeEntities(child) : undefined;
  }

  /** The child `name`; without children of its own where there is none. */
  child(name: string): Xml {
    return new Xml(name, this.#child(name));
  }

  /** All children of a name of `lists`. */
  children(name: string): readonly Xml[] {
    const child = this.#child(name);
    return Array.isArray(child) ? child.map((one: unknown) => new Xml(name, one)) : [];
  }

  #child(name: string): unknown {
    const node = this.#node;
    if (typeof node !== "object" || node === null || !Object.hasOwn(node, name)) return undefined;
    return (node as Readonly<Record<string, unknown>>)[name];
  }
}

/** The root element; undefined for a text that is no XML, or has a document type. */
export async function parseXml(text: string): Promise<Xml | undefined> {
  if (!/^\s*</.test(text) || /<!(?:DOCTYPE|ENTITY)/i.test(text)) return undefined;
  const { XMLParser } = await import("fast-xml-parser");
  const parser = new XMLParser({
    ignoreAttributes: true,
    ignoreDeclaration: true,
    ignorePiTags: true,
    parseTagValue: false,
    // Names of objects may begin and end with blanks.
    trimValues: false,
    processEntities: false,
    removeNSPrefix: true,
    maxNestedTags: 12,
    isArray: (name) => lists.has(name),
  });
  try {
    const parsed: unknown = parser.parse(text, true);
    if (typeof parsed !== "object" || parsed === null) return undefined;
    const [root, ...others] = Object.entries(parsed).filter(([name]) => name !== "#text");
    return root === undefined || others.length > 0 ? undefined : new Xml(...root);
  } catch {
    return undefined;
  }
}

const named: Readonly<Record<string, string>> = { lt: "<", gt: ">", quot: '"', apos: "'", amp: "&" };

/** The five entities that XML itself has, and numbers of characters; others stay as they are. */
function decodeEntities(text: string): string {
  return text.replace(/&(?:(lt|gt|quot|apos|amp)|#(\d{1,7})|#x([0-9a-fA-F]{1,6}));/g, (all, name, decimal, hex) => {
    if (typeof name === "string") return named[name] ?? all;
    const code = typeof decimal === "string" ? Number(decimal) : Number.parseInt(String(hex), 16);
    return code <= 0x10ffff ? String.fromCodePoint(code) : all;
  });
}

/** Text with what XML gives a meaning written as entities. */
export function encodeText(text: string): string {
  return text.replace(/[<>&"']/g, (one) => `&#${one.codePointAt(0)};`);
}

/** A body as text; undefined when it is longer than `mostBytes`. @throws what the body throws. */
export async function boundedText(body: HttpAnswer["body"], mostBytes: number): Promise<string | undefined> {
  const chunks: Uint8Array[] = [];
  let bytes = 0;
  body.on("error", () => {}); // destroying a body that still flows is an error to it
  try {
    for await (const chunk of body as AsyncIterable<Uint8Array>) {
      bytes += chunk.byteLength;
      if (bytes > mostBytes) return undefined;
      chunks.push(chunk);
    }
  } finally {
    body.destroy();
  }
  return Buffer.concat(chunks).toString("utf8");
}
