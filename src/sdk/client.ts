/**
 * What scripts and the CLI use to talk to a hub: `createHubClient({url, token})`. Every method throws `Fault`s with the hub's
 * own code, or UNREACHABLE when no answer of the API came back. Ends with `await using` or `client[Symbol.asyncDispose]()`.
 */

import type { z } from "zod";
import { systemClock } from "../common/clock.ts";
import { randomUUID } from "../common/crypto.ts";
import { Fault, isFault } from "../common/fault.ts";
import { backoffMs, syncBackoff } from "../common/retry.ts";
import type { Dispatcher } from "../common/undici.ts";
import type { OutputFile } from "../wire/common.ts";
import {
  type ActionResult,
  actionResultSchema,
  bulkActionAnswerSchema,
  bulkCreateAnswerSchema,
  fileListSchema,
  fileViewSchema,
  type HubEvent,
  type JobCreate,
  jobListSchema,
  type jobQuerySchema,
  type JobView,
  jobViewSchema,
  meSchema,
  siteListSchema,
  type SiteView,
} from "../wire/user-api.ts";
import { type EventOptions, events, lastSeq } from "./events.ts";
import { HubHttp, part, type QueryValue, readBytes } from "./http.ts";
import { type LogOptions, type LogPiece, logs } from "./logs.ts";
import { listOutputs, readOutput, saveOutput } from "./outputs.ts";
import { api } from "./paths.ts";
import { Registries } from "./registries.ts";
import type { Credentials } from "./token.ts";
import { type WaitOptions, waitForJobs } from "./wait.ts";

export interface HubClientOptions {
  /** Base URL of the hub, e.g. `http://127.0.0.1:8000`. */
  readonly url: string;
  /** An API token (`sat_…`) or the token of a login. */
  readonly token?: string | undefined;
  /** Asked for a token at first and after each 401. */
  readonly tokenProvider?: (() => Promise<string>) | undefined;
  /** Logs in when needed, again before the token ends. */
  readonly username?: string | undefined;
  readonly password?: string | undefined;
  /** A site's credentials instead of a person's. */
  readonly clientId?: string | undefined;
  readonly clientSecret?: string | undefined;
  /** For an ordinary call, milliseconds; default 30 000. */
  readonly timeoutMs?: number | undefined;
  readonly dispatcher?: Dispatcher | undefined;
}

export type JobAction = "cancel" | "retry" | "pause" | "resume";
export type JobQuery = Partial<
  Pick<z.input<typeof jobQuerySchema>, "status" | "workflow" | "site" | "owner" | "tag" | "search">
> & {
  /** Only jobs that have not ended. */
  readonly active?: boolean | undefined;
  readonly since?: string | undefined;
  readonly before?: string | undefined;
  readonly sort?: "created_at" | "-created_at" | "updated_at" | "-updated_at" | "name" | "-name" | undefined;
  /** Jobs per page, 1 … 1000. */
  readonly limit?: number | undefined;
};
export type JobPage = z.output<typeof jobListSchema>;
export type Me = z.output<typeof meSchema>;
export type FileView = z.output<typeof fileViewSchema>;
export type BulkCreateResult = z.output<typeof bulkCreateAnswerSchema>["results"][number];
export type {
  ActionResult,
  EventOptions,
  HubEvent,
  JobCreate,
  JobView,
  LogOptions,
  LogPiece,
  OutputFile,
  SiteView,
  WaitOptions,
};

interface CallOptions {
  readonly signal?: AbortSignal | undefined;
}

/** Tries of a call that may be repeated without harm. */
const safeTries = 4;
const bulkSize = 500;

export function createHubClient(options: HubClientOptions): HubClient {
  return new HubClient(options);
}

export class HubClient implements AsyncDisposable {
  readonly #http: HubHttp;
  /** Workflows, object types, triggers, API tokens, users. */
  readonly registries: Registries;

  constructor(options: HubClientOptions) {
    const { url, timeoutMs, dispatcher } = options;
    this.#http = new HubHttp({ url, timeoutMs, dispatcher, credentials: credentialsOf(options) });
    this.registries = new Registries(this.#http);
  }

  get url(): string {
    return this.#http.base;
  }

  /** The token in use, logging in when there is none yet: for a profile to keep. */
  async login(
    options: CallOptions = {},
  ): Promise<{ readonly token: string; readonly expiresAtMs: number | undefined }> {
    return this.#http.token(options.signal);
  }

  async me(options: CallOptions = {}): Promise<Me> {
    return this.#http.json(`${api}/me`, meSchema, options);
  }

  /** Makes one job. Carries an idempotency key of its own (unless you give one), so a lost answer is asked for again without a second job. */
  async submit(job: JobCreate, options: CallOptions = {}): Promise<JobView> {
    const json = { ...job, idempotency_key: job.idempotency_key ?? randomUUID() };
    return patiently(options.signal, () =>
      this.#http.json(`${api}/jobs`, jobViewSchema, { method: "POST", json, signal: options.signal }),
    );
  }

  /** Makes many jobs; one result per item, in order. One bad item does not stop the others. */
  async bulk(jobs: readonly JobCreate[], options: CallOptions = {}): Promise<readonly BulkCreateResult[]> {
    const keyed = jobs.map((job) => ({ ...job, idempotency_key: job.idempotency_key ?? randomUUID() }));
    const results: BulkCreateResult[] = [];
    for (let start = 0; start < keyed.length; start += bulkSize) {
      const json = { jobs: keyed.slice(start, start + bulkSize) };
      const call = { method: "POST", json, signal: options.signal } as const;
      const answer = await patiently(options.signal, () =>
        this.#http.json(`${api}/jobs:bulk`, bulkCreateAnswerSchema, call),
      );
      results.push(...answer.results);
    }
    return results;
  }

  async job(id: string, options: CallOptions = {}): Promise<JobView> {
    return this.#http.json(`${api}/jobs/${part(id)}`, jobViewSchema, options);
  }

  /** One page; `total` counts what matches, up to 1,000 (`total_capped`: there are more). */
  async jobPage(
    query: JobQuery & { readonly cursor?: string | undefined } = {},
    options: CallOptions = {},
  ): Promise<JobPage> {
    return this.#http.json(`${api}/jobs`, jobListSchema, {
      ...options,
      query: query as Record<string, QueryValue>,
    });
  }

  /** All jobs that match, page by page as they are consumed. */
  async *jobs(query: JobQuery = {}, options: CallOptions = {}): AsyncGenerator<JobView> {
    let cursor: string | undefined;
    do {
      const page: JobPage = await this.jobPage({ ...query, cursor }, options);
      yield* page.jobs;
      cursor = page.next_cursor ?? undefined;
    } while (cursor !== undefined);
  }

  /** `force` (operators): ends it at the hub though its site has not said that nothing of it runs any more. */
  async cancel(
    id: string,
    reason = "",
    { force, ...options }: CallOptions & { readonly force?: boolean } = {},
  ): Promise<ActionResult> {
    return this.#act(id, "cancel", reason, options, force === true ? { force } : {});
  }

  /** A new job like an ended one; `job` of the result is the new one. */
  async retry(id: string, reason = "", options: CallOptions = {}): Promise<ActionResult> {
    return this.#act(id, "retry", reason, options);
  }

  async pause(id: string, reason = "", options: CallOptions = {}): Promise<ActionResult> {
    return this.#act(id, "pause", reason, options);
  }

  async resume(id: string, reason = "", options: CallOptions = {}): Promise<ActionResult> {
    return this.#act(id, "resume", reason, options);
  }

  /** The same action on many jobs; one result per id, in order. */
  async bulkAction(
    action: JobAction,
    ids: readonly string[],
    reason = "",
    { force, ...options }: CallOptions & { readonly force?: boolean } = {},
  ): Promise<readonly ActionResult[]> {
    const results: ActionResult[] = [];
    for (let start = 0; start < ids.length; start += bulkSize) {
      const json = { ids: ids.slice(start, start + bulkSize), reason, ...(force === true ? { force } : {}) };
      const answer = await this.#http.json(`${api}/jobs:${action}`, bulkActionAnswerSchema, {
        method: "POST",
        json,
        ...options,
      });
      results.push(...answer.results);
    }
    return results;
  }

  /** Events as they come, in order, each once; see `events`. */
  events(options: EventOptions = {}): AsyncGenerator<HubEvent> {
    return events(this.#http, options);
  }

  /** The number of the newest event: a place to follow from. */
  async lastEventSeq(options: CallOptions = {}): Promise<number> {
    return lastSeq(this.#http, options.signal);
  }

  /** Bytes of a job's log; with `follow` to its end; see `logs`. */
  logs(id: string, options: LogOptions = {}): AsyncGenerator<LogPiece> {
    return logs(this.#http, id, options);
  }

  readonly outputs = {
    list: async (id: string, options: CallOptions = {}): Promise<readonly OutputFile[]> =>
      listOutputs(this.#http, id, options.signal),
    /** All bytes of one, verified. */
    read: async (id: string, path: string, options: CallOptions = {}): Promise<Uint8Array> =>
      readOutput(this.#http, id, path, options.signal),
    /** Saves one as a file: resumed where an earlier call broke off, verified before it gets its name. */
    save: async (id: string, path: string, destination: string, options: CallOptions = {}): Promise<OutputFile> =>
      saveOutput(this.#http, id, path, destination, options.signal),
  };

  /** Input files kept by the hub. */
  readonly files = {
    list: async (options: CallOptions = {}): Promise<readonly FileView[]> =>
      (await this.#http.json(`${api}/files`, fileListSchema, options)).files,
    put: async (name: string, bytes: Uint8Array, options: CallOptions = {}): Promise<FileView> => {
      const response = await this.#http.raw(`${api}/files/${part(name)}`, { method: "PUT", bytes, ...options });
      return fileViewSchema.parse(await response.body.json());
    },
    read: async (name: string, options: CallOptions = {}): Promise<Uint8Array> => {
      const response = await this.#http.raw(`${api}/files/${part(name)}`, options);
      return readBytes(response, options.signal);
    },
    remove: async (name: string, options: CallOptions = {}): Promise<void> =>
      this.#http.none(`${api}/files/${part(name)}`, { method: "DELETE", ...options }),
  };

  async sites(options: CallOptions = {}): Promise<readonly SiteView[]> {
    return (await this.#http.json(`${api}/sites`, siteListSchema, options)).sites;
  }

  /** Waits until all these jobs have ended and returns them in the given order. Throws TIMEOUT (`details.open`), CANCELLED, NOT_FOUND. */
  async wait(ids: readonly string[], options: WaitOptions = {}): Promise<readonly JobView[]> {
    return waitForJobs(this.#http, ids, options);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#http[Symbol.asyncDispose]();
  }

  async #act(
    id: string,
    action: JobAction,
    reason: string,
    options: CallOptions,
    more: { readonly force?: true } = {},
  ): Promise<ActionResult> {
    const call = { method: "POST", json: { reason, ...more }, ...options } as const;
    return this.#http.json(`${api}/jobs/${part(id)}:${action}`, actionResultSchema, call);
  }
}

function credentialsOf(options: HubClientOptions): Credentials {
  const { token, tokenProvider, username, password, clientId, clientSecret } = options;
  if (tokenProvider) return { kind: "provider", provide: tokenProvider };
  if (token !== undefined) return { kind: "token", token };
  if (username !== undefined && password !== undefined) return { kind: "password", username, password };
  if (clientId !== undefined && clientSecret !== undefined) return { kind: "client", clientId, clientSecret };
  return { kind: "none" };
}

/** Repeats a call that is safe to repeat while the hub cannot be reached. */
async function patiently<T>(signal: AbortSignal | undefined, call: () => Promise<T>): Promise<T> {
  for (let failures = 1; ; failures++) {
    try {
      return await call();
    } catch (error) {
      if (failures >= safeTries || !isFault(error, "UNREACHABLE", "STORE")) throw error;
      await systemClock.sleep(backoffMs(syncBackoff, failures), signal);
      if (signal?.aborted) throw new Fault("CANCELLED", "given up by the caller", { cause: error });
    }
  }
}
