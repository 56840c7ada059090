/** A site's agent as the hub sees it: calls over a real socket, answers checked by the wire schemas. */
import { Agent, fetch } from "undici";
import {
  type Assignment,
  type Report,
  type ReportResult,
  reportsAnswerSchema,
  type SyncAnswer,
  syncAnswerSchema,
  type SyncRequest,
} from "../../../src/wire/agent-api.ts";
import type { TestHub } from "./hub.ts";

export interface Answer {
  readonly status: number;
  readonly body: Record<string, unknown>;
  readonly headers: Headers;
}

export type Draft = Partial<Report> & { readonly state: Report["state"] };

export class TestSite implements AsyncDisposable {
  readonly id: string;
  readonly #url: string;
  readonly #token: string;
  readonly #dispatcher = new Agent();
  readonly instance: string;
  #seq = new Map<string, number>();
  #epoch: number | undefined;

  constructor(id: string, url: string, token: string, instance = `${id}-1`) {
    this.id = id;
    this.#url = url;
    this.#token = token;
    this.instance = instance;
  }

  /** POSTs JSON and returns whatever came. */
  async post(path: string, body?: unknown, headers: Record<string, string> = {}): Promise<Answer> {
    return this.call("POST", path, body === undefined ? undefined : JSON.stringify(body), {
      ...(body === undefined ? {} : { "content-type": "application/json" }),
      ...headers,
    });
  }

  async call(
    method: string,
    path: string,
    body?: string | Uint8Array,
    headers: Record<string, string> = {},
  ): Promise<Answer> {
    const response = await fetch(`${this.#url}/siteagent/v1${path}`, {
      method,
      headers: { authorization: `Bearer ${this.#token}`, ...headers },
      dispatcher: this.#dispatcher,
      ...(body === undefined ? {} : { body }),
    });
    const text = await response.text();
    const json = response.headers.get("content-type")?.includes("json") ?? false;
    return {
      status: response.status,
      body: json ? (JSON.parse(text) as Record<string, unknown>) : { text },
      headers: response.headers as never,
    };
  }

  async sync(change: Partial<SyncRequest> = {}): Promise<SyncAnswer> {
    const answer = await this.post("/synchronize", {
      agent_id: `${this.id}-agent`,
      instance_id: this.instance,
      ...(this.#epoch === undefined ? {} : { session_epoch: this.#epoch }),
      version: "test",
      state: "running",
      ...change,
    });
    if (answer.status !== 200) throw new Error(`synchronize: ${answer.status} ${JSON.stringify(answer.body)}`);
    const parsed = syncAnswerSchema.parse(answer.body);
    this.#epoch = parsed.session_epoch;
    return parsed;
  }

  /** A synchronize that offers slots and expects exactly one assignment. */
  async take(workflow: string): Promise<Assignment> {
    const answer = await this.sync({ free: [{ workflow, slots: 1 }] });
    const [assignment] = answer.assign;
    if (!assignment) throw new Error(`no job of '${workflow}' was assigned`);
    return assignment;
  }

  draft(assignment: Assignment, change: Draft): Report {
    return {
      job: assignment.job,
      op_id: assignment.op_id,
      epoch: assignment.epoch,
      seq: 1,
      attempt: 0,
      phase: "none",
      at: new Date().toISOString(),
      done: false,
      ...change,
    };
  }

  async send(reports: readonly Report[]): Promise<readonly ReportResult[]> {
    const answer = await this.post("/reports", { reports });
    if (answer.status !== 200) throw new Error(`reports: ${answer.status} ${JSON.stringify(answer.body)}`);
    return reportsAnswerSchema.parse(answer.body).results;
  }

  /** The next report of this claim; throws unless it is applied. */
  async report(assignment: Assignment, change: Draft): Promise<void> {
    const key = `${assignment.job} ${assignment.epoch}`;
    const seq = (this.#seq.get(key) ?? 0) + 1;
    const [result] = await this.send([this.draft(assignment, { seq, ...change })]);
    if (result?.outcome !== "applied") throw new Error(`report was not applied: ${JSON.stringify(result)}`);
    this.#seq.set(key, seq);
  }

  /** From READY to the end, in two reports. */
  async finish(assignment: Assignment, change: Partial<Report> = {}): Promise<void> {
    await this.report(assignment, { state: "RUNNING", phase: "started", attempt: 1 });
    await this.report(assignment, { state: "JOB_FINISHED", attempt: 1, done: true, outputs: [], ...change });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#dispatcher.destroy();
  }
}

export async function testSite(hub: TestHub, id: string, instance?: string): Promise<TestSite> {
  return new TestSite(id, hub.url, await hub.siteToken(id), instance);
}
