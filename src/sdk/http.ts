import { z } from "zod";
import { asFault, Fault, isFault } from "../common/fault.ts";
import { type FaultCode, faults } from "../common/faults.ts";
import type { JsonObject } from "../common/json.ts";
import { Agent, type Dispatcher, request } from "../common/undici.ts";
import { problemSchema } from "../wire/user-api.ts";
import { type Credentials, TokenSource } from "./token.ts";

export interface HttpOptions {
  /** Base URL of the hub, e.g. `https://hub.example.org`. */
  readonly url: string;
  readonly credentials: Credentials;
  /** Time for the whole of an ordinary call, milliseconds; default 30 000. */
  readonly timeoutMs?: number | undefined;
  /** A connection pool to use instead of an own one; not closed by the client. */
  readonly dispatcher?: Dispatcher | undefined;
}

export interface Call {
  readonly method?: "GET" | "POST" | "PUT" | "DELETE";
  readonly query?: Readonly<Record<string, QueryValue>>;
  readonly headers?: Readonly<Record<string, string>>;
  /** Sent as JSON. */
  readonly json?: unknown;
  /** Sent as it is. */
  readonly bytes?: Uint8Array;
  readonly signal?: AbortSignal | undefined;
  /** Statuses besides 2xx that the caller looks at itself. */
  readonly accept?: readonly number[];
}
/** What came back: the head, and a body that has to be read or dumped. */
export type Answer = Dispatcher.ResponseData;
export type QueryValue = string | number | boolean | readonly string[] | undefined;

const connectTimeoutMs = 10_000;
/** The hub writes a comment into idle event streams every 15 s: a stream silent for this long is dead. */
const silentStreamMs = 45_000;

const byStatus: Readonly<Record<number, FaultCode>> = {
  400: "USAGE",
  401: "UNAUTHENTICATED",
  403: "FORBIDDEN",
  404: "NOT_FOUND",
  409: "CONFLICT",
  413: "TOO_LARGE",
  416: "BAD_OFFSET",
  422: "INVALID",
  429: "RATE_LIMITED",
};

/** One hub over HTTP: token, time limits, faults. Answers that are not the API's are UNREACHABLE. */
export class HubHttp implements AsyncDisposable {
  readonly base: string;
  readonly #tokens: TokenSource;
  readonly #timeoutMs: number;
  readonly #dispatcher: Dispatcher;
  readonly #own: Agent | undefined;

  constructor(options: HttpOptions) {
    this.base = options.url.replace(/\/+$/, "");
    this.#timeoutMs = options.timeoutMs ?? 30_000;
    this.#own = options.dispatcher
      ? undefined
      : new Agent({ connect: { timeout: connectTimeoutMs }, bodyTimeout: silentStreamMs, allowH2: false });
    this.#dispatcher = options.dispatcher ?? (this.#own as Agent);
    this.#tokens = new TokenSource(options.credentials, (form, signal) => this.#login(form, signal));
  }

  /** A call whose answer is JSON of this shape. */
  async json<T>(path: string, schema: z.ZodType<T>, call: Call = {}): Promise<T> {
    const response = await this.raw(path, { ...call, signal: this.#limit(call.signal) });
    return readJson(response, schema, call.signal);
  }

  /** A call without an answer of interest. */
  async none(path: string, call: Call = {}): Promise<void> {
    const response = await this.raw(path, { ...call, signal: this.#limit(call.signal) });
    await response.body.dump();
  }

  /** The response with a good status; its body is the caller's to read or cancel. No time limit but the signal's. */
  async raw(path: string, call: Call = {}): Promise<Answer> {
    const token = await this.#tokens.current(call.signal);
    const response = await this.#send(path, call, token);
    if (response.statusCode !== 401 || !this.#tokens.renewable) return checked(response, call);
    await response.body.dump();
    return checked(await this.#send(path, call, await this.#tokens.renewed(token, call.signal)), call);
  }

  /** The token in use, obtained when there is none yet. */
  async token(signal?: AbortSignal): Promise<{ readonly token: string; readonly expiresAtMs: number | undefined }> {
    return this.#tokens.described(signal);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#own?.destroy();
  }

  #limit(signal: AbortSignal | undefined): AbortSignal {
    const limit = AbortSignal.timeout(this.#timeoutMs);
    return signal ? AbortSignal.any([signal, limit]) : limit;
  }

  async #send(path: string, call: Call, token: string | undefined): Promise<Answer> {
    const headers: Record<string, string> = {
      accept: "application/json",
      "user-agent": "siteagent",
      ...call.headers,
    };
    if (token !== undefined) headers["authorization"] = `Bearer ${token}`;
    if (call.json !== undefined) headers["content-type"] = "application/json";
    if (call.bytes !== undefined) headers["content-type"] ??= "application/octet-stream";
    const body = call.bytes ?? (call.json === undefined ? undefined : JSON.stringify(call.json));
    try {
      return await request(`${this.base}${path}${queryText(call.query)}`, {
        method: call.method ?? "GET",
        headers,
        dispatcher: this.#dispatcher,
        body: body ?? null,
        signal: call.signal ?? null,
      });
    } catch (error) {
      throw unreachable(error, call.signal);
    }
  }

  async #login(form: Readonly<Record<string, string>>, signal: AbortSignal | undefined): Promise<Answer> {
    const response = await this.#send(
      "/token",
      {
        method: "POST",
        bytes: new TextEncoder().encode(new URLSearchParams(form).toString()),
        headers: { "content-type": "application/x-www-form-urlencoded" },
        signal: this.#limit(signal),
      },
      undefined,
    );
    return checked(response, {});
  }
}

/** Bytes of a body piece by piece; a broken connection is UNREACHABLE. */
export async function* readBody(response: Answer, signal: AbortSignal | undefined): AsyncGenerator<Uint8Array> {
  try {
    for await (const piece of response.body) yield piece as Uint8Array;
  } catch (error) {
    throw unreachable(error, signal);
  }
}

/** All bytes of a body. */
export async function readBytes(response: Answer, signal: AbortSignal | undefined): Promise<Uint8Array> {
  try {
    return new Uint8Array(await response.body.arrayBuffer());
  } catch (error) {
    throw unreachable(error, signal);
  }
}

/** One path element. */
export function part(text: string): string {
  return encodeURIComponent(text);
}

async function readJson<T>(response: Answer, schema: z.ZodType<T>, signal: AbortSignal | undefined): Promise<T> {
  let body: unknown;
  try {
    body = await response.body.json();
  } catch (error) {
    throw unreachable(error, signal);
  }
  const parsed = schema.safeParse(body);
  if (parsed.success) return parsed.data;
  throw new Fault("UNREACHABLE", `the hub's answer is not understood: ${z.prettifyError(parsed.error)}`, {
    hint: "is this the URL of a siteagent hub, and of a version that fits?",
  });
}

async function checked(response: Answer, call: Call): Promise<Answer> {
  const { statusCode } = response;
  if ((statusCode >= 200 && statusCode < 300) || call.accept?.includes(statusCode)) return response;
  throw await faultOf(response);
}

async function faultOf(response: Answer): Promise<Fault> {
  const status = response.statusCode;
  const text = await response.body.text().catch(() => "");
  const problem = problemSchema.safeParse(parseJson(text));
  const code = problem.success ? faultCode(problem.data.code, status) : undefined;
  if (!problem.success || code === undefined) {
    return new Fault("UNREACHABLE", `the hub answered ${status} without an error of the API`, {
      details: { status, body: text.slice(0, 500) },
    });
  }
  const { detail, hint, details, errors } = problem.data;
  const retryAfter = Number(response.headers["retry-after"]);
  const extra: JsonObject = {
    status,
    ...details,
    ...(errors ? { errors: errors as JsonObject[string] } : {}),
    ...(retryAfter > 0 ? { retry_after_ms: retryAfter * 1000 } : {}),
  };
  return new Fault(code, sentence(detail), { details: extra, ...(hint === undefined ? {} : { hint }) });
}

/** The API's own code; else one that fits the status of an NMDC answer, which has none. */
function faultCode(code: string | undefined, status: number): FaultCode | undefined {
  if (code !== undefined && Object.hasOwn(faults, code)) return code as FaultCode;
  return byStatus[status];
}

function sentence(detail: string | readonly unknown[]): string {
  if (typeof detail === "string") return detail;
  return detail.map((item) => validationSentence(item)).join("; ");
}

const validationItem = z.object({ loc: z.array(z.union([z.string(), z.number()])).default([]), msg: z.string() });

function validationSentence(item: unknown): string {
  const parsed = validationItem.safeParse(item);
  return parsed.success ? `${parsed.data.loc.join(".")}: ${parsed.data.msg}` : JSON.stringify(item);
}

function unreachable(error: unknown, signal: AbortSignal | undefined): Fault {
  if (isFault(error)) return error;
  if (error instanceof Error && error.name === "TimeoutError") {
    return new Fault("UNREACHABLE", "the hub did not answer in time", { cause: error });
  }
  if (signal?.aborted) return asFault(signal.reason, "CANCELLED");
  const cause = error instanceof Error && error.cause instanceof Error ? error.cause.message : undefined;
  const message = error instanceof Error ? error.message : String(error);
  return new Fault("UNREACHABLE", `the hub cannot be reached: ${cause ?? message}`, { cause: error });
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function queryText(query: Call["query"]): string {
  const search = new URLSearchParams();
  for (const [name, value] of Object.entries(query ?? {})) {
    if (value === undefined) continue;
    for (const one of typeof value === "object" ? value : [String(value)]) search.append(name, one);
  }
  const text = search.toString();
  return text === "" ? "" : `?${text}`;
}
