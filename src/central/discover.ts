import { readFile } from "node:fs/promises";
import type { CallContext } from "../common/context.ts";
import { Fault } from "../common/fault.ts";
import type { ProgressRequest, SyncRequest } from "../wire/agent-api.ts";
import { Api } from "./api.ts";
import { checkAccess, versionSchema } from "./check.ts";
import { HubCentral } from "./hub.ts";
import { NmdcCentral } from "./nmdc.ts";
import { SharedCall } from "./shared-call.ts";
import type { Central, CentralObject, ClaimAnswer, Report, ReportResult, SyncResult } from "./types.ts";

export type Dialect = Central["dialect"];

export interface CentralOptions {
  /** Base address without a slash at the end. */
  readonly url: string;
  /** Id of our site. */
  readonly site: string;
  /** Stable for a state directory. */
  readonly agentId: string;
  readonly clientId: string;
  /** Asked at each login, so that a changed file heals by itself. */
  readonly clientSecret: () => Promise<string>;
  /** `auto`: the hub's extensions where `GET /version` offers them. */
  readonly dialect: "auto" | Dialect;
  /** What `auto` found the last time: assumed until the API has been asked. Default nmdc. */
  readonly remembered?: Dialect | undefined;
  /** Told once per process, when `auto` has found out. */
  readonly onDialect?: (dialect: Dialect) => void;
  /** Time limit of an ordinary call; default 30 s. */
  readonly timeoutMs?: number;
  /** Shortest pause between two polls in the nmdc dialect; default 15 s. */
  readonly pollMs?: number;
  /** Least pause between two looks for cancelled claims in the nmdc dialect; default 60 s. */
  readonly heldCheckMs?: number;
  /** Certificates (PEM) trusted besides Node's own. */
  readonly caFile?: string | undefined;
  /** [0, 1); default Math.random. */
  readonly random?: () => number;
}

/**
 * The central API of a site. Nothing is asked yet, so it can be made while the API is down.
 * @throws Fault CONFIG when the file of certificates cannot be read
 */
export async function openCentral(options: CentralOptions): Promise<Central> {
  const { url, clientId, clientSecret, timeoutMs, random } = options;
  const api = new Api({
    url,
    clientId,
    clientSecret,
    ca: await readCertificates(options.caFile),
    ...(timeoutMs === undefined ? {} : { timeoutMs }),
    ...(random === undefined ? {} : { random }),
  });
  return options.dialect === "auto" ? new AutoCentral(options, api) : speak(options.dialect, options, api);
}

/** Which dialect the API speaks; only its own answer counts. */
export async function discoverDialect(api: Api, context: CallContext): Promise<Dialect> {
  const { value } = await api.open(
    { method: "GET", path: "/version", lane: "control", schema: versionSchema, repeatable: true },
    context,
  );
  return value.siteagent === undefined ? "nmdc" : "hub";
}

function speak(dialect: Dialect, options: CentralOptions, api: Api): Central {
  const { site, agentId, timeoutMs, pollMs, heldCheckMs } = options;
  if (dialect === "hub")
    return new HubCentral({ api, url: options.url, site, agentId, ...(timeoutMs === undefined ? {} : { timeoutMs }) });
  return new NmdcCentral({
    api,
    site,
    ...(pollMs === undefined ? {} : { pollMs }),
    ...(heldCheckMs === undefined ? {} : { heldCheckMs }),
  });
}

async function readCertificates(path: string | undefined): Promise<readonly string[] | undefined> {
  if (path === undefined) return undefined;
  try {
    return [await readFile(path, "utf8")];
  } catch (error) {
    throw new Fault("CONFIG", `the certificates '${path}' (api.ca_file) cannot be read`, { cause: error });
  }
}

/** Asks for the dialect with the first call that gets through, and keeps to it while the process lives. */
class AutoCentral implements Central {
  readonly #options: CentralOptions;
  readonly #api: Api;
  readonly #assumed: Central;
  #found: Central | undefined;
  readonly #asking = new SharedCall<Central>();

  constructor(options: CentralOptions, api: Api) {
    this.#options = options;
    this.#api = api;
    this.#assumed = speak(options.remembered ?? "nmdc", options, api);
  }

  get dialect(): Dialect {
    return (this.#found ?? this.#assumed).dialect;
  }

  get capabilities(): Central["capabilities"] {
    return (this.#found ?? this.#assumed).capabilities;
  }

  async synchronize(request: SyncRequest, context: CallContext): Promise<SyncResult> {
    return (await this.#central(context)).synchronize(request, context);
  }

  async claim(job: string, context: CallContext): Promise<ClaimAnswer> {
    return (await this.#central(context)).claim(job, context);
  }

  async report(reports: readonly Report[], context: CallContext): Promise<readonly ReportResult[]> {
    return (await this.#central(context)).report(reports, context);
  }

  async release(held: Parameters<Central["release"]>[0], context: CallContext): Promise<"released" | "gone"> {
    return (await this.#central(context)).release(held, context);
  }

  async putLog(chunk: Parameters<Central["putLog"]>[0], context: CallContext): Promise<number> {
    return (await this.#central(context)).putLog(chunk, context);
  }

  async putProgress(moving: ProgressRequest, context: CallContext): Promise<void> {
    await (await this.#central(context)).putProgress?.(moving, context);
  }

  async putOutput(file: Parameters<Central["putOutput"]>[0], context: CallContext): Promise<void> {
    return (await this.#central(context)).putOutput(file, context);
  }

  async downloadHeaders(url: URL, context: CallContext): Promise<Readonly<Record<string, string>>> {
    return (await this.#central(context)).downloadHeaders(url, context);
  }

  async object(id: string, context: CallContext): Promise<CentralObject | undefined> {
    return (await this.#central(context)).object(id, context);
  }

  async objectAccess(id: string, accessId: string, context: CallContext): ReturnType<Central["objectAccess"]> {
    return (await this.#central(context)).objectAccess(id, accessId, context);
  }

  check(context: CallContext): ReturnType<Central["check"]> {
    return checkAccess(this.#api, this.#options.site, context);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#api[Symbol.asyncDispose]();
  }

  async #central(context: CallContext): Promise<Central> {
    if (this.#found) return this.#found;
    return this.#asking.value(context, (asker) => this.#ask(asker));
  }

  async #ask(context: CallContext): Promise<Central> {
    const dialect = await discoverDialect(this.#api, context);
    if (this.#options.remembered !== undefined && this.#options.remembered !== dialect) {
      context.log.warn({ was: this.#options.remembered, is: dialect }, "the API speaks another dialect than before");
    }
    this.#found = this.#assumed.dialect === dialect ? this.#assumed : speak(dialect, this.#options, this.#api);
    this.#options.onDialect?.(dialect);
    return this.#found;
  }
}
