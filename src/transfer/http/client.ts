import { lookup as systemLookup } from "node:dns/promises";
import type { LookupFunction } from "node:net";
import { Readable } from "node:stream";
import { setTimeout as delay } from "node:timers/promises";
import { getCACertificates } from "node:tls";
import type { CallContext } from "../../common/context.ts";
import { Fault, errnoOf } from "../../common/fault.ts";
import { quoted } from "../../common/nearest.ts";
import { Agent, type Dispatcher, request } from "../../common/undici.ts";
import { throwIfStopped } from "../errors.ts";
import type { RuleSet, TransferPolicy } from "../policy.ts";
import { shownUrl } from "../urls.ts";
import { statusFault } from "./status.ts";

export interface Address {
  readonly address: string;
  readonly family: number;
}

export interface HttpTransferOptions {
  readonly policy: Pick<TransferPolicy, "check" | "checkAddress">;
  /** Credentials of a URL (`authorization`…), asked per request; never sent to another origin after a redirect. */
  readonly headersFor?: (url: URL) => Promise<Readonly<Record<string, string>>>;
  /** PEM certificates to trust besides Node's. */
  readonly ca?: string;
  /** Default 10 s. */
  readonly connectTimeoutMs?: number;
  /** Longest silence while waiting for headers or between two pieces of a body; default 60 s. */
  readonly idleTimeoutMs?: number;
  /** All addresses of a host name; default: the system's resolver. */
  readonly resolve?: (host: string) => Promise<readonly Address[]>;
}

export type HttpHeaders = Readonly<Record<string, string | readonly string[] | undefined>>;

export interface HttpAnswer {
  readonly status: number;
  readonly headers: HttpHeaders;
  readonly body: Dispatcher.ResponseData["body"];
}

export interface HttpCall {
  readonly method: "GET" | "HEAD" | "PUT" | "POST" | "DELETE";
  readonly headers?: Readonly<Record<string, string>>;
  /** Called again when a redirect asks for the same body. */
  readonly body?: () => AsyncIterable<Uint8Array>;
  /** `return`: a redirect is an answer like others; default: it is followed. */
  readonly redirects?: "follow" | "return";
}

const mostRedirects = 5;
const redirects = new Set([301, 302, 303, 307, 308]);

/**
 * HTTP under the site's policy: every URL, every redirect and every address that a name resolves to is checked, and the
 * connection goes to the checked address. The caller reads or drops the body of each answer.
 */
export class HttpClient implements AsyncDisposable {
  readonly #options: HttpTransferOptions;
  readonly #agents = new Map<RuleSet, Agent>();

  constructor(options: HttpTransferOptions) {
    this.#options = options;
  }

  /** Throws POLICY, TRANSFER (network), TRANSFER_REFUSED (certificate, redirects); any status but a redirect to follow is returned. */
  async call(start: string, set: RuleSet, call: HttpCall, context: CallContext): Promise<HttpAnswer> {
    const { policy } = this.#options;
    const origin = new URL(policy.check(start, set)).origin;
    let url = policy.check(start, set);
    for (let hops = 0; ; hops++) {
      throwIfStopped(context.signal);
      const answer = await this.#once(url, set, call, origin, context);
      const location = answer.headers["location"];
      if (call.redirects === "return" || !redirects.has(answer.status) || typeof location !== "string") return answer;
      await drop(answer.body);
      if (hops === mostRedirects) {
        throw new Fault("TRANSFER_REFUSED", `${shown(start)} was redirected more than ${mostRedirects} times`);
      }
      if (call.method === "PUT" && answer.status < 307) throw statusFault(shownUrl(url), answer);
      url = policy.check(resolved(location, url), set);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all([...this.#agents.values()].map((agent) => agent.destroy()));
    this.#agents.clear();
  }

  async #once(url: string, set: RuleSet, call: HttpCall, origin: string, context: CallContext): Promise<HttpAnswer> {
    const parsed = new URL(url);
    const own = parsed.origin === origin ? await this.#options.headersFor?.(parsed) : undefined;
    try {
      const { statusCode, headers, body } = await request(url, {
        dispatcher: this.#agent(set),
        method: call.method,
        headers: { "accept-encoding": "identity", "user-agent": "siteagent", ...call.headers, ...own },
        signal: context.signal,
        body: call.body === undefined ? null : streamOf(call.body()),
      });
      return { status: statusCode, headers, body };
    } catch (error) {
      throwIfStopped(context.signal);
      throw networkFault(error, url);
    }
  }

  #agent(set: RuleSet): Agent {
    const present = this.#agents.get(set);
    if (present) return present;
    const { ca, connectTimeoutMs = 10_000, idleTimeoutMs = 60_000 } = this.#options;
    const agent = new Agent({
      allowH2: false, // one request per connection: a broken one harms no other file
      headersTimeout: idleTimeoutMs,
      bodyTimeout: idleTimeoutMs,
      connect: {
        timeout: connectTimeoutMs,
        lookup: this.#lookup(set),
        ...(ca === undefined ? {} : { ca: [...getCACertificates(), ca] }),
      },
    });
    this.#agents.set(set, agent);
    return agent;
  }

  #lookup(set: RuleSet): LookupFunction {
    return (host, options, callback) => {
      void this.#addresses(host, set, options.family).then((found) =>
        process.nextTick(() => {
          const [first] = found instanceof Error ? [] : found;
          if (found instanceof Error || !first) callback(found instanceof Error ? found : noAddress(host), []);
          else if (options.all) callback(null, [...found]);
          else callback(null, first.address, first.family);
        }),
      );
    };
  }

  /** Checks all addresses of the name before one of them is used: a name with one bad address is refused whole. Never rejects. */
  async #addresses(host: string, set: RuleSet, family: unknown): Promise<readonly Address[] | Error> {
    const { policy, resolve = resolveBySystem } = this.#options;
    try {
      const all = await resolve(host);
      for (const { address } of all) policy.checkAddress(host, address, set);
      return family === 4 || family === 6 ? all.filter((one) => one.family === family) : all;
    } catch (error) {
      return error instanceof Error ? error : new Error(String(error));
    }
  }
}

function noAddress(host: string): Error {
  return Object.assign(new Error(`host '${host}' has no address`), { code: "ENOTFOUND" });
}

/** A stream whose fate is told by the request alone; a server may answer before it has read all. */
function streamOf(body: AsyncIterable<Uint8Array>): Readable {
  const stream = Readable.from(body, { objectMode: false, highWaterMark: 512 * 1024 });
  stream.on("error", () => {});
  return stream;
}

function resolveBySystem(host: string): Promise<readonly Address[]> {
  return systemLookup(host, { all: true, order: "verbatim" });
}

function resolved(location: string, base: string): string {
  // A location with a scheme is read as strictly as any URL; only a relative one is resolved.
  if (/^[A-Za-z][A-Za-z0-9+.-]*:/.test(location)) return location.replace(/#.*$/s, "");
  try {
    return new URL(location, base).href.replace(/#.*$/s, "");
  } catch (error) {
    throw new Fault("TRANSFER_REFUSED", `${shown(base)} redirects to a location that is no URL`, { cause: error });
  }
}

function shown(url: string): string {
  return quoted(shownUrl(url), 300);
}

const dropLimitBytes = 64 * 1024;
const dropTimeMs = 1_000;

/** Ends a body that nobody wants; a short one is read so that the connection can be used again. */
export async function drop(body: HttpAnswer["body"]): Promise<void> {
  body.on("error", () => {}); // it is of no interest any more
  const timer = new AbortController();
  try {
    const late = delay(dropTimeMs, undefined, { signal: timer.signal, ref: false }).catch(() => undefined);
    await Promise.race([body.dump({ limit: dropLimitBytes }), late]);
  } catch {
    // broken off: as good as read
  } finally {
    timer.abort();
    body.destroy();
  }
}

const certificateErrors =
  /^(CERT_|ERR_TLS_|UNABLE_TO_|DEPTH_ZERO_SELF_SIGNED_CERT|SELF_SIGNED_CERT_IN_CHAIN|HOSTNAME_MISMATCH)/;

/** A typed fault for whatever undici or the resolver threw. */
export function networkFault(error: unknown, url: string): Fault {
  const own = faultIn(error);
  if (own) return own;
  const code = errnoOf(error) ?? errnoOf(error instanceof Error ? error.cause : undefined);
  const reason = error instanceof Error && error.message !== "" ? error.message : (code ?? String(error));
  const details = code === undefined ? {} : { errno: code };
  if (code !== undefined && certificateErrors.test(code)) {
    return new Fault("TRANSFER_REFUSED", `${shown(url)}: the server's certificate is not accepted: ${reason}`, {
      hint: "check the server's certificate, or trust its authority with NODE_EXTRA_CA_CERTS",
      details,
      cause: error,
    });
  }
  return new Fault("TRANSFER", `${shown(url)} could not be reached or broke off: ${reason}`, { details, cause: error });
}

function faultIn(error: unknown): Fault | undefined {
  for (let inner = error, depth = 0; inner instanceof Error && depth < 5; inner = inner.cause, depth++) {
    if (inner instanceof Fault) return inner;
  }
  return undefined;
}
