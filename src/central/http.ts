import type { Readable } from "node:stream";
import { getCACertificates } from "node:tls";
import type { z } from "zod";
import { cutShort } from "../common/clock.ts";
import type { CallContext } from "../common/context.ts";
import { errnoOf, Fault } from "../common/fault.ts";
import { redactText } from "../common/redact.ts";
import { Agent, type Dispatcher, request as undiciRequest } from "../common/undici.ts";
import { type AnswerHead, faultOfAnswer, unreachable } from "./answers.ts";
import { requestIdHeader, ReuseWatch } from "./reuse.ts";
import { hostility, parseStrictJson } from "./strict-json.ts";

export interface TransportOptions {
  /** Base address without a slash at the end. */
  readonly url: string;
  /** Time limit of a call from its start to the last byte, milliseconds; default 30 s. */
  readonly timeoutMs?: number;
  /** Time limit of a connection; default 10 s. */
  readonly connectTimeoutMs?: number;
  /** Certificates (PEM) trusted besides Node's own; asked once. */
  readonly ca?: readonly string[] | undefined;
  /** Largest answer; default 32 MiB. */
  readonly maxAnswerBytes?: number;
  /** [0, 1); default Math.random. */
  readonly random?: () => number;
}

/** Calls that must get through (synchronize, claim, token) have connections of their own. */
export type Lane = "control" | "bulk";

export interface TransportRequest<Value> {
  readonly method: "GET" | "POST" | "PUT" | "PATCH";
  /** With a leading slash, encoded. */
  readonly path: string;
  readonly query?: Readonly<Record<string, string>>;
  readonly lane: Lane;
  readonly headers?: Readonly<Record<string, string>>;
  /** A function makes a fresh stream for each try. */
  readonly body?: string | Uint8Array | (() => Readable);
  readonly schema: z.ZodType<Value>;
  /** What no fault may repeat, besides the bearer token. */
  readonly secrets?: readonly string[];
  /** May be sent twice without harm: then a reset of a reused connection is tried once more on a new one. */
  readonly repeatable: boolean;
  /** Instead of the client's own. */
  readonly timeoutMs?: number;
  /** Leave members named `__proto__` and deep nesting inside of items to the caller, who checks them one by one. */
  readonly checksItems?: boolean;
}

export interface TransportAnswer<Value> {
  readonly status: number;
  readonly value: Value;
  /** The server's clock by its Date header, milliseconds since 1970. */
  readonly serverTimeMs: number | undefined;
}

const defaultTimeoutMs = 30_000;
const defaultConnectTimeoutMs = 10_000;
const defaultMaxAnswerBytes = 32 * 1024 * 1024;
const connectionsPerLane = 8;

/**
 * HTTP as the agent trusts it: an answer counts only when it is complete, in time, JSON, of the schema. Everything else –
 * HTML, empty, cut off, redirects, any 5xx – is UNREACHABLE. Never follows a redirect, never decompresses.
 */
export class Transport implements AsyncDisposable {
  readonly #options: TransportOptions;
  readonly #base: URL;
  readonly #lanes = new Map<Lane, Agent>();
  readonly #reuse = new ReuseWatch();

  constructor(options: TransportOptions) {
    this.#options = options;
    this.#base = new URL(options.url);
  }

  /**
   * One call.
   * @throws Fault of the answer (`details.status`), UNREACHABLE (`details.kind`), RATE_LIMITED (`details.retry_after_ms`), CANCELLED
   */
  async send<Value>(request: TransportRequest<Value>, context: CallContext): Promise<TransportAnswer<Value>> {
    const id = this.#reuse.begin();
    const headers = { ...request.headers, [requestIdHeader]: id };
    try {
      return await this.#once({ ...request, headers }, this.#lane(request.lane), context);
    } catch (error) {
      const reused = this.#reuse.end(id);
      if (!request.repeatable || !reused || !isReset(error) || context.signal.aborted) throw error;
      context.log.debug({ path: request.path }, "a reused connection was reset, trying a new one");
      const fresh = this.#makeAgent();
      try {
        return await this.#once({ ...request, headers }, fresh, context);
      } finally {
        await fresh.destroy();
      }
    } finally {
      this.#reuse.end(id);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const agents = [...this.#lanes.values()];
    this.#lanes.clear();
    await Promise.all(agents.map((agent) => agent.destroy()));
    this.#reuse[Symbol.dispose]();
  }

  #lane(name: Lane): Agent {
    let agent = this.#lanes.get(name);
    if (!agent) this.#lanes.set(name, (agent = this.#makeAgent()));
    return agent;
  }

  #makeAgent(): Agent {
    const { connectTimeoutMs = defaultConnectTimeoutMs, ca } = this.#options;
    return new Agent({
      allowH2: false,
      connections: connectionsPerLane,
      pipelining: 1,
      // One deadline for the whole call is kept here instead.
      headersTimeout: 0,
      bodyTimeout: 0,
      connect: {
        timeout: connectTimeoutMs,
        ...(ca === undefined ? {} : { ca: [...getCACertificates("default"), ...ca] }),
      },
    });
  }

  async #once<Value>(
    request: TransportRequest<Value>,
    agent: Agent,
    context: CallContext,
  ): Promise<TransportAnswer<Value>> {
    const limitMs = request.timeoutMs ?? this.#options.timeoutMs ?? defaultTimeoutMs;
    // By hand: AbortSignal.any on a signal that lives as long as the agent lets memory grow with each call.
    const ending = new AbortController();
    const stop = (): void => ending.abort();
    let late = false;
    const answered = new AbortController();
    void context.clock.sleep(limitMs, answered.signal).then(() => {
      if (answered.signal.aborted) return;
      late = true;
      stop();
    });
    context.signal.addEventListener("abort", stop, { once: true });
    if (context.signal.aborted) stop();
    try {
      const response = await undiciRequest(this.#url(request), {
        dispatcher: agent,
        method: request.method,
        headers: { accept: "application/json", "user-agent": "siteagent", ...request.headers },
        body: typeof request.body === "function" ? request.body() : (request.body ?? null),
        signal: ending.signal,
      });
      const text = await this.#readText(response, ending.signal);
      return this.#judge(request, headOf(response), text, context);
    } catch (error) {
      if (error instanceof Fault) throw error;
      if (context.signal.aborted) throw new Fault("CANCELLED", "the call was given up", { cause: error });
      if (late) {
        throw unreachable("timeout", `no whole answer within ${limitMs} ms`, { url: this.#base.origin }, error);
      }
      throw this.#lost(error);
    } finally {
      answered.abort(cutShort);
      context.signal.removeEventListener("abort", stop);
    }
  }

  #url(request: Pick<TransportRequest<unknown>, "path" | "query">): string {
    const query = request.query ? `?${new URLSearchParams(request.query).toString()}` : "";
    return `${this.#base.href.replace(/\/+$/, "")}${request.path}${query}`;
  }

  async #readText({ body }: Dispatcher.ResponseData, signal: AbortSignal): Promise<string> {
    const limit = this.#options.maxAnswerBytes ?? defaultMaxAnswerBytes;
    const chunks: Buffer[] = [];
    let bytes = 0;
    try {
      for await (const chunk of body as AsyncIterable<Buffer>) {
        bytes += chunk.length;
        if (bytes > limit) throw unreachable("too-large", `the answer is larger than ${limit} bytes`);
        chunks.push(chunk);
        signal.throwIfAborted();
      }
    } catch (error) {
      body.destroy();
      throw error;
    }
    return Buffer.concat(chunks).toString("utf8");
  }

  #judge<Value>(
    request: TransportRequest<Value>,
    head: AnswerHead,
    text: string,
    context: CallContext,
  ): TransportAnswer<Value> {
    const { random = Math.random } = this.#options;
    // Servers quote what they were sent: of a refusal nothing is kept that holds a secret.
    const said = head.status < 300 ? text : redactText(text, secretsIn(request));
    const fault = faultOfAnswer(head, said, { nowMs: context.clock.now(), random });
    if (fault) throw fault;
    let parsed: unknown;
    try {
      parsed = parseStrictJson(text);
    } catch {
      // Without the parser's message: it quotes the answer, which may be half a token.
      throw unreachable("no-json", `the answer to ${request.method} '${request.path}' is no JSON`);
    }
    const bad = hostility(parsed, request.checksItems === true ? "itself" : "whole");
    if (bad !== undefined) throw unreachable("hostile", `the answer to '${request.path}' was refused: ${bad}`);
    const result = request.schema.safeParse(parsed);
    if (!result.success) {
      const [issue] = result.error.issues;
      const where = issue ? `'${issue.path.join(".")}': ${issue.message}` : "unknown";
      throw unreachable(
        "schema",
        `the answer to ${request.method} '${request.path}' does not fit its schema: ${where}`,
      );
    }
    return { status: head.status, value: result.data, serverTimeMs: head.dateMs };
  }

  #lost(error: unknown): Fault {
    const reason = errnoOf(error) ?? (error instanceof Error ? error.name : "unknown");
    const message = error instanceof Error ? error.message : String(error);
    const tls = tlsHint(reason);
    return unreachable(
      isResetCode(reason) ? "reset" : tls === undefined ? "network" : "tls",
      `'${this.#base.origin}' does not answer: ${message || reason}`,
      { reason },
      error,
      tls,
    );
  }
}

function secretsIn({
  headers,
  secrets = [],
}: Pick<TransportRequest<unknown>, "headers" | "secrets">): readonly string[] {
  const bearer = /^Bearer (.+)$/i.exec(headers?.["authorization"] ?? "")?.[1];
  return bearer === undefined ? secrets : [bearer, ...secrets];
}

function headOf(response: Dispatcher.ResponseData): AnswerHead {
  const text = (name: string): string | undefined => {
    const value = response.headers[name];
    return Array.isArray(value) ? value[0] : value;
  };
  const dateMs = Date.parse(text("date") ?? "");
  return {
    status: response.statusCode,
    contentType: text("content-type") ?? "",
    contentEncoding: text("content-encoding") ?? "identity",
    retryAfter: text("retry-after"),
    location: text("location"),
    dateMs: Number.isNaN(dateMs) ? undefined : dateMs,
  };
}

function isReset(error: unknown): boolean {
  return error instanceof Fault && error.details?.["kind"] === "reset";
}

function isResetCode(reason: string): boolean {
  return reason === "ECONNRESET" || reason === "EPIPE" || reason === "UND_ERR_SOCKET";
}

/** Advice for what goes wrong with certificates; undefined when it was something else. */
function tlsHint(reason: string): string | undefined {
  switch (reason) {
    case "CERT_HAS_EXPIRED":
      return "the server's certificate has expired: its operator must renew it; look at this machine's clock too";
    case "ERR_TLS_CERT_ALTNAME_INVALID":
      return "the server's certificate is for another name: look at api.url";
    case "DEPTH_ZERO_SELF_SIGNED_CERT":
    case "SELF_SIGNED_CERT_IN_CHAIN":
    case "UNABLE_TO_GET_ISSUER_CERT_LOCALLY":
    case "UNABLE_TO_VERIFY_LEAF_SIGNATURE":
      return "the server's certificate is of an unknown authority: name its certificate in api.ca_file";
    default:
      return undefined;
  }
}
