import type { ClientChannel, SFTPWrapper } from "ssh2";
import { type Fault, isFault } from "../../common/fault.ts";
import type { LoggedIn } from "./connect.ts";
import { unreachable, wordsOf } from "./faults.ts";
import { giveUpWritten, readInPlace } from "./sftp-data.ts";

/** Sessions on one connection when nothing is known of the server: two fewer than OpenSSH's `MaxSessions`. */
const usualSessions = 8;

/** The server gives no further session on this connection: not a fault of the call. */
export class SessionRefused extends Error {}

/** A connection that is logged in, and its sessions. */
export class Connection {
  readonly label: string;
  /** Open sessions and those being opened. */
  sessions = 0;
  /** As many as the server gives, or as we allow ourselves. */
  limit = usualSessions;
  /** When the server refused one, by the monotonic clock: since then `limit` is its own, as far as it is known. */
  refusedMs: number | undefined;
  /** `limit` is one higher than what the server is known to give: its next refusal lowers it again, and says nothing new. */
  trying = false;
  /** When a session ended last, by the monotonic clock. */
  freedMs = -Infinity;
  /** It was ended by us. */
  ended = false;
  readonly #loggedIn: LoggedIn;
  #noFiles: Fault | undefined;

  /** Who wants to know when it is lost. */
  readonly #watchers = new Set<(fault: Fault) => void>();
  #fault: Fault | undefined;

  constructor(loggedIn: LoggedIn) {
    this.#loggedIn = loggedIn;
    this.label = loggedIn.hop.label;
    for (const client of loggedIn.clients) {
      let reason: unknown;
      client.on("error", (error) => (reason ??= error));
      const over = (): void => this.#lose(reason === undefined ? "the server hung up" : wordsOf(reason));
      // Through a jump host the end is not followed by a close: a stream there stays open on our side.
      client.on("end", over).on("close", over);
    }
  }

  /** Why it was lost. */
  get lost(): Fault | undefined {
    return this.#fault;
  }

  /** Calls back once, when it is lost or ended (at once if it is). The result takes that back. */
  onLost(watcher: (fault: Fault) => void): () => void {
    if (this.#fault) watcher(this.#fault);
    else this.#watchers.add(watcher);
    return () => this.#watchers.delete(watcher);
  }

  get alive(): boolean {
    return !this.ended && this.#fault === undefined;
  }

  get full(): boolean {
    return this.sessions >= this.limit;
  }

  /** A session that runs `command`. @throws SessionRefused, or Fault UNREACHABLE. */
  exec(command: string): Promise<ClientChannel> {
    return this.#open((done) => this.#loggedIn.client.exec(command, done), "commands cannot be run");
  }

  /** A session that serves files. @throws SessionRefused, or Fault UNREACHABLE. */
  async sftp(): Promise<SFTPWrapper> {
    if (this.#noFiles) throw this.#noFiles;
    try {
      const session = await this.#open<SFTPWrapper>(
        (done) => this.#loggedIn.client.sftp(done),
        "files cannot be reached (SFTP)",
      );
      readInPlace(session);
      giveUpWritten(session);
      return session;
    } catch (error) {
      // ssh2 leaves the session open in which the subsystem was refused: once is enough.
      if (isFault(error) && this.alive) this.#noFiles = error;
      throw error;
    }
  }

  /** Ends it and all its sessions. */
  end(): void {
    this.ended = true;
    this.#lose("siteagent has ended it");
  }

  #lose(why: string): void {
    if (this.#fault) return;
    const message = `the connection to '${this.label}' was lost: ${why}`;
    this.#fault = unreachable("network", message, { started: "unknown" });
    this.#loggedIn.end();
    for (const watcher of this.#watchers) watcher(this.#fault);
    this.#watchers.clear();
  }

  async #open<Channel>(
    begin: (done: (error: Error | undefined, channel: Channel) => void) => void,
    what: string,
  ): Promise<Channel> {
    const { promise, resolve, reject } = Promise.withResolvers<Channel>();
    // Nothing was asked of the session yet.
    const forget = this.onLost((fault) => reject(unreachable("network", fault.message)));
    try {
      begin((error, channel) => (error ? reject(error) : resolve(channel)));
      return await promise;
    } catch (error) {
      if (isFault(error)) throw error;
      if (this.#fault) throw unreachable("network", this.#fault.message);
      if (isOpenFailure(error)) throw new SessionRefused(wordsOf(error));
      if (wordsOf(error) === "Not connected") throw unreachable("network", `the connection to '${this.label}' is lost`);
      throw unreachable("session", `${what} at '${this.label}': ${wordsOf(error)}`, { cause: error });
    } finally {
      forget();
    }
  }
}

/** The server's answer to the opening of a channel, as ssh2 gives it: with its reason. */
function isOpenFailure(error: unknown): boolean {
  return error instanceof Error && "reason" in error;
}
