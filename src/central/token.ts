import { z } from "zod";
import type { CallContext } from "../common/context.ts";
import { Fault, isFault } from "../common/fault.ts";
import type { Transport } from "./http.ts";
import { SharedCall } from "./shared-call.ts";

const tokenSchema = z.object({
  /** Goes into a header as it is. */
  access_token: z.string().regex(/^[!-~]{1,16384}$/),
  token_type: z.string().regex(/^bearer$/i),
  /** A duration in parts, not seconds. */
  expires: z
    .object({
      days: z.number().min(0).default(0),
      hours: z.number().min(0).default(0),
      minutes: z.number().min(0).default(0),
      seconds: z.number().min(0).default(0),
    })
    .optional(),
});

export interface Credentials {
  readonly clientId: string;
  /** Asked at each login, so that a changed file heals by itself. */
  readonly clientSecret: () => Promise<string>;
}

/** A token is renewed this long before its end, or after half of a short life. */
const marginMs = 60_000;
/** Assumed when the server does not say. */
const assumedLifeMs = 600_000;

/** The one token of a client: kept until shortly before its end, asked for once however many calls wait for it. */
export class TokenCache {
  readonly #transport: Transport;
  readonly #credentials: Credentials;
  #current: { readonly token: string; readonly until: number } | undefined;
  readonly #asking = new SharedCall<string>();

  constructor(transport: Transport, credentials: Credentials) {
    this.#transport = transport;
    this.#credentials = credentials;
  }

  /** @throws Fault UNAUTHENTICATED when the API refuses the credentials, SECRET when they cannot be read, UNREACHABLE */
  async get(context: CallContext): Promise<string> {
    const { clock } = context;
    if (this.#current && clock.monotonic() < this.#current.until) return this.#current.token;
    return this.#asking.value(context, (asker) => this.#ask(asker));
  }

  /** The API refused this token; the next `get` asks for another. A newer one stays. */
  drop(token: string): void {
    if (this.#current?.token === token) this.#current = undefined;
  }

  async #ask(context: CallContext): Promise<string> {
    const secret = await this.#credentials.clientSecret();
    const form = new URLSearchParams({
      grant_type: "client_credentials",
      client_id: this.#credentials.clientId,
      client_secret: secret,
    });
    const began = context.clock.monotonic();
    let value: z.output<typeof tokenSchema>;
    try {
      const answer = await this.#transport.send(
        {
          method: "POST",
          path: "/token",
          lane: "control",
          headers: { "content-type": "application/x-www-form-urlencoded" },
          body: form.toString(),
          secrets: [secret],
          schema: tokenSchema,
          repeatable: true,
        },
        context,
      );
      value = answer.value;
    } catch (error) {
      if (!isFault(error, "UNAUTHENTICATED", "USAGE", "INVALID", "FORBIDDEN")) throw error;
      throw new Fault("UNAUTHENTICATED", `the API refused client '${this.#credentials.clientId}': ${error.message}`, {
        hint: "check api.client_id and the file of api.client_secret; central can make new credentials",
        details: { ...error.details },
        cause: error,
      });
    }
    const lifeMs = lifeOf(value);
    this.#current = { token: value.access_token, until: began + Math.max(lifeMs - marginMs, lifeMs / 2) };
    return value.access_token;
  }
}

function lifeOf({ expires }: z.output<typeof tokenSchema>): number {
  if (!expires) return assumedLifeMs;
  const minutes = expires.minutes + 60 * (expires.hours + 24 * expires.days);
  return (minutes * 60 + expires.seconds) * 1_000;
}
