/** The agent's side of a hub as a script: assigns what the test gives, applies reports in order, and lies when told to. */
import type { ProgressRequest, Report, SyncAnswer, SyncRequest } from "../../../src/wire/agent-api.ts";
import { type Answer, json, type Received, ScriptedServer } from "../../helpers/scripted-server.ts";
import { serveTokens } from "../central/context.ts";

type Held = NonNullable<SyncRequest["held"]>[number];
/** What an agent sent, and when by the clock of the test. */
export interface Called {
  readonly atMs: number;
  readonly body: Omit<SyncRequest, "held"> & { readonly held: readonly Held[] };
}

const base = "/siteagent/v1";

export class ScriptedHub implements AsyncDisposable {
  readonly server: ScriptedServer;
  /** Every synchronize that came. */
  readonly called: Called[] = [];
  /** What moves, as it was told each time. */
  readonly moving: ProgressRequest["jobs"][] = [];
  /** Times of the calls with reports. */
  readonly reportedAt: number[] = [];
  /** Applied, in order. */
  readonly applied: Report[] = [];
  /** Who holds what: reports of other epochs are fenced. */
  readonly epochs = new Map<string, number>();
  /** Jobs of which no report is taken. */
  readonly refused = new Set<string>();
  /** Answers every call of `/siteagent/v1/` instead. */
  lie: Answer | undefined;
  /** Added to every answer of synchronize. */
  standing: Partial<SyncAnswer> = {};
  readonly #news: Partial<SyncAnswer>[] = [];
  readonly #seqs = new Map<string, number>();
  readonly #now: () => number;

  private constructor(server: ScriptedServer, now: () => number) {
    this.server = server;
    this.#now = now;
    this.serveTokens();
    server
      .on("GET /version", json(200, { siteagent: { version: "0.1.0", features: [] } }))
      .on(`POST ${base}/synchronize`, (request, response) => this.#synchronize(request)(request, response))
      .on(`PUT ${base}/progress`, (request, response) => {
        const { jobs } = JSON.parse(request.body) as ProgressRequest;
        this.moving.push(jobs);
        return json(200, { jobs: jobs.length })(request, response);
      })
      .on(`POST ${base}/reports`, (request, response) => this.#reports(request)(request, response))
      .on(`POST ${base}/jobs/*`, (request, response) => this.#released(request)(request, response));
  }

  static async start(now: () => number = () => performance.now()): Promise<ScriptedHub> {
    return new ScriptedHub(await ScriptedServer.start(), now);
  }

  get url(): string {
    return this.server.url;
  }

  serveTokens(): void {
    serveTokens(this.server);
  }

  /** Reports up to this number of a claim have been applied before. */
  applyFrom(job: string, epoch: number, seq: number): void {
    this.#seqs.set(`${job} ${epoch}`, seq);
  }

  /** Told with the next answer only. */
  tell(news: Partial<SyncAnswer>): void {
    this.#news.push(news);
  }

  /** Hands a job out: told with the next answer. */
  give(job: string, epoch = 1, spec: Record<string, unknown> = {}): void {
    this.epochs.set(job, epoch);
    this.tell({ assign: [assignmentOf(job, epoch, spec)] });
  }

  /** States that were reported of a job, without repetitions. */
  states(job: string): readonly string[] {
    const all = this.applied.filter((report) => report.job === job).map((report) => report.state);
    return all.filter((state, index) => state !== all[index - 1]);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.server[Symbol.asyncDispose]();
  }

  #synchronize(request: Received): Answer {
    const body = JSON.parse(request.body) as Called["body"];
    this.called.push({ atMs: this.#now(), body });
    if (this.lie) return this.lie;
    return json(200, { ...emptyAnswer, ...this.standing, ...this.#news.shift() });
  }

  #reports(request: Received): Answer {
    this.reportedAt.push(this.#now());
    if (this.lie) return this.lie;
    const { reports } = JSON.parse(request.body) as { reports: Report[] };
    return json(200, { results: reports.map((report) => this.#apply(report)) });
  }

  #apply(report: Report): object {
    const { job, epoch, seq } = report;
    const held = this.epochs.get(job);
    if (held === undefined) return { job, epoch, seq, outcome: "unknown-job" };
    if (held !== epoch) return { job, epoch, seq, outcome: "fenced", detail: `epoch ${epoch} is over; now ${held}` };
    if (this.refused.has(job)) return { job, epoch, seq, outcome: "refused", detail: "it contradicts the table" };
    const done = this.#seqs.get(`${job} ${epoch}`) ?? 0;
    if (seq <= done) return { job, epoch, seq, outcome: "duplicate" };
    if (seq > done + 1) return { job, epoch, seq, outcome: "gap", expected_seq: done + 1 };
    this.#seqs.set(`${job} ${epoch}`, seq);
    this.applied.push(report);
    return { job, epoch, seq, outcome: "applied" };
  }

  #released(request: Received): Answer {
    if (this.lie) return this.lie;
    const [, id = ""] = /\/jobs\/(.+):release$/.exec(request.path) ?? [];
    this.epochs.delete(id);
    return json(200, { id });
  }
}

/** Nothing new; as a hub that does not hold the call. */
export const emptyAnswer: SyncAnswer = {
  session_epoch: 4,
  session_current: true,
  next_sync_ms: 10_000,
  server_time: "2026-03-01T10:00:00.000Z",
  assign: [],
  orders: [],
  fenced: [],
  unknown: [],
  missing: [],
  log_interval_ms: 5_000,
};

export function assignmentOf(job: string, epoch = 1, spec: Record<string, unknown> = {}): SyncAnswer["assign"][number] {
  return {
    job,
    op_id: `op-${job}`,
    epoch,
    lease_ms: 90_000,
    spec: { workflow: "w", config: {}, parameters: {}, tags: {}, parents: [], ...spec },
  };
}

export function orderOf(id: string, kind: string, job: string): SyncAnswer["orders"][number] {
  return { id, kind, job, reason: "enough", actor: "user:ada", at: "2026-03-01T10:00:00.000Z" };
}
