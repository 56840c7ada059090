import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { sha256 } from "./setup.ts";

export interface SeenRequest {
  readonly method: string;
  readonly path: string;
  readonly headers: IncomingMessage["headers"];
}

export interface ScriptedServer extends AsyncDisposable {
  readonly url: string;
  readonly port: number;
  readonly seen: readonly SeenRequest[];
}

/** `count` is the number of earlier requests of the same method. */
export type Handler = (request: IncomingMessage, response: ServerResponse, count: number) => void;

/** A real server on 127.0.0.1 that answers by script. */
export async function serve(handler: Handler): Promise<ScriptedServer> {
  const seen: SeenRequest[] = [];
  const server = createServer((incoming, response) => {
    const method = incoming.method ?? "";
    const count = seen.filter((one) => one.method === method).length;
    seen.push({ method, path: incoming.url ?? "", headers: incoming.headers });
    handler(incoming, response, count);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  return {
    url: `http://127.0.0.1:${port}/`,
    port,
    seen,
    [Symbol.asyncDispose]: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

/** Answers as a good static server does, ranges included. */
export function answerFile(
  incoming: IncomingMessage,
  response: ServerResponse,
  content: Uint8Array,
  tag = `"${sha256(content).slice(0, 12)}"`,
): void {
  const range = /^bytes=(\d+)-(\d*)$/.exec(incoming.headers.range ?? "");
  const ifRange = incoming.headers["if-range"];
  const usable = range && (ifRange === undefined || ifRange === tag);
  const from = usable ? Number(range[1]) : 0;
  const to = usable && range[2] !== "" ? Number(range[2]) + 1 : content.byteLength;
  const part = content.subarray(from, to);
  response.writeHead(usable ? 206 : 200, {
    etag: tag,
    "content-length": part.byteLength,
    ...(usable ? { "content-range": `bytes ${from}-${from + part.byteLength - 1}/${content.byteLength}` } : {}),
  });
  response.end(incoming.method === "HEAD" ? undefined : part);
}

export interface FileStore extends ScriptedServer {
  /** Path with query → content. */
  readonly kept: Map<string, Buffer>;
}

/** A server that serves and keeps files; `fail` may answer a PUT itself and say so. */
export async function store(
  fail: (count: number, incoming: IncomingMessage, response: ServerResponse) => boolean = () => false,
): Promise<FileStore> {
  const kept = new Map<string, Buffer>();
  const server = await serve((incoming, response, count) => {
    const path = incoming.url ?? "";
    if (incoming.method !== "PUT") {
      const found = kept.get(path);
      if (found) answerFile(incoming, response, found);
      else response.writeHead(404).end();
      return;
    }
    if (fail(count, incoming, response)) return;
    const chunks: Buffer[] = [];
    incoming.on("data", (chunk: Buffer) => chunks.push(chunk));
    incoming.on("end", () => {
      kept.set(path, Buffer.concat(chunks));
      response.writeHead(201).end();
    });
  });
  return { ...server, kept };
}
