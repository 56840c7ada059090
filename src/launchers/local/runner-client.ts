import { createConnection, type Socket } from "node:net";
import { z } from "zod";
import { mkdirSync } from "node:fs";
import { dirname } from "node:path";
import type { Clock } from "../../common/clock.ts";
import { Fault, isFault, messageOf } from "../../common/fault.ts";
import {
  lineReader,
  protocolVersions,
  readAnswer,
  type StartAnswer,
  startAnswerSchema,
  type StartRequest,
  type StopAnswer,
  stopAnswerSchema,
  type Welcome,
  welcomeSchema,
} from "../../runner/protocol.ts";
import type { AttemptName } from "../../runner/attempt-status.ts";

export interface RunnerClientOptions {
  readonly socketPath: string;
  readonly clock: Clock;
  /** Starts a runner; called when none answers. Undefined: somebody else starts it (a systemd socket). */
  readonly start: (() => void) | undefined;
  readonly onChange: (token: string) => void;
  /** The connection was lost: nothing is vouched for any more. */
  readonly onLost: () => void;
  /** Versions that we speak; fewer only in tests of older launchers. */
  readonly versions?: readonly number[] | undefined;
}

const startTimeoutMs = 20_000;
const callTimeoutMs = 120_000;

interface Connection {
  readonly socket: Socket;
  readonly welcome: Welcome;
}

interface Waiting {
  readonly socket: Socket;
  readonly resolve: (result: unknown) => void;
  readonly reject: (error: Fault) => void;
}

/** The launcher's end of the socket: one connection, opened when needed; throws RUNNER when there is no runner and none can be started. */
export class RunnerClient {
  readonly #options: RunnerClientOptions;
  readonly #waiting = new Map<number, Waiting>();
  #connection: Promise<Connection> | undefined;
  #mayStart = false;
  #welcome: Welcome | undefined;
  #tier: Welcome["tier"] | undefined;
  #socket: Socket | undefined;
  #nextId = 1;
  #closed = false;

  constructor(options: RunnerClientOptions) {
    this.#options = options;
  }

  /** What the connected runner said of itself; undefined while there is no connection. */
  get welcome(): Welcome | undefined {
    return this.#welcome;
  }

  /** Of the latest runner, also after it ended idle: the next one finds the same machine. */
  get tier(): Welcome["tier"] | undefined {
    return this.#tier;
  }

  /** Connects, starting a runner when `mayStart`. */
  async connect(mayStart = true): Promise<Welcome> {
    return (await this.#connect(mayStart)).welcome;
  }

  /** One answer for each; a connection lost in between leaves `unknown`. Throws RUNNER only when nothing was sent. */
  async launch(attempts: readonly StartRequest[]): Promise<readonly StartAnswer[]> {
    const { welcome } = await this.#connect(true);
    const unknown = (error: unknown): StartAnswer => ({ state: "unknown", message: messageOf(error) });
    if (welcome.version >= 2) {
      try {
        return z
          .array(startAnswerSchema)
          .length(attempts.length)
          .parse(await this.#call("launch", { attempts }));
      } catch (error) {
        return attempts.map(() => unknown(error));
      }
    }
    return Promise.all(
      attempts.map(async (attempt) => {
        try {
          return startAnswerSchema.parse(await this.#call("launch", { attempt }));
        } catch (error) {
          return unknown(error);
        }
      }),
    );
  }

  async stop(
    attempts: readonly AttemptName[],
    order: { readonly graceMs: number; readonly reason: string },
  ): Promise<readonly StopAnswer[]> {
    const { welcome } = await this.#connect(true);
    const how = { graceMs: order.graceMs, reason: order.reason.slice(0, 1000) };
    if (welcome.version >= 2) {
      return z
        .array(stopAnswerSchema)
        .length(attempts.length)
        .parse(await this.#call("stop", { attempts, ...how }));
    }
    return Promise.all(
      attempts.map(async (attempt) => stopAnswerSchema.parse(await this.#call("stop", { attempt, ...how }))),
    );
  }

  /** Tokens that the runner starts or has running; none when there is no runner. */
  async live(): Promise<readonly string[]> {
    try {
      await this.#connect(false);
    } catch {
      return [];
    }
    return z.array(z.string()).parse(await this.#call("live", {}));
  }

  close(): void {
    this.#closed = true;
    this.#socket?.destroy();
  }

  async #connect(mayStart: boolean): Promise<Connection> {
    if (this.#closed) throw new Fault("RUNNER", "the launcher is closed");
    // Somebody who may not start a runner is just trying: that may fail and must not fail us.
    if (mayStart && this.#connection && !this.#mayStart) await this.#connection.catch(() => {});
    if (!this.#connection) {
      this.#mayStart = mayStart;
      this.#connection = this.#open(mayStart).catch((error: unknown) => {
        this.#connection = undefined;
        throw error;
      });
    }
    return this.#connection;
  }

  async #open(mayStart: boolean): Promise<Connection> {
    const { clock, start } = this.#options;
    const deadline = clock.monotonic() + startTimeoutMs;
    if (start) mkdirSync(dirname(this.#options.socketPath), { recursive: true, mode: 0o700 });
    let startAt = clock.monotonic();
    for (let pauseMs = 20; ; pauseMs = Math.min(pauseMs * 1.5, 200)) {
      const socket = await tryConnect(this.#options.socketPath);
      const connection = socket === undefined ? undefined : await this.#greet(socket);
      if (connection) return connection;
      if (!mayStart) throw new Fault("RUNNER", "no runner answers");
      const now = clock.monotonic();
      // Again after a while: the one that we started may have lost the lock to one that was just ending.
      if (now >= startAt) {
        start?.();
        startAt = now + 2_000;
      }
      if (now > deadline) {
        throw new Fault("RUNNER", `the runner does not answer on '${this.#options.socketPath}'`, {
          hint: start
            ? "look into runner.log in the state directory"
            : "systemctl status siteagent-runner.socket siteagent-runner",
        });
      }
      await clock.sleep(pauseMs);
    }
  }

  /** Undefined when it is lost before it says anything: a runner that is just ending still accepts. */
  async #greet(socket: Socket): Promise<Connection | undefined> {
    this.#socket = socket;
    const read = lineReader((line) => this.#take(line));
    socket.setEncoding("utf8");
    socket.on("data", (chunk: string) => {
      try {
        read(chunk);
      } catch {
        socket.destroy();
      }
    });
    socket.once("close", () => this.#lost(socket));
    const versions = this.#options.versions ?? protocolVersions;
    try {
      const welcome = welcomeSchema.parse(await this.#send(socket, "hello", { versions }));
      this.#welcome = welcome;
      this.#tier = welcome.tier;
      return { socket, welcome };
    } catch (error) {
      socket.destroy();
      if (isFault(error, "UNREACHABLE")) return undefined;
      throw error;
    }
  }

  async #call(verb: string, content: object): Promise<unknown> {
    const { socket } = await this.#connect(true);
    return this.#send(socket, verb, content);
  }

  #send(socket: Socket, verb: string, content: object): Promise<unknown> {
    const id = this.#nextId++;
    const { promise, resolve, reject } = Promise.withResolvers<unknown>();
    const timer = setTimeout(() => {
      this.#waiting.delete(id);
      reject(new Fault("RUNNER", `the runner did not answer '${verb}' within ${callTimeoutMs} ms`));
    }, callTimeoutMs);
    this.#waiting.set(id, { socket, resolve, reject });
    socket.write(`${JSON.stringify({ id, verb, ...content })}\n`);
    return promise.finally(() => clearTimeout(timer));
  }

  #take(line: string): void {
    const message = readAnswer(line);
    if ("event" in message) {
      this.#options.onChange(message.token);
      return;
    }
    const waiting = this.#waiting.get(message.id);
    this.#waiting.delete(message.id);
    if ("result" in message) waiting?.resolve(message.result);
    else waiting?.reject(new Fault("RUNNER", message.error.message));
  }

  #lost(socket: Socket): void {
    for (const [id, waiting] of this.#waiting) {
      if (waiting.socket !== socket) continue;
      this.#waiting.delete(id);
      waiting.reject(new Fault("UNREACHABLE", "the connection to the runner was lost"));
    }
    if (this.#socket !== socket) return;
    this.#connection = undefined;
    this.#welcome = undefined;
    this.#socket = undefined;
    this.#options.onLost();
  }
}

function tryConnect(path: string): Promise<Socket | undefined> {
  const { promise, resolve } = Promise.withResolvers<Socket | undefined>();
  const socket = createConnection(path);
  socket.once("connect", () => {
    socket.off("error", fail);
    socket.on("error", () => {}); // "close" follows
    resolve(socket);
  });
  socket.once("error", fail);
  function fail(): void {
    resolve(undefined);
  }
  return promise;
}
