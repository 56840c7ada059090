import { z } from "zod";
import { errnoOf, Fault } from "../common/fault.ts";
import { type FaultCode, faults } from "../common/faults.ts";
import { Agent, request } from "../common/undici.ts";
import {
  cancelAnswerSchema,
  type LocalJob,
  type LocalJobDetail,
  localJobDetailSchema,
  localJobSchema,
  type StatusView,
  statusViewSchema,
} from "../wire/control-api.ts";
import { logHeaders, problemSchema } from "../wire/user-api.ts";

const callTimeoutMs = 15_000;
/** A reload checks every secret and adapter. */
const orderTimeoutMs = 60_000;

export interface ControlLog {
  readonly bytes: Uint8Array;
  readonly attempt: number;
  readonly offset: number;
  readonly size: number;
  readonly complete: boolean;
}

interface Sent {
  readonly status: number;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  readonly body: Buffer;
}

/** The agent on this machine, over its control socket. Throws NO_AGENT when none answers, else the agent's own faults. */
export class ControlClient implements AsyncDisposable {
  readonly socket: string;
  readonly #pool: Agent;
  readonly #signal: AbortSignal;
  readonly #whenAbsent: () => Promise<Fault | undefined>;

  /** `whenAbsent` may know more of why nobody answers: its fault takes the place of NO_AGENT. */
  constructor(socket: string, signal: AbortSignal, whenAbsent: () => Promise<Fault | undefined> = nothingMore) {
    this.socket = socket;
    this.#signal = signal;
    this.#whenAbsent = whenAbsent;
    this.#pool = new Agent({ connect: { socketPath: socket, timeout: 5_000 }, keepAliveTimeout: 1_000 });
  }

  async status(): Promise<StatusView> {
    return await this.#json("GET", "/v1/status", statusViewSchema);
  }

  async jobs(): Promise<readonly LocalJob[]> {
    return (await this.#json("GET", "/v1/jobs", z.object({ jobs: z.array(localJobSchema) }))).jobs;
  }

  async job(id: string): Promise<LocalJobDetail> {
    return await this.#json("GET", `/v1/jobs/${encodeURIComponent(id)}`, localJobDetailSchema);
  }

  async cancel(id: string, reason: string, by: string): Promise<z.output<typeof cancelAnswerSchema>> {
    return await this.#json("POST", `/v1/jobs/${encodeURIComponent(id)}/cancel`, cancelAnswerSchema, { reason, by });
  }

  /** Lets a paused or quarantined job go on. */
  async resumeJob(id: string): Promise<z.output<typeof cancelAnswerSchema>> {
    return await this.#json("POST", `/v1/jobs/${encodeURIComponent(id)}/resume`, cancelAnswerSchema, {});
  }

  /** pause, resume, drain, reload, sync. */
  async order(verb: "pause" | "resume" | "drain" | "reload" | "sync", body: object = {}): Promise<StatusView> {
    return await this.#json("POST", `/v1/${verb}`, statusViewSchema, body);
  }

  async log(
    id: string,
    stream: "stdout" | "stderr",
    place: { readonly attempt: number | undefined; readonly offset: number; readonly limit: number },
  ): Promise<ControlLog> {
    const query = new URLSearchParams({ offset: String(place.offset), limit: String(place.limit) });
    if (place.attempt !== undefined) query.set("attempt", String(place.attempt));
    const sent = await this.#send("GET", `/v1/jobs/${encodeURIComponent(id)}/logs/${stream}?${query.toString()}`);
    const header = (name: string): string => String(sent.headers[name] ?? "");
    return {
      bytes: sent.body,
      attempt: Number(header(logHeaders.attempt)) || 0,
      offset: Number(header(logHeaders.offset)) || place.offset,
      size: Number(header(logHeaders.size)) || place.offset + sent.body.length,
      complete: header(logHeaders.complete) === "true",
    };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#pool.destroy();
  }

  async #json<T>(method: "GET" | "POST", path: string, schema: z.ZodType<T>, body?: object): Promise<T> {
    const sent = await this.#send(method, path, body);
    const parsed = schema.safeParse(parseJson(sent.body));
    if (parsed.success) return parsed.data;
    throw new Fault("NO_AGENT", `the answer on '${this.socket}' is not understood: ${z.prettifyError(parsed.error)}`, {
      hint: "is the agent of the same version? see: siteagent version",
    });
  }

  async #send(method: "GET" | "POST", path: string, body?: object): Promise<Sent> {
    const limit = AbortSignal.timeout(method === "GET" ? callTimeoutMs : orderTimeoutMs);
    let sent: Sent;
    try {
      const answer = await request(`http://agent${path}`, {
        method,
        dispatcher: this.#pool,
        signal: AbortSignal.any([this.#signal, limit]),
        headers: { accept: "application/json", ...(body ? { "content-type": "application/json" } : {}) },
        body: body ? JSON.stringify(body) : null,
      });
      const bytes = Buffer.from(await answer.body.arrayBuffer());
      sent = { status: answer.statusCode, headers: answer.headers, body: bytes };
    } catch (error) {
      const fault = this.#noAgent(error, limit.aborted);
      throw (fault.code === "NO_AGENT" ? await this.#whenAbsent() : undefined) ?? fault;
    }
    if (sent.status >= 300) throw refusal(sent);
    return sent;
  }

  #noAgent(error: unknown, late: boolean): Fault {
    if (this.#signal.aborted) return new Fault("CANCELLED", "interrupted", { cause: error });
    if (late) return new Fault("NO_AGENT", `the agent does not answer on '${this.socket}'`, { cause: error });
    const code = errnoOf(error);
    if (code === "EACCES" || code === "EPERM") {
      return new Fault("FORBIDDEN", `the control socket '${this.socket}' belongs to another account`, {
        hint: "run this as the account of the agent",
        cause: error,
      });
    }
    const hint = "start it with: siteagent run; another socket is named with --socket PATH or SITEAGENT_SOCKET";
    return new Fault("NO_AGENT", `no agent answers on '${this.socket}'`, { hint, cause: error });
  }
}

function nothingMore(): Promise<undefined> {
  return Promise.resolve(undefined);
}

function refusal(sent: Sent): Fault {
  const problem = problemSchema.safeParse(parseJson(sent.body));
  if (!problem.success) return new Fault("NO_AGENT", `the agent answered ${sent.status} without an error of its own`);
  const { detail, hint, code, details } = problem.data;
  const message = typeof detail === "string" ? detail : JSON.stringify(detail);
  const known = code !== undefined && Object.hasOwn(faults, code) ? (code as FaultCode) : byStatus(sent.status);
  return new Fault(known, message, {
    ...(hint === undefined ? {} : { hint }),
    ...(details === undefined ? {} : { details }),
  });
}

function byStatus(status: number): FaultCode {
  if (status === 404) return "NOT_FOUND";
  return status < 500 ? "USAGE" : "NO_AGENT";
}

function parseJson(body: Buffer): unknown {
  try {
    return JSON.parse(body.toString("utf8"));
  } catch {
    return undefined;
  }
}
