import { once } from "node:events";
import { type AddressInfo, createConnection, createServer, type Server, type Socket } from "node:net";

export interface RelayOptions {
  /** Milliseconds that every byte is on its way, in each direction; 25 makes round trips of 50. Default 0. */
  readonly delayMs?: number;
  /** Bytes per second in each direction, shared by all connections; default: as fast as this machine copies. */
  readonly bytesPerSecond?: number;
}

/** Bytes of one connection and direction that are on their way at most; then the sender is not read any more. */
const mostOnTheWay = 16 * 1024 * 1024;
/** What waits before a narrow line at most, as in a router: milliseconds of its bandwidth. */
const longestQueueMs = 200;
const leastQueue = 128 * 1024;

/**
 * A longer and narrower way to a TCP server of this machine: bytes arrive in order, each so much later, no more of them in a second than
 * the line takes; who sends faster is held up. Ends and resets are handed on. It loses nothing; `FaultProxy` may stand before it.
 */
export class Relay implements AsyncDisposable {
  readonly port: number;
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  readonly #bytes: { up: number; down: number } = { up: 0, down: 0 };

  private constructor(server: Server, target: number, options: RelayOptions) {
    this.#server = server;
    this.port = (server.address() as AddressInfo).port;
    const [up, down] = [new Line(options), new Line(options)];
    server.on("connection", (near) => {
      const far = createConnection({ port: target, host: "127.0.0.1", allowHalfOpen: true });
      this.#keep(near, far);
      this.#keep(far, near);
      pass(near, far, up, (bytes) => (this.#bytes.up += bytes));
      pass(far, near, down, (bytes) => (this.#bytes.down += bytes));
    });
  }

  /** In front of a port of this machine. */
  static async start(target: number, options: RelayOptions = {}): Promise<Relay> {
    const server = createServer({ allowHalfOpen: true, noDelay: true });
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    return new Relay(server, target, options);
  }

  /** Bytes that were delivered so far: to the server, and from it. */
  get bytes(): { readonly up: number; readonly down: number } {
    return { ...this.#bytes };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const socket of this.#sockets) socket.resetAndDestroy();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  #keep(socket: Socket, other: Socket): void {
    this.#sockets.add(socket);
    socket.setNoDelay(true);
    socket.on("error", () => other.resetAndDestroy());
    socket.once("close", () => this.#sockets.delete(socket));
  }
}

/** One direction of the line, for all connections. */
class Line {
  readonly #delayMs: number;
  readonly #bytesPerMs: number;
  /** How many bytes of a connection it takes before the sender has to wait. */
  readonly room: number;
  #freeAt = 0;

  constructor({ delayMs = 0, bytesPerSecond = Infinity }: RelayOptions) {
    this.#delayMs = delayMs;
    this.#bytesPerMs = bytesPerSecond / 1000;
    const queued = this.#bytesPerMs * (delayMs + longestQueueMs);
    this.room = Math.max(leastQueue, Math.min(mostOnTheWay, queued));
  }

  /** When bytes that are sent now arrive, in milliseconds of `performance.now()`. */
  arrival(bytes: number): number {
    this.#freeAt = Math.max(this.#freeAt, performance.now()) + bytes / this.#bytesPerMs;
    return this.#freeAt + this.#delayMs;
  }
}

/** Hands on what comes from `source`, in order, each piece at its time; what it holds is bounded by the line's room. */
function pass(source: Socket, target: Socket, line: Line, delivered: (bytes: number) => void): void {
  const queue: { readonly chunk: Buffer | undefined; readonly at: number }[] = [];
  let held = 0;
  let ended = false;
  let timer: NodeJS.Timeout | undefined;
  const deliver = (): void => {
    timer = undefined;
    for (let next = queue[0]; next && !target.destroyed; next = queue[0]) {
      const waitMs = next.at - performance.now();
      if (waitMs > 0) {
        timer = setTimeout(deliver, Math.ceil(waitMs));
        return;
      }
      queue.shift();
      if (!next.chunk) {
        ended = true;
        target.end();
        return;
      }
      held -= next.chunk.length;
      delivered(next.chunk.length);
      if (held < line.room) source.resume();
      if (target.write(next.chunk)) continue;
      target.once("drain", deliver);
      return;
    }
  };
  const enqueue = (chunk: Buffer | undefined): void => {
    queue.push({ chunk, at: line.arrival(chunk?.length ?? 0) });
    if (queue.length === 1 && !target.writableNeedDrain) deliver();
  };
  source.on("data", (chunk: Buffer) => {
    held += chunk.length;
    if (held >= line.room) source.pause();
    enqueue(chunk);
  });
  source.on("end", () => enqueue(undefined));
  target.once("close", () => {
    clearTimeout(timer);
    queue.length = 0;
    if (!ended && !source.destroyed) source.resetAndDestroy();
  });
}
