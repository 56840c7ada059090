import type { z } from "zod";
import type { CallContext } from "../../common/context.ts";
import { errnoOf, Fault } from "../../common/fault.ts";
import { redactText } from "../../common/redact.ts";
import { Agent, request as send } from "../../common/undici.ts";
import { throwIfStopped } from "../errors.ts";
import { retryAfterMs } from "../http/status.ts";
import { type Refusal, refusalFault } from "./faults.ts";
import type { AccessTokens } from "./token.ts";

/** A listing of 100,000 entries has some 30 MiB. */
const mostAnswerBytes = 128 * 1024 * 1024;
const idleMs = 60_000;
const connectMs = 10_000;

export interface ApiCall<Value> {
  readonly method: "GET" | "POST";
  /** With a leading slash, encoded. */
  readonly path: string;
  readonly query?: Readonly<Record<string, string>>;
  /** JSON as text. */
  readonly body?: string;
  readonly schema: z.ZodType<Value>;
  /** What is asked for or sent, for messages. */
  readonly what: string;
}

/** What came back, whole. */
export interface Answer {
  readonly status: number;
  readonly text: string;
  readonly retryAfter: string | undefined;
}

/** The HTTP of both services: no redirects, bounded time and size. */
export class GlobusHttp implements AsyncDisposable {
  readonly #agent = new Agent({
    allowH2: false,
    connections: 8,
    headersTimeout: idleMs,
    bodyTimeout: idleMs,
    connect: { timeout: connectMs },
  });

  /** @throws Fault TRANSFER when there is no whole answer, CANCELLED. */
  async ask(
    url: string,
    how: {
      readonly method: "GET" | "POST";
      readonly headers: Readonly<Record<string, string>>;
      readonly body?: string | undefined;
    },
    context: CallContext,
  ): Promise<Answer> {
    throwIfStopped(context.signal);
    try {
      const { statusCode, headers, body } = await send(url, {
        dispatcher: this.#agent,
        method: how.method,
        headers: { accept: "application/json", "user-agent": "siteagent", ...how.headers },
        body: how.body ?? null,
        signal: context.signal,
      });
      const chunks: Buffer[] = [];
      let bytes = 0;
      for await (const chunk of body as AsyncIterable<Buffer>) {
        bytes += chunk.byteLength;
        if (bytes > mostAnswerBytes) throw new Fault("TRANSFER", `'${new URL(url).origin}' sends too large an answer`);
        chunks.push(chunk);
      }
      const retryAfter = headers["retry-after"];
      const text = Buffer.concat(chunks).toString("utf8");
      return { status: statusCode, text, retryAfter: typeof retryAfter === "string" ? retryAfter : undefined };
    } catch (error) {
      throwIfStopped(context.signal);
      if (error instanceof Fault) throw error;
      const reason = errnoOf(error) ?? (error instanceof Error ? error.message : String(error));
      throw new Fault("TRANSFER", `'${new URL(url).origin}' does not answer: ${reason}`, { cause: error });
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#agent.destroy();
  }
}

/** The Transfer API with a token that is renewed before its end, and once more when it is refused. */
export class TransferApi {
  readonly #http: GlobusHttp;
  readonly #tokens: AccessTokens;
  readonly #base: string;

  constructor(http: GlobusHttp, tokens: AccessTokens, base: string) {
    this.#http = http;
    this.#tokens = tokens;
    this.#base = `${base}/v0.10`;
  }

  /** @throws Fault of the refusal, TRANSFER for an answer that cannot be read. */
  async call<Value>(call: ApiCall<Value>, context: CallContext): Promise<Value> {
    const token = await this.#tokens.get(context);
    const first = await this.#once(call, token, context);
    if (first.status !== 401) return this.#judge(call, first, token, context);
    this.#tokens.refused(token);
    const fresh = await this.#tokens.get(context);
    return this.#judge(call, await this.#once(call, fresh, context), fresh, context);
  }

  async #once<Value>(call: ApiCall<Value>, token: string, context: CallContext): Promise<Answer> {
    const query = call.query ? `?${new URLSearchParams(call.query).toString()}` : "";
    const typed = call.body === undefined ? {} : { "content-type": "application/json" };
    const headers = { authorization: `Bearer ${token}`, ...typed };
    return this.#http.ask(
      `${this.#base}${call.path}${query}`,
      { method: call.method, headers, body: call.body },
      context,
    );
  }

  #judge<Value>(call: ApiCall<Value>, answer: Answer, token: string, context: CallContext): Value {
    const { status, text } = answer;
    const value = jsonOf(text);
    if (status < 200 || status > 299) {
      throw refusalFault(refusalOf(answer, jsonOf(redactText(text, [token])), context.clock.now()), call.what);
    }
    const read = call.schema.safeParse(value);
    if (read.success) return read.data;
    const [issue] = read.error.issues;
    const where = issue ? `'${issue.path.join(".")}': ${issue.message}` : "";
    throw new Fault("TRANSFER", `${call.what}: the answer of Globus cannot be read: ${where}`);
  }
}

/** Undefined for what is no JSON. */
export function jsonOf(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function refusalOf({ status, retryAfter }: Answer, document: unknown, now: number): Refusal {
  const fields: Readonly<Record<string, unknown>> =
    typeof document === "object" && document !== null ? { ...document } : {};
  const text = (name: string): string | undefined => {
    const value = fields[name];
    return typeof value === "string" ? value : undefined;
  };
  const scopes = fields["required_scopes"];
  return {
    status,
    code: text("code") ?? "",
    message: text("message") ?? "",
    requestId: text("request_id"),
    retryAfterMs: retryAfterMs(retryAfter, now),
    scopes: Array.isArray(scopes) ? scopes.filter((scope) => typeof scope === "string") : [],
  };
}
