import type { SFTPWrapper } from "ssh2";
import { cutShort } from "../../common/clock.ts";
import type { CallContext } from "../../common/context.ts";
import { Fault, isFault } from "../../common/fault.ts";
import { unreachable, wordsOf } from "./faults.ts";
import type { Session, SshLink } from "./link.ts";

/** Of one request; a server whose file system hangs answers none. */
const answerMs = 60_000;
/** A session that nobody has used so long is closed. */
const idleMs = 60_000;

/** Status codes of draft-ietf-secsh-filexfer-02, section 7. */
export const sftpStatus = { noSuchFile: 2, permissionDenied: 3, failure: 4 } as const;

/** What the server answered instead of doing it. */
export class SftpRefusal extends Error {
  readonly status: number;

  constructor(status: number, message: string) {
    super(message);
    this.status = status;
  }
}

type Done<Value> = (error?: Error | null, value?: Value) => void;

/** One SFTP session for all calls to the files of a host: opened when needed, closed when idle or when it hangs. */
export class SftpSession {
  readonly #link: SshLink;
  #session: Promise<Session<SFTPWrapper>> | undefined;
  #calls = 0;
  #idle = new AbortController();

  constructor(link: SshLink) {
    this.#link = link;
  }

  /**
   * One request. `begin` gets the session and what it has to call with the answer.
   * @throws SftpRefusal for the server's own word, Fault UNREACHABLE, CANCELLED.
   */
  async call<Value>(context: CallContext, begin: (sftp: SFTPWrapper, done: Done<Value>) => void): Promise<Value> {
    if (this.#calls++ === 0) this.#idle.abort(cutShort);
    try {
      const session = await this.#open(context);
      return await this.#answer(session, context, begin);
    } finally {
      if (--this.#calls === 0) this.#closeLater(context);
    }
  }

  /** The same; undefined when there is no such file. */
  async maybe<Value>(
    context: CallContext,
    begin: (sftp: SFTPWrapper, done: Done<Value>) => void,
  ): Promise<Value | undefined> {
    try {
      return await this.call(context, begin);
    } catch (error) {
      if (error instanceof SftpRefusal && error.status === sftpStatus.noSuchFile) return undefined;
      throw error;
    }
  }

  /** The same for an extension; undefined when the server does not offer it. */
  async extension<Value>(
    context: CallContext,
    begin: (sftp: SFTPWrapper, done: Done<Value>) => void,
  ): Promise<{ readonly value: Value } | undefined> {
    let offered = true;
    const value = await this.call<Value | undefined>(context, (sftp, done) => {
      try {
        begin(sftp, done as Done<Value>);
      } catch {
        offered = false; // ssh2 throws at once for what the server has not announced
        done(undefined, undefined);
      }
    });
    return offered ? { value: value as Value } : undefined;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#idle.abort();
    const session = await this.#session?.catch(() => undefined);
    session?.channel.end();
  }

  /** The one session, for all who call at the same time; one that could not be opened is forgotten. */
  async #open(context: CallContext): Promise<Session<SFTPWrapper>> {
    this.#session ??= this.#begin(context);
    const mine = this.#session;
    try {
      return await mine;
    } catch (error) {
      if (this.#session === mine) this.#session = undefined;
      // Ended by request of somebody else who called at the same time.
      if (isFault(error, "CANCELLED") && !context.signal.aborted) return await this.#open(context);
      throw error;
    }
  }

  async #begin(context: CallContext): Promise<Session<SFTPWrapper>> {
    const session = await this.#link.sftp(context);
    const mine = this.#session;
    session.channel.on("error", () => {}); // "close" follows
    const over = (): void => {
      session.release();
      if (this.#session === mine) this.#session = undefined;
    };
    session.channel.on("close", over);
    session.connection.onLost(over);
    return session;
  }

  async #answer<Value>(
    { channel, connection }: Session<SFTPWrapper>,
    { clock, signal }: CallContext,
    begin: (sftp: SFTPWrapper, done: Done<Value>) => void,
  ): Promise<Value> {
    const over = new AbortController();
    const { promise, resolve, reject } = Promise.withResolvers<Value>();
    const cancel = (): void => reject(new Fault("CANCELLED", "ended by request"));
    signal.addEventListener("abort", cancel, { once: true });
    if (signal.aborted) cancel();
    const forget = connection.onLost(reject);
    void clock.sleep(answerMs, over.signal).then(() => {
      if (over.signal.aborted) return;
      reject(unreachable("session", `'${connection.label}' answers no request for files`, { started: "unknown" }));
      this.#session = undefined;
      channel.end();
    });
    try {
      begin(channel, (error, value) => {
        if (error) reject(asRefusal(error));
        else resolve(value as Value);
      });
      return await promise;
    } catch (error) {
      if (error instanceof SftpRefusal || isFault(error)) throw error;
      if (connection.lost) throw connection.lost;
      const message = `the SFTP session at '${connection.label}' was lost: ${wordsOf(error)}`;
      throw unreachable("session", message, { started: "unknown", cause: error });
    } finally {
      forget();
      over.abort(cutShort);
      signal.removeEventListener("abort", cancel);
    }
  }

  #closeLater({ clock }: CallContext): void {
    this.#idle = new AbortController();
    const { signal } = this.#idle;
    void clock.sleep(idleMs, signal).then(async () => {
      if (signal.aborted) return;
      const session = this.#session;
      this.#session = undefined;
      (await session?.catch(() => undefined))?.channel.end();
    });
  }
}

/** A status of the server has a number; everything else is a session that broke. */
function asRefusal(error: Error): Error {
  const { code } = error as { readonly code?: unknown };
  return typeof code === "number" ? new SftpRefusal(code, error.message) : error;
}
