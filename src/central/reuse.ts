import { subscribe, unsubscribe } from "node:diagnostics_channel";
import { randomUUID } from "node:crypto";

const channel = "undici:client:sendHeaders";
/** Names a call in the request and in the server's log. */
export const requestIdHeader = "x-request-id";
const idLine = new RegExp(`^${requestIdHeader}: ([\\w-]+)\\r?$`, "im");

/**
 * Tells whether a request went out over a connection that had served another one before. Only such a connection may have
 * been closed by the server just as we wrote to it, without a fault of anybody.
 */
export class ReuseWatch implements Disposable {
  readonly #used = new WeakSet<object>();
  /** Of the calls under way: true once one of them was sent on a used connection. */
  readonly #calls = new Map<string, boolean>();

  constructor() {
    subscribe(channel, this.#look);
  }

  /** A new call's id, to be sent as `requestIdHeader`; give it back to `end`. */
  begin(): string {
    const id = randomUUID();
    this.#calls.set(id, false);
    return id;
  }

  /** True when the call went over a used connection. */
  end(id: string): boolean {
    const reused = this.#calls.get(id) ?? false;
    this.#calls.delete(id);
    return reused;
  }

  [Symbol.dispose](): void {
    unsubscribe(channel, this.#look);
  }

  readonly #look = (message: unknown): void => {
    if (!isMessage(message)) return;
    const id = idLine.exec(message.headers)?.[1];
    if (id === undefined || !this.#calls.has(id)) return;
    this.#calls.set(id, this.#used.has(message.socket));
    this.#used.add(message.socket);
  };
}

function isMessage(message: unknown): message is { readonly headers: string; readonly socket: object } {
  if (typeof message !== "object" || message === null || !("headers" in message) || !("socket" in message))
    return false;
  return typeof message.headers === "string" && typeof message.socket === "object" && message.socket !== null;
}
