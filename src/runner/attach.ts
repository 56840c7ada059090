import { readFile } from "node:fs/promises";
import { createConnection, type Socket } from "node:net";
import { join } from "node:path";
import type { Readable, Writable } from "node:stream";
import { z } from "zod";
import { Fault } from "../common/fault.ts";
import { frame, frameReader } from "./pty-frames.ts";
import { signalName } from "./signals.ts";

export interface AttachStreams {
  /** Keys; a terminal is switched to raw mode while attached. */
  readonly stdin: Readable & { readonly isTTY?: boolean; setRawMode?(raw: boolean): unknown };
  /** A terminal's size is followed. */
  readonly stdout: Writable & { readonly isTTY?: boolean; readonly columns?: number; readonly rows?: number };
  /** Detaches. */
  readonly signal: AbortSignal;
  /** Key that detaches; default Ctrl-]. */
  readonly detachKey?: string;
}

export type Attached =
  | { readonly how: "ended"; readonly exitCode: number | undefined; readonly signal: string | undefined }
  | { readonly how: "detached" };

const orderSchema = z.object({ socket: z.string() });
const endSchema = z.object({ exitCode: z.int(), signal: z.int().optional() });

/**
 * Connects a terminal to a running attempt of the runtime `pty` until it ends or the person detaches; the attempt goes on either way.
 * Throws NOT_FOUND when the attempt has no terminal (other runtime, ended, not started).
 */
export async function attachToAttempt(directory: string, streams: AttachStreams): Promise<Attached> {
  const socket = await connect(await socketOf(directory));
  const { promise, resolve } = Promise.withResolvers<Attached>();
  const detach = (): void => resolve({ how: "detached" });
  const onKeys = (data: Buffer | string): void => {
    const keys = Buffer.from(data);
    const at = keys.indexOf(streams.detachKey ?? "\x1d");
    const typed = at === -1 ? keys : keys.subarray(0, at);
    if (typed.length > 0) socket.write(frame("i", typed));
    if (at !== -1) detach();
  };
  const onResize = (): void => {
    const { columns, rows } = streams.stdout;
    if (columns && rows) socket.write(frame("r", JSON.stringify({ columns, rows })));
  };
  const read = frameReader((kind, content) => {
    if (kind === "o") streams.stdout.write(content);
    if (kind === "x") resolve(endOf(content));
  });
  socket.on("data", (chunk: Buffer) => {
    try {
      read(chunk);
    } catch {
      detach();
    }
  });
  socket.on("close", detach);
  streams.signal.addEventListener("abort", detach, { once: true });
  streams.stdin.setRawMode?.(true);
  streams.stdin.on("data", onKeys);
  streams.stdout.on("resize", onResize);
  onResize();
  try {
    if (streams.signal.aborted) detach();
    return await promise;
  } finally {
    streams.stdin.off("data", onKeys);
    streams.stdin.pause();
    streams.stdin.setRawMode?.(false);
    streams.stdout.off("resize", onResize);
    streams.signal.removeEventListener("abort", detach);
    socket.destroy();
  }
}

function endOf(content: Buffer): Attached {
  const { exitCode, signal } = endSchema.parse(JSON.parse(content.toString("utf8")));
  return { how: "ended", exitCode: signal ? undefined : exitCode, signal: signal ? signalName(signal) : undefined };
}

async function socketOf(directory: string): Promise<string> {
  try {
    return orderSchema.parse(JSON.parse(await readFile(join(directory, "pty.json"), "utf8"))).socket;
  } catch (error) {
    throw new Fault("NOT_FOUND", "the attempt has no terminal", {
      hint: "only apps with `runtime: pty` have one",
      cause: error,
    });
  }
}

function connect(path: string): Promise<Socket> {
  const { promise, resolve, reject } = Promise.withResolvers<Socket>();
  const socket = createConnection(path);
  socket.once("connect", () => resolve(socket));
  socket.on("error", (error) =>
    reject(
      new Fault("NOT_FOUND", "nobody holds the attempt's terminal: it has ended or not started", { cause: error }),
    ),
  );
  return promise;
}
