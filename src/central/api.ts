import type { CallContext } from "../common/context.ts";
import { isFault } from "../common/fault.ts";
import { type Credentials, TokenCache } from "./token.ts";
import { Transport, type TransportAnswer, type TransportOptions, type TransportRequest } from "./http.ts";

export interface ApiOptions extends TransportOptions, Credentials {}

/** Authenticated calls: the token goes along, and after a 401 one fresh token is tried. */
export class Api implements AsyncDisposable {
  readonly #transport: Transport;
  readonly #tokens: TokenCache;

  constructor(options: ApiOptions) {
    this.#transport = new Transport(options);
    this.#tokens = new TokenCache(this.#transport, options);
  }

  /** @throws Fault as `Transport.send`; UNAUTHENTICATED when the fresh token is refused too */
  async call<Value>(request: TransportRequest<Value>, context: CallContext): Promise<TransportAnswer<Value>> {
    const token = await this.#tokens.get(context);
    try {
      return await this.#transport.send(withToken(request, token), context);
    } catch (error) {
      if (!isFault(error, "UNAUTHENTICATED")) throw error;
      this.#tokens.drop(token);
      context.log.debug({ path: request.path }, "the token was refused, asking for a new one");
      return this.#transport.send(withToken(request, await this.#tokens.get(context)), context);
    }
  }

  /** For callers that open a connection of their own to the API. */
  async authorization(context: CallContext): Promise<Readonly<Record<string, string>>> {
    return { authorization: `Bearer ${await this.#tokens.get(context)}` };
  }

  /** A call without a token. */
  async open<Value>(request: TransportRequest<Value>, context: CallContext): Promise<TransportAnswer<Value>> {
    return this.#transport.send(request, context);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#transport[Symbol.asyncDispose]();
  }
}

function withToken<Value>(request: TransportRequest<Value>, token: string): TransportRequest<Value> {
  return { ...request, headers: { ...request.headers, authorization: `Bearer ${token}` } };
}
