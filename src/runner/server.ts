import { createServer, type Server, type Socket } from "node:net";
import { failpoint } from "../common/failpoint.ts";
import { asFault } from "../common/fault.ts";
import type { JsonValue } from "../common/json.ts";
import type { Logger } from "../common/logger.ts";
import type { Attempts } from "./attempts.ts";
import { helloSchema, lineReader, protocolVersions, requestSchemas, type Welcome } from "./protocol.ts";
import type { Stopper } from "./stop.ts";

export interface RunnerServerOptions {
  readonly attempts: Attempts;
  readonly stopper: Stopper;
  readonly tier: Welcome["tier"];
  readonly log: Logger;
  /** Called when a client comes or goes. */
  readonly onClients: () => void;
  /** Versions that it speaks; fewer only in tests of older runners. */
  readonly versions?: readonly number[];
}

/** The runner's end of the socket. */
export class RunnerServer {
  readonly server: Server;
  readonly #options: RunnerServerOptions;
  readonly #clients = new Map<Socket, number | undefined>();

  constructor(options: RunnerServerOptions) {
    this.#options = options;
    this.server = createServer((socket) => this.#accept(socket));
  }

  get clients(): number {
    return this.#clients.size;
  }

  /** Tells every client that said hello. */
  changed(token: string): void {
    for (const [socket, version] of this.#clients) if (version !== undefined) send(socket, { event: "changed", token });
  }

  close(): void {
    this.server.close();
    for (const socket of this.#clients.keys()) socket.destroy();
  }

  #accept(socket: Socket): void {
    this.#clients.set(socket, undefined);
    this.#options.onClients();
    const read = lineReader((line) => void this.#take(socket, line));
    socket.setEncoding("utf8");
    socket.on("data", (chunk: string) => {
      try {
        read(chunk);
      } catch (error) {
        socket.destroy(asFault(error));
      }
    });
    socket.on("error", (error) => this.#options.log.debug({ err: error }, "client failed"));
    socket.on("close", () => {
      this.#clients.delete(socket);
      this.#options.onClients();
    });
  }

  async #take(socket: Socket, line: string): Promise<void> {
    let id = 0;
    try {
      const message: unknown = JSON.parse(line);
      if (typeof message === "object" && message !== null && "id" in message && typeof message.id === "number") {
        id = message.id;
      }
      const greeted = this.#clients.get(socket) !== undefined;
      const result = await this.#answer(socket, message);
      if (greeted) await failpoint("runner.before-answer");
      send(socket, { id, result });
      if (greeted) await failpoint("runner.after-answer");
    } catch (error) {
      const fault = asFault(error, "INVALID");
      send(socket, { id, error: { code: fault.code, message: fault.message } });
    }
  }

  async #answer(socket: Socket, message: unknown): Promise<JsonValue> {
    const version = this.#clients.get(socket);
    if (version === undefined) return this.#welcome(socket, message);
    return version >= 2 ? this.#inGroups(message) : this.#one(message);
  }

  #welcome(socket: Socket, message: unknown): JsonValue {
    const hello = helloSchema.parse(message);
    const known = this.#options.versions ?? protocolVersions;
    const version = Math.max(...hello.versions.filter((each) => known.includes(each)));
    if (!Number.isFinite(version)) {
      throw new Error(
        `no common version: the client speaks ${hello.versions.join(", ")}, this runner ${known.join(", ")}`,
      );
    }
    this.#clients.set(socket, version);
    return { version, pid: process.pid, tier: this.#options.tier, live: [...this.#options.attempts.live] };
  }

  async #inGroups(message: unknown): Promise<JsonValue> {
    const request = requestSchemas[2].parse(message);
    switch (request.verb) {
      case "launch":
        await failpoint("runner.before-launch");
        return Promise.all(request.attempts.map((attempt) => this.#options.attempts.start(attempt)));
      case "stop":
        await failpoint("runner.before-order");
        return Promise.all(request.attempts.map((attempt) => this.#options.stopper.stop(attempt, request)));
      case "live":
        return [...this.#options.attempts.live];
    }
  }

  async #one(message: unknown): Promise<JsonValue> {
    const request = requestSchemas[1].parse(message);
    switch (request.verb) {
      case "launch":
        return this.#options.attempts.start(request.attempt);
      case "stop":
        return this.#options.stopper.stop(request.attempt, request);
      case "live":
        return [...this.#options.attempts.live];
    }
  }
}

function send(socket: Socket, message: JsonValue): void {
  if (!socket.destroyed) socket.write(`${JSON.stringify(message)}\n`);
}
