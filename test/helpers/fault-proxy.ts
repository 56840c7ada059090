import { once } from "node:events";
import { type AddressInfo, createConnection, createServer, type Server, type Socket } from "node:net";

/**
 * `pass`: as it is. `refuse`: new connections are reset, open ones too. `black-hole`: accepts, takes everything, says
 * nothing. `lose-answers`: requests arrive, the answers do not, and the connection is reset. `cut`: the connection is reset
 * after so many bytes of answer. `sever`: it is reset after so many bytes in both directions together, on each connection as `afterBytes`
 * says anew. `delay`: answers come later.
 */
export type ProxyFault =
  | { readonly kind: "pass" | "refuse" | "black-hole" | "lose-answers" }
  | { readonly kind: "cut"; readonly afterBytes: number }
  | { readonly kind: "sever"; readonly afterBytes: () => number }
  | { readonly kind: "delay"; readonly ms: number };

/** A TCP proxy in front of a server that breaks as told; a change counts for open connections too. */
export class FaultProxy implements AsyncDisposable {
  readonly port: number;
  readonly url: string;
  readonly #server: Server;
  readonly #target: number;
  readonly #sockets = new Set<Socket>();
  #fault: ProxyFault = { kind: "pass" };
  #accepted = 0;
  #passed = 0;
  #severed = 0;

  private constructor(server: Server, target: number) {
    this.#server = server;
    this.#target = target;
    this.port = (server.address() as AddressInfo).port;
    this.url = `http://127.0.0.1:${this.port}`;
    server.on("connection", (socket) => this.#join(socket));
  }

  /** In front of a port of this machine. */
  static async start(target: number): Promise<FaultProxy> {
    const server = createServer({ allowHalfOpen: false });
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    return new FaultProxy(server, target);
  }

  /** Connections that came in so far. */
  get connections(): number {
    return this.#accepted;
  }

  /** Bytes that came in from either side so far. */
  get bytes(): number {
    return this.#passed;
  }

  /** Connections that were reset after their number of bytes so far. */
  get severed(): number {
    return this.#severed;
  }

  set fault(fault: ProxyFault) {
    this.#fault = fault;
    if (fault.kind === "refuse") this.resetAll();
  }

  /** Resets all open connections. */
  resetAll(): void {
    for (const socket of this.#sockets) socket.resetAndDestroy();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  #join(near: Socket): void {
    this.#accepted++;
    this.#keep(near);
    if (this.#fault.kind === "refuse") {
      near.resetAndDestroy();
      return;
    }
    const far = createConnection(this.#target, "127.0.0.1");
    this.#keep(far);
    near.once("close", () => far.destroy());
    far.once("close", () => {
      if (this.#fault.kind !== "black-hole") near.destroy();
    });
    let left = this.#fault.kind === "sever" ? this.#fault.afterBytes() : Infinity;
    const count = (chunk: Buffer): void => {
      this.#passed += chunk.length;
      const before = left;
      left -= chunk.length;
      if (left > 0) return;
      if (before > 0) this.#severed++;
      near.resetAndDestroy();
      far.resetAndDestroy();
    };
    near.on("data", count);
    far.on("data", count);
    near.on("data", (chunk: Buffer) => {
      if (this.#fault.kind !== "black-hole") far.write(chunk);
    });
    let sent = 0;
    far.on("data", (chunk: Buffer) => {
      sent += this.#answer(near, chunk, sent);
    });
  }

  /** Hands an answer on; the number of bytes that count as sent. */
  #answer(near: Socket, chunk: Buffer, sent: number): number {
    const fault = this.#fault;
    switch (fault.kind) {
      case "black-hole":
        return 0;
      case "lose-answers":
      case "refuse":
        near.resetAndDestroy();
        return 0;
      case "cut": {
        const left = fault.afterBytes - sent;
        if (left >= chunk.length) near.write(chunk);
        else near.write(chunk.subarray(0, Math.max(0, left)), () => near.resetAndDestroy());
        return chunk.length;
      }
      case "delay":
        setTimeout(() => {
          if (!near.destroyed) near.write(chunk);
        }, fault.ms);
        return chunk.length;
      case "sever":
      case "pass":
        near.write(chunk);
        return chunk.length;
    }
  }

  #keep(socket: Socket): void {
    this.#sockets.add(socket);
    socket.on("error", () => {});
    socket.once("close", () => this.#sockets.delete(socket));
  }
}
