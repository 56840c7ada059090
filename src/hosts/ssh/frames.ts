import type { CappedOutput } from "../output.ts";

/** What a frame line says; see script.ts. */
export type Frame =
  | { readonly kind: "begin"; readonly group: number }
  /** Nothing was started: a word for the reason. */
  | { readonly kind: "none"; readonly why: string }
  /** `order`: what the script was told meanwhile. */
  | { readonly kind: "end"; readonly code: number; readonly order: "none" | "time" | "late" | "cut" };

const noiseKept = 2_000;
/** Key, word and numbers; a longer line is none of ours. */
const longestLine = 200;

/** Takes one stream apart: noise, what the command printed, the frame lines. Bytes of the command go to `output` as they come. */
export class FrameReader {
  readonly #needle: Buffer;
  readonly #output: CappedOutput;
  readonly #onFrame: (frame: Frame) => void;
  #rest: Buffer = Buffer.alloc(0);
  #noise: Buffer = Buffer.alloc(0);
  #state: "before" | "inside" | "after" = "before";

  constructor(key: string, output: CappedOutput, onFrame: (frame: Frame) => void) {
    this.#needle = Buffer.from(`\n${key} `);
    this.#output = output;
    this.#onFrame = onFrame;
  }

  /** The end of what was printed before the answer began. */
  get noise(): string {
    const rest = this.#state === "before" ? this.#rest : Buffer.alloc(0);
    return Buffer.concat([this.#noise, rest]).toString("utf8").trim();
  }

  take(chunk: Buffer): void {
    let data = this.#rest.length === 0 ? chunk : Buffer.concat([this.#rest, chunk]);
    while (this.#state !== "after") {
      const at = data.indexOf(this.#needle);
      const lineEnd = at < 0 ? -1 : data.indexOf("\n", at + this.#needle.length);
      if (at >= 0 && lineEnd < 0 && data.length - at <= longestLine) break;
      if (lineEnd < 0) {
        // The last bytes may be the beginning of a frame line.
        const kept = Math.max(0, data.length - this.#needle.length + 1);
        this.#pass(data.subarray(0, kept));
        data = data.subarray(kept);
        break;
      }
      this.#pass(data.subarray(0, at));
      this.#turn(data.toString("latin1", at + this.#needle.length, lineEnd));
      data = data.subarray(lineEnd + 1);
    }
    this.#rest = this.#state === "after" ? Buffer.alloc(0) : Buffer.from(data);
  }

  #pass(bytes: Buffer): void {
    if (this.#state === "inside") this.#output.take(Buffer.from(bytes));
    else this.#noise = Buffer.concat([this.#noise, bytes]).subarray(-noiseKept);
  }

  #turn(line: string): void {
    const frame = parseFrame(line);
    if (!frame) return;
    this.#state = frame.kind === "begin" ? "inside" : "after";
    this.#onFrame(frame);
  }
}

function parseFrame(line: string): Frame | undefined {
  const [word, first = "", second = ""] = line.split(" ");
  if (word === "begin" && /^\d+$/.test(first)) return { kind: "begin", group: Number(first) };
  if (word === "none") return { kind: "none", why: first };
  if (word !== "end" || !/^\d{1,3}$/.test(first)) return undefined;
  const order = (["none", "time", "late", "cut"] as const).find((known) => known === second);
  return order === undefined ? undefined : { kind: "end", code: Number(first), order };
}
