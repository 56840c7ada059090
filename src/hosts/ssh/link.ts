import type { ClientChannel, SFTPWrapper } from "ssh2";
import type { Clock } from "../../common/clock.ts";
import type { CallContext } from "../../common/context.ts";
import { asFault, Fault, isFault } from "../../common/fault.ts";
import type { Logger } from "../../common/logger.ts";
import { type Backoff, backoffMs } from "../../common/retry.ts";
import { Connection, SessionRefused } from "./connection.ts";
import { unreachable, whyOf } from "./faults.ts";
import { LoginNodes } from "./login-nodes.ts";
import type { SshSettings } from "./settings.ts";

/** A second one where the server gives few sessions; more would be hard to explain to the centre. */
const mostConnections = 2;
/** A login that the centre's machinery counts: accounts and addresses are locked after a few. */
const mostRefusedLogins = 3;
/** Of attempts to connect. Calls in between fail at once, so that nothing piles up on a host that is away. */
const connectBackoff: Backoff = { baseMs: 1_000, capMs: 60_000 };
/** A connection that was lost sooner counts as one that failed. */
const stableMs = 10_000;
/** A connection that nobody has used so long is ended. */
const idleMs = 300_000;
/** Before a refused session is asked for again: where one has just ended, or none is open. */
const refusedAgainMs = [100, 300, 1_000, 3_000, 6_000];
/** A session that has ended may count at the server for so long. */
const serverLagMs = 5_000;
/** Usually it is not longer than this. */
const reuseMs = 30;
/** After that a server that refused is asked for one session more: what ended in the same moment may have made its limit look lower. */
const limitAgainMs = 60_000;

export interface Session<Channel> {
  readonly channel: Channel;
  readonly connection: Connection;
  /** To be called once, when the channel is closed. */
  release(): void;
}

/**
 * The way to one (host, account), for all who use it: one connection with many sessions, made when it is needed, kept while it is used.
 * After a failure the next attempt waits (1 s … 60 s, random) and calls fail with the last reason; after three refused logins nothing is
 * tried until `forgive`.
 */
export class SshLink {
  readonly #nodes: LoginNodes;
  readonly #end = new AbortController();
  #connections: Connection[] = [];
  #connecting: Promise<Connection> | undefined;
  readonly #waiting: (() => void)[] = [];
  #failures = 0;
  #refusedLogins = 0;
  #lastFailure: { readonly fault: Fault; readonly nextMs: number } | undefined;
  #idle = new AbortController();

  constructor(settings: SshSettings) {
    this.#nodes = new LoginNodes(settings);
  }

  /** A person has read the configuration anew: try again, at once and as often as at first. */
  forgive(): void {
    this.#refusedLogins = 0;
    this.#failures = 0;
    this.#lastFailure = undefined;
  }

  /** What of our logins is about to run out, or has, in words; asks nobody. */
  endings(nowMs: number): Promise<readonly string[]> {
    return this.#nodes.endings(nowMs);
  }

  /** A session that runs `command`; waits while the server gives none. @throws Fault UNREACHABLE, CANCELLED. */
  exec(command: string, context: CallContext): Promise<Session<ClientChannel>> {
    return this.#session((connection) => connection.exec(command), context);
  }

  /** A session that serves files. @throws Fault UNREACHABLE, CANCELLED. */
  sftp(context: CallContext): Promise<Session<SFTPWrapper>> {
    return this.#session((connection) => connection.sftp(), context);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#end.abort();
    this.#idle.abort();
    await this.#connecting?.catch(() => undefined);
    for (const connection of this.#connections) connection.end();
    this.#wakeAll();
  }

  async #session<Channel>(
    open: (connection: Connection) => Promise<Channel>,
    context: CallContext,
  ): Promise<Session<Channel>> {
    const { clock, signal } = context;
    for (let refused = 0; ;) {
      const connection = await this.#reserve(context);
      const alone = connection.sessions === 1;
      this.#idle.abort();
      try {
        const channel = await open(connection);
        if (connection.full) connection.trying = false; // it gave the one more
        return { channel, connection, release: once(() => this.#release(connection, clock)) };
      } catch (error) {
        this.#free(connection, clock);
        if (!(error instanceof SessionRefused)) throw error;
        if (connection.trying) {
          connection.trying = false;
          connection.limit--;
          continue;
        }
        const waitMs = refusedAgainMs[refused];
        // One that has just ended may still count at the server.
        const settled = clock.monotonic() - connection.freedMs > serverLagMs || waitMs === undefined;
        if (settled && !alone) {
          connection.limit = Math.max(1, Math.min(connection.limit, connection.sessions));
          connection.refusedMs = clock.monotonic();
          continue;
        }
        if (waitMs === undefined) throw noSession(connection, error);
        refused++;
        await clock.sleep(waitMs, signal);
      }
    }
  }

  /** A connection with room for a session, which is taken: there, or made, or waited for. */
  async #reserve(context: CallContext): Promise<Connection> {
    for (;;) {
      if (context.signal.aborted) throw new Fault("CANCELLED", "ended by request before anything was sent");
      if (this.#end.signal.aborted) throw unreachable("network", "the connection was ended: siteagent stops");
      const alive = this.#connections.filter((connection) => connection.alive);
      const roomy = alive.find((connection) => !connection.full);
      if (roomy) {
        roomy.sessions++; // in this very turn: others look, too
        return roomy;
      }
      const again = alive.find(({ refusedMs = Infinity }) => context.clock.monotonic() - refusedMs > limitAgainMs);
      if (again) {
        again.limit++;
        again.trying = true;
        again.refusedMs = context.clock.monotonic();
        continue;
      }
      const more = alive.every(({ refusedMs }) => refusedMs !== undefined) && alive.length < mostConnections;
      if (more) await this.#connectOnce(context);
      else await this.#freed(context.signal);
    }
  }

  async #connectOnce(context: CallContext): Promise<void> {
    this.#refuseToTry(context.clock);
    this.#connecting ??= this.#connect(context).finally(() => {
      this.#connecting = undefined;
    });
    const aborted = Promise.withResolvers<void>();
    const stop = (): void => aborted.resolve();
    context.signal.addEventListener("abort", stop, { once: true });
    try {
      await Promise.race([this.#connecting, aborted.promise]); // others may wait for it, too: it goes on
    } finally {
      context.signal.removeEventListener("abort", stop);
    }
  }

  #refuseToTry(clock: Clock): void {
    const last = this.#lastFailure;
    if (!last || this.#connecting) return;
    const { fault } = last;
    const hint = fault.hint === undefined ? {} : { hint: fault.hint };
    if (this.#refusedLogins >= mostRefusedLogins) {
      throw unreachable(
        "stopped",
        `${mostRefusedLogins} logins were refused, no further one is tried so that the account is not locked: ${fault.message}`,
        { hint: `${fault.hint ?? "repair the login"}; then: siteagent reload` },
      );
    }
    const waitMs = Math.ceil(last.nextMs - clock.monotonic());
    if (waitMs > 0) {
      const why = whyOf(fault) ?? "network";
      throw unreachable(why, fault.message, { ...hint, retryAfterMs: waitMs });
    }
  }

  async #connect(context: CallContext): Promise<Connection> {
    const { clock, log } = context;
    try {
      const connection = new Connection(await this.#nodes.connect(this.#end.signal, log));
      this.#failures = 0;
      this.#refusedLogins = 0;
      this.#lastFailure = undefined;
      this.#connections = [...this.#connections.filter(({ alive }) => alive), connection];
      log.info({ host: connection.label }, "connected");
      const sinceMs = clock.monotonic();
      connection.onLost((fault) => {
        this.#connections = this.#connections.filter((other) => other !== connection);
        this.#wakeAll();
        if (connection.ended) return;
        log.info({ host: connection.label, err: fault }, "connection lost");
        if (clock.monotonic() - sinceMs < stableMs) this.#failed(fault, clock);
      });
      return connection;
    } catch (error) {
      const fault = isFault(error, "UNREACHABLE") ? error : asConfiguration(error);
      if (whyOf(fault) === "login") this.#refusedLogins++;
      if (!this.#end.signal.aborted) this.#tell(fault, log);
      this.#failed(fault, clock);
      this.#wakeAll();
      throw fault;
    }
  }

  #failed(fault: Fault, clock: Clock): void {
    this.#failures++;
    this.#lastFailure = { fault, nextMs: clock.monotonic() + backoffMs(connectBackoff, this.#failures) };
  }

  /** Each new reason once; a key that changed is an alarm. */
  #tell(fault: Fault, log: Logger): void {
    if (this.#lastFailure?.fault.message === fault.message) return;
    if (whyOf(fault) === "host-key" || whyOf(fault) === "login")
      log.error({ err: fault }, "a host cannot be trusted or refuses us");
    else log.warn({ err: fault }, "a host cannot be reached");
  }

  /** A server that gives few sessions counts one a moment longer than it is open. */
  #release(connection: Connection, clock: Clock): void {
    connection.freedMs = clock.monotonic();
    if (connection.refusedMs === undefined) this.#free(connection, clock);
    else void clock.sleep(reuseMs, this.#end.signal).then(() => this.#free(connection, clock));
  }

  #free(connection: Connection, clock: Clock): void {
    connection.sessions--;
    this.#wakeAll();
    const isIdle = (): boolean => !this.#connections.some(({ alive, sessions }) => alive && sessions > 0);
    // Sessions that end with the link come here last: no timer may outlive it.
    if (!isIdle() || this.#end.signal.aborted) return;
    this.#idle.abort();
    this.#idle = new AbortController();
    const { signal } = this.#idle;
    void clock.sleep(idleMs, signal).then(() => {
      if (!signal.aborted && isIdle()) for (const idle of this.#connections) idle.end();
    });
  }

  /** Resolves when a session has ended or a connection was lost or made, or `signal` aborts. */
  async #freed(signal: AbortSignal): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    const wake = (): void => resolve();
    this.#waiting.push(wake);
    signal.addEventListener("abort", wake, { once: true });
    await promise;
    signal.removeEventListener("abort", wake);
    const place = this.#waiting.indexOf(wake);
    if (place >= 0) this.#waiting.splice(place, 1);
  }

  #wakeAll(): void {
    for (const wake of this.#waiting.splice(0)) wake();
  }
}

function noSession({ label }: Connection, refusal: SessionRefused): Fault {
  return unreachable("session", `'${label}' gives no session: ${refusal.message}`, {
    hint: "MaxSessions of the server is 0, or the account may not log in there",
  });
}

function asConfiguration(error: unknown): Fault {
  const fault = asFault(error);
  const hint = fault.hint === undefined ? {} : { hint: fault.hint };
  return unreachable("configuration", fault.message, { ...hint, cause: fault });
}

function once(work: () => void): () => void {
  let done = false;
  return () => {
    if (!done) work();
    done = true;
  };
}
