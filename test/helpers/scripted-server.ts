import { once } from "node:events";
import { createServer, type IncomingHttpHeaders, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo, Socket } from "node:net";

/** A request as the server received it, whole. */
export interface Received {
  readonly method: string;
  /** Decoded, without the query. */
  readonly path: string;
  readonly query: URLSearchParams;
  readonly headers: IncomingHttpHeaders;
  readonly body: string;
  /** Number of the connection it came over, from 1. */
  readonly connection: number;
}

/** What the server does with one request. */
export type Answer = (request: Received, response: ServerResponse) => void | Promise<void>;

/** A JSON answer. */
export function json(status: number, value: unknown, headers: Readonly<Record<string, string>> = {}): Answer {
  return raw(status, "application/json", JSON.stringify(value), headers);
}

/** Any bytes of any type. */
export function raw(
  status: number,
  contentType: string,
  body: string | Uint8Array,
  headers: Readonly<Record<string, string>> = {},
): Answer {
  return (_request, response) => {
    response.writeHead(status, contentType === "" ? headers : { "content-type": contentType, ...headers });
    response.end(body);
  };
}

/** Promises the whole JSON, sends `bytes` of it and cuts the connection. */
export function cutAfter(value: unknown, bytes: number): Answer {
  return async (_request, response) => {
    const body = JSON.stringify(value);
    response.writeHead(200, { "content-type": "application/json", "content-length": String(Buffer.byteLength(body)) });
    await new Promise((resolve) => response.write(body.slice(0, bytes), resolve));
    response.socket?.destroy();
  };
}

/** Receives the request and resets the connection without a word. */
export const reset: Answer = (_request, response) => {
  response.socket?.resetAndDestroy();
};

/** Receives the request and never answers. */
export const silent: Answer = () => {};

/** One byte at a time, for ever. */
export const drip: Answer = (_request, response) => {
  response.writeHead(200, { "content-type": "application/json" });
  const timer = setInterval(() => response.write(" "), 20);
  response.once("close", () => clearInterval(timer));
};

/** A body without end, as fast as the reader takes it. */
export const endless: Answer = (_request, response) => {
  response.writeHead(200, { "content-type": "application/json" });
  const chunk = Buffer.alloc(64 * 1024, 0x20);
  const more = (): void => {
    while (!response.destroyed && response.write(chunk)) {
      // until the reader is slower
    }
  };
  response.on("drain", more);
  more();
};

/** Answers when `gate` resolves. */
export function after(gate: Promise<unknown>, answer: Answer): Answer {
  return async (request, response) => {
    await gate;
    await answer(request, response);
  };
}

/** Does the effect of `answer`, but the reply never arrives. */
export function answerLost(answer: Answer): Answer {
  return async (request, response) => {
    const { socket } = response;
    const end = (): ServerResponse => {
      socket?.destroy();
      return response;
    };
    response.writeHead = () => response;
    response.end = end;
    await answer(request, response);
  };
}

/**
 * A real listening HTTP server that answers as scripted: `on` sets the lasting answer of a route, `next` queues answers that
 * are used first, one per request. Routes are `METHOD /decoded/path`, or `METHOD /prefix/*`.
 */
export class ScriptedServer implements AsyncDisposable {
  readonly url: string;
  readonly port: number;
  /** Everything received, in order. */
  readonly requests: Received[] = [];
  readonly #server: ReturnType<typeof createServer>;
  readonly #lasting = new Map<string, Answer>();
  readonly #queued = new Map<string, Answer[]>();
  readonly #connections = new Map<Socket, number>();
  #accepted = 0;

  private constructor(server: ReturnType<typeof createServer>, port: number) {
    this.#server = server;
    this.port = port;
    this.url = `http://127.0.0.1:${port}`;
  }

  static async start(): Promise<ScriptedServer> {
    const server = createServer({ keepAliveTimeout: 60_000 });
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    const { port } = server.address() as AddressInfo;
    const scripted = new ScriptedServer(server, port);
    server.on("connection", (socket: Socket) => {
      scripted.#connections.set(socket, ++scripted.#accepted);
      socket.once("close", () => scripted.#connections.delete(socket));
      socket.on("error", () => {});
    });
    server.on("request", (request, response) => void scripted.#serve(request, response));
    return scripted;
  }

  on(route: string, answer: Answer): this {
    this.#lasting.set(route, answer);
    return this;
  }

  next(route: string, ...answers: readonly Answer[]): this {
    this.#queued.set(route, [...(this.#queued.get(route) ?? []), ...answers]);
    return this;
  }

  /** The lasting answer of a route, to wrap it. */
  lasting(route: string): Answer {
    const answer = this.#lasting.get(route);
    if (!answer) throw new Error(`nothing is scripted for '${route}'`);
    return answer;
  }

  /** Those of one route. */
  received(route: string): readonly Received[] {
    return this.requests.filter((request) => routesOf(request).includes(route));
  }

  /** Connections accepted so far. */
  get connections(): number {
    return this.#accepted;
  }

  /** Resets all connections, as a server or balancer does that has just gone away. */
  resetConnections(): void {
    for (const socket of this.#connections.keys()) socket.resetAndDestroy();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  async #serve(message: IncomingMessage, response: ServerResponse): Promise<void> {
    const chunks: Buffer[] = [];
    try {
      for await (const chunk of message) chunks.push(chunk as Buffer);
    } catch {
      return; // the sender went away
    }
    const url = new URL(message.url ?? "/", this.url);
    const request: Received = {
      method: message.method ?? "",
      path: decodeURIComponent(url.pathname),
      query: url.searchParams,
      headers: message.headers,
      body: Buffer.concat(chunks).toString("utf8"),
      connection: this.#connections.get(message.socket) ?? 0,
    };
    this.requests.push(request);
    await this.#answerOf(request)(request, response);
  }

  #answerOf(request: Received): Answer {
    const routes = routesOf(request);
    for (const route of routes) {
      const queued = this.#queued.get(route)?.shift();
      if (queued) return queued;
    }
    for (const route of routes) {
      const lasting = this.#lasting.get(route);
      if (lasting) return lasting;
    }
    return json(404, { detail: "Not Found" });
  }
}

/** The exact route, then its prefixes, longest first. */
function routesOf({ method, path }: Pick<Received, "method" | "path">): readonly string[] {
  const routes = [`${method} ${path}`];
  for (let slash = path.lastIndexOf("/"); slash >= 0; slash = path.lastIndexOf("/", slash - 1)) {
    routes.push(`${method} ${path.slice(0, slash)}/*`);
    if (slash === 0) break;
  }
  return routes;
}
