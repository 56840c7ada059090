import type { CallContext } from "../../common/context.ts";
import { Fault } from "../../common/fault.ts";
import { redactText } from "../../common/redact.ts";
import { throwIfStopped } from "../errors.ts";
import { type HttpAnswer, HttpClient, networkFault } from "../http/client.ts";
import { single } from "../http/headers.ts";
import type { RuleSet } from "../policy.ts";
import { isStaleKey, type Refusal, refusalFault } from "./faults.ts";
import { KeyRing, type Keys } from "./keys.ts";
import type { Place } from "./place.ts";
import type { S3Settings, S3Store } from "./types.ts";
import { boundedText, parseXml, type Xml } from "./xml.ts";

/** A listing of 1000 keys of 1 KiB, each character of them written as `%xx`, has some 4 MB. */
const longestAnswerBytes = 16 * 1024 * 1024;
const longestRefusalBytes = 64 * 1024;
const longestMessage = 300;
/** SHA-256 of nothing. */
const emptySha256 = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

export interface S3Call {
  readonly method: "GET" | "HEAD" | "PUT" | "POST" | "DELETE";
  /** The bucket itself, not the object. */
  readonly bucket?: boolean;
  readonly query?: Readonly<Record<string, string | undefined>>;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: S3Body;
}

/** A body whose digest is part of the signature: the store refuses other bytes. */
export interface S3Body {
  readonly bytes: number;
  /** Lower-case hexadecimal. */
  readonly sha256: string;
  readonly read: () => AsyncIterable<Uint8Array>;
}

/**
 * Signed calls to object stores. They go to the endpoints of the site file and nowhere else: redirects are not followed, and a
 * job chooses no more than bucket and key, which the policy allowed.
 */
export class S3Client implements AsyncDisposable {
  readonly #http: HttpClient;
  readonly #env: NodeJS.ProcessEnv;
  readonly #rings = new Map<S3Settings, KeyRing>();
  /** Keys of signatures, which are good for a day. */
  readonly #signing = new Map<string, ArrayBuffer>();

  constructor(env: NodeJS.ProcessEnv) {
    this.#http = new HttpClient({ policy: { check: (url) => url, checkAddress: () => {} } });
    this.#env = env;
  }

  /**
   * An answer of 200 to 299, whose body the caller reads or drops. @throws Fault as `refusalFault` has it, with the store's code as
   * `details.s3_code` and the status as `details.status`; TRANSFER (network), SECRET.
   */
  async call(place: Place, set: RuleSet, call: S3Call, context: CallContext): Promise<HttpAnswer> {
    const ring = this.#ringOf(place.store);
    for (let renewed = false; ; renewed = true) {
      throwIfStopped(context.signal);
      const keys = await ring.get(context);
      const answer = await this.#once(place, set, call, keys, context);
      if (answer.status >= 200 && answer.status <= 299) return answer;
      const refusal = await refusalOf(answer, keys);
      if (!renewed && keys && isStaleKey(refusal) && (await ring.renew(keys, context))) continue;
      throw refusalFault(place.what, place.store, refusal, context.clock.now());
    }
  }

  /** The answer as XML; an error that came with status 200 is thrown like others. */
  async xml(
    place: Place,
    set: RuleSet,
    call: S3Call,
    context: CallContext,
  ): Promise<{ readonly root: Xml } & HttpAnswer> {
    const answer = await this.call(place, set, call, context);
    const text = await this.#text(place, answer, context);
    const root = text === undefined ? undefined : await parseXml(text);
    if (root?.name === "Error") {
      const refusal = refusalIn(root, { ...answer, status: 500 }, undefined);
      throw refusalFault(place.what, place.store, refusal, context.clock.now());
    }
    if (root) return { ...answer, root };
    throw new Fault(
      "TRANSFER",
      `${place.what}: ${place.store.label} answered with something that no object store says`,
    );
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#http[Symbol.asyncDispose]();
  }

  async #text(place: Place, answer: HttpAnswer, context: CallContext): Promise<string | undefined> {
    try {
      return await boundedText(answer.body, longestAnswerBytes);
    } catch (error) {
      throwIfStopped(context.signal);
      throw networkFault(error, urlOf(place, {}).href);
    }
  }

  #ringOf({ settings }: S3Store): KeyRing {
    const known = this.#rings.get(settings);
    if (known) return known;
    const made = new KeyRing(settings.keys, this.#env);
    this.#rings.set(settings, made);
    return made;
  }

  async #once(
    place: Place,
    set: RuleSet,
    call: S3Call,
    keys: Keys | undefined,
    context: CallContext,
  ): Promise<HttpAnswer> {
    const url = urlOf(place, call);
    const { body } = call;
    const headers = keys ? await this.#signed(url, place.store, call, keys, context) : { ...call.headers };
    if (body) headers["content-length"] = String(body.bytes);
    const sending = body === undefined ? {} : { body: () => body.read() };
    return await this.#http.call(
      url.href,
      set,
      { method: call.method, headers, redirects: "return", ...sending },
      context,
    );
  }

  /** Signature version 4 ("Authenticating requests" of the Amazon S3 API reference); the digest of the body is signed, too. */
  async #signed(
    url: URL,
    { settings }: S3Store,
    call: S3Call,
    keys: Keys,
    context: CallContext,
  ): Promise<Record<string, string>> {
    const { AwsV4Signer } = await import("aws4fetch");
    if (this.#signing.size > 100) this.#signing.clear();
    const signer = new AwsV4Signer({
      method: call.method,
      url: url.href,
      headers: { ...call.headers, "x-amz-content-sha256": call.body?.sha256 ?? emptySha256 },
      accessKeyId: keys.accessKeyId,
      secretAccessKey: keys.secretAccessKey,
      ...(keys.sessionToken === undefined ? {} : { sessionToken: keys.sessionToken }),
      service: "s3",
      region: settings.region,
      cache: this.#signing,
      datetime: new Date(context.clock.now()).toISOString().replace(/[:-]|\.\d{3}/g, ""),
    });
    const { headers } = await signer.sign();
    return Object.fromEntries(headers.entries());
  }
}

/** Where a call goes. Everything but unreserved characters is encoded: signatures are made of the encoded form. */
function urlOf({ store, key }: Place, { bucket = false, query = {} }: Pick<S3Call, "bucket" | "query">): URL {
  const { endpoint, pathStyle } = store.settings;
  const url = new URL(endpoint);
  const path = bucket ? "" : key.split("/").map(encodePlain).join("/");
  if (pathStyle) url.pathname = `/${store.bucket}/${path}`;
  else {
    url.hostname = `${store.bucket}.${url.hostname}`;
    url.pathname = `/${path}`;
  }
  const pairs = Object.entries(query).flatMap(([name, value]) =>
    value === undefined ? [] : [`${encodePlain(name)}=${encodePlain(value)}`],
  );
  if (pairs.length > 0) url.search = `?${pairs.join("&")}`;
  return url;
}

function encodePlain(text: string): string {
  return encodeURIComponent(text).replace(/[!'()*]/g, (one) => `%${one.charCodeAt(0).toString(16).toUpperCase()}`);
}

async function refusalOf(answer: HttpAnswer, keys: Keys | undefined): Promise<Refusal> {
  const text = await boundedText(answer.body, longestRefusalBytes).catch(() => undefined);
  const root = text === undefined ? undefined : await parseXml(text);
  return refusalIn(root?.name === "Error" ? root : undefined, answer, keys);
}

/** Servers quote what they were sent. */
function refusalIn(
  error: Xml | undefined,
  { status, headers }: Pick<HttpAnswer, "status" | "headers">,
  keys: Keys | undefined,
): Refusal {
  const secrets = keys ? [keys.secretAccessKey, keys.sessionToken ?? ""] : [];
  const code = error?.text("Code") ?? "";
  const message = redactText(error?.text("Message") ?? "", secrets)
    // oxlint-disable-next-line no-control-regex -- control characters must not reach a terminal
    .replace(/[\u0000-\u0020\u007f-\u00a0]+/g, " ")
    .trim();
  const region = error?.text("Region") ?? single(headers, "x-amz-bucket-region");
  return {
    status,
    headers,
    code: /^[A-Za-z0-9._-]{1,64}$/.test(code) ? code : "",
    message: message.length > longestMessage ? `${message.slice(0, longestMessage)}…` : message,
    region: region !== undefined && /^[a-z0-9-]{1,63}$/.test(region) ? region : undefined,
  };
}
