import { z } from "zod";
import { Fault } from "../common/fault.ts";
import type { Dispatcher } from "../common/undici.ts";

/** How the client proves who it is; `undefined` parts are absent. */
export type Credentials =
  | { readonly kind: "token"; readonly token: string }
  /** Asked at first and again after each 401. */
  | { readonly kind: "provider"; readonly provide: () => Promise<string> }
  | { readonly kind: "password"; readonly username: string; readonly password: string }
  | { readonly kind: "client"; readonly clientId: string; readonly clientSecret: string }
  | { readonly kind: "none" };

/** Answer of POST /token, NMDC shape: the life is a sum of parts. */
const tokenAnswerSchema = z.object({
  access_token: z.string(),
  expires: z
    .object({
      days: z.number().default(0),
      hours: z.number().default(0),
      minutes: z.number().default(0),
      seconds: z.number().default(0),
    })
    .optional(),
});

/** A token is renewed this long before its end, milliseconds. */
const earlyMs = 60_000;

type Login = (
  form: Readonly<Record<string, string>>,
  signal: AbortSignal | undefined,
) => Promise<Dispatcher.ResponseData>;

/** Keeps one token and gets the next one when it ran out or was refused; concurrent callers share one request. */
export class TokenSource {
  readonly #credentials: Credentials;
  readonly #login: Login;
  #token: string | undefined;
  #expiresAtMs: number | undefined;
  #pending: Promise<string | undefined> | undefined;

  constructor(credentials: Credentials, login: Login) {
    this.#credentials = credentials;
    this.#login = login;
  }

  /** True when a refused token can be replaced by a new one. */
  get renewable(): boolean {
    return this.#credentials.kind !== "token" && this.#credentials.kind !== "none";
  }

  async current(signal: AbortSignal | undefined): Promise<string | undefined> {
    const fresh = this.#expiresAtMs === undefined || Date.now() < this.#expiresAtMs - earlyMs;
    if (this.#token !== undefined && fresh) return this.#token;
    return this.#obtain(signal);
  }

  /** A token other than `refused`. */
  async renewed(refused: string | undefined, signal: AbortSignal | undefined): Promise<string | undefined> {
    if (this.#token !== undefined && this.#token !== refused) return this.#token;
    this.#token = undefined;
    return this.#obtain(signal);
  }

  async described(
    signal: AbortSignal | undefined,
  ): Promise<{ readonly token: string; readonly expiresAtMs: number | undefined }> {
    const token = await this.current(signal);
    if (token === undefined) throw new Fault("UNAUTHENTICATED", "no credentials were given");
    return { token, expiresAtMs: this.#expiresAtMs };
  }

  async #obtain(signal: AbortSignal | undefined): Promise<string | undefined> {
    this.#pending ??= this.#ask(signal).finally(() => {
      this.#pending = undefined;
    });
    return this.#pending;
  }

  async #ask(signal: AbortSignal | undefined): Promise<string | undefined> {
    const credentials = this.#credentials;
    switch (credentials.kind) {
      case "none":
        return undefined;
      case "token":
        return (this.#token = credentials.token);
      case "provider":
        return (this.#token = await credentials.provide());
      case "password": {
        const { username, password } = credentials;
        return this.#request({ grant_type: "password", username, password }, signal);
      }
      case "client": {
        const { clientId, clientSecret } = credentials;
        const form = { grant_type: "client_credentials", client_id: clientId, client_secret: clientSecret };
        return this.#request(form, signal);
      }
    }
  }

  async #request(form: Readonly<Record<string, string>>, signal: AbortSignal | undefined): Promise<string> {
    const response = await this.#login(form, signal);
    const parsed = tokenAnswerSchema.safeParse(await response.body.json().catch(() => undefined));
    if (!parsed.success) throw new Fault("UNREACHABLE", "the answer of POST /token is not understood");
    const { expires, access_token } = parsed.data;
    this.#token = access_token;
    this.#expiresAtMs = expires ? Date.now() + lifeMs(expires) : undefined;
    return access_token;
  }
}

function lifeMs(expires: { days: number; hours: number; minutes: number; seconds: number }): number {
  return (((expires.days * 24 + expires.hours) * 60 + expires.minutes) * 60 + expires.seconds) * 1000;
}
