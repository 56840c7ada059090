import { manyLines } from "./text.ts";

const escape = "\u001b";
/** The beginning of a sequence or line end at the end of a piece. */
const unfinished = new RegExp(`(?:${escape}(?:\\[[0-9;]{0,16})?|\r)$`);
/** Colours and weights: `ESC [ … m`. */
const colour = new RegExp(`(${escape}\\[[0-9;]*m)`);

/** Bytes of a log as text for a terminal: UTF-8 across pieces, colours stay, every other control sequence is escaped. */
export class StreamDecoder {
  readonly #decoder = new TextDecoder("utf-8");
  #held = "";

  decode(bytes: Uint8Array): string {
    const text = this.#held + this.#decoder.decode(bytes, { stream: true });
    // A sequence or line end that is cut in two waits for its rest.
    const open = unfinished.exec(text);
    this.#held = open?.[0] ?? "";
    return harmless(open ? text.slice(0, open.index) : text);
  }

  end(): string {
    const rest = this.#held + this.#decoder.decode();
    this.#held = "";
    return harmless(rest);
  }
}

/** Splits at colour sequences (`ESC [ … m`), which may pass. */
function harmless(text: string): string {
  return text
    .replaceAll("\r\n", "\n")
    .split(colour)
    .map((piece, at) => (at % 2 === 1 ? piece : manyLines(piece)))
    .join("");
}
