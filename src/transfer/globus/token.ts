import { z } from "zod";
import type { CallContext } from "../../common/context.ts";
import { Fault, isFault } from "../../common/fault.ts";
import { quoted } from "../../common/nearest.ts";
import { readSecretFile } from "../../common/secret-file.ts";
import { type GlobusHttp, jsonOf } from "./client.ts";
import { loginFault } from "./faults.ts";
import type { GlobusSettings } from "./types.ts";

const scope = "urn:globus:auth:scope:transfer.api.globus.org:all";
/** A token is renewed this long before its end, or after half of a short life. */
const marginMs = 120_000;

const credentialsSchema = z
  .strictObject({
    client_id: z.string().min(1).max(200),
    client_secret: z.string().min(1).max(1000).optional(),
    refresh_token: z.string().min(1).max(4000).optional(),
  })
  .refine((one) => one.client_secret !== undefined || one.refresh_token !== undefined);
type Credentials = z.output<typeof credentialsSchema>;

const tokenSchema = z.object({
  /** Goes into a header as it is. */
  access_token: z.string().regex(/^[!-~]{1,16384}$/),
  expires_in: z.number().min(1).max(1e9),
});

/** The access token of the site: made of what the credentials file says, kept in memory until shortly before its end. */
export class AccessTokens {
  readonly #settings: GlobusSettings;
  readonly #http: GlobusHttp;
  #current: { readonly token: string; readonly until: number } | undefined;
  #asking: Promise<string> | undefined;

  constructor(settings: GlobusSettings, http: GlobusHttp) {
    this.#settings = settings;
    this.#http = http;
  }

  /** @throws Fault SECRET for the file; UNREACHABLE when Globus Auth refuses it; TRANSFER when it does not answer. */
  async get(context: CallContext): Promise<string> {
    for (;;) {
      if (this.#current && context.clock.monotonic() < this.#current.until) return this.#current.token;
      if (!this.#asking) return await this.#ask(context);
      try {
        return await this.#asking;
      } catch (error) {
        // The one who asked was told to stop; we were not.
        if (!isFault(error, "CANCELLED") || context.signal.aborted) throw error;
      }
    }
  }

  /** Said of a token that the API did not take. */
  refused(token: string): void {
    if (this.#current?.token === token) this.#current = undefined;
  }

  #ask(context: CallContext): Promise<string> {
    this.#asking = this.#fresh(context).finally(() => {
      this.#asking = undefined;
    });
    return this.#asking;
  }

  async #fresh(context: CallContext): Promise<string> {
    const { credentials: place, auth } = this.#settings;
    const credentials = readCredentials(await readSecretFile(place), place.label);
    const { client_id: id, client_secret: secret, refresh_token: refresh } = credentials;
    const form = new URLSearchParams(
      refresh === undefined
        ? { grant_type: "client_credentials", scope }
        : { grant_type: "refresh_token", refresh_token: refresh, client_id: id },
    );
    const headers: Record<string, string> = { "content-type": "application/x-www-form-urlencoded" };
    if (secret !== undefined) headers["authorization"] = `Basic ${Buffer.from(`${id}:${secret}`).toString("base64")}`;
    const call = { method: "POST", headers, body: form.toString() } as const;
    const began = context.clock.monotonic();
    const { status, text } = await this.#http.ask(`${auth}/v2/oauth2/token`, call, context);
    const document = jsonOf(text);
    if (status === 400 || status === 401 || status === 403) throw refusedLogin(status, document, place.label);
    const read = tokenSchema.safeParse(document);
    if (status !== 200 || !read.success) {
      throw new Fault("TRANSFER", `Globus Auth gives no token: it answered ${status}`, { details: { status } });
    }
    const { access_token: token, expires_in: seconds } = read.data;
    const lifeMs = seconds * 1000;
    this.#current = { token, until: began + Math.max(lifeMs - marginMs, lifeMs / 2) };
    return token;
  }
}

/** @throws Fault SECRET; never with a part of the content. */
function readCredentials(bytes: Buffer, label: string): Credentials {
  const read = credentialsSchema.safeParse(jsonOf(bytes.toString("utf8")));
  if (read.success) return read.data;
  throw new Fault(
    "SECRET",
    `the secret '${label}' is no JSON object with client_id and refresh_token or client_secret`,
    {
      hint: `{"client_id": "…", "refresh_token": "…"}, or {"client_id": "…", "client_secret": "…"}`,
    },
  );
}

function refusedLogin(status: number, document: unknown, label: string): Fault {
  const error = z.object({ error: z.string() }).safeParse(document);
  const why = error.success ? error.data.error : String(status);
  return loginFault(
    `Globus Auth refuses the credentials of '${label}': ${quoted(why, 100)}`,
    "make a new refresh token or client secret and put it there",
    { status },
  );
}
