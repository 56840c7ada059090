import { type Answer, json, ScriptedServer } from "../../helpers/scripted-server.ts";
import { serveTokens } from "./context.ts";

interface Claim {
  op_id: string;
  site_id: string;
  done?: boolean;
  cancelled?: boolean;
}

export interface WorldJob {
  id: string;
  workflow: { id: string };
  config: Record<string, unknown>;
  claims?: Claim[];
}

export interface WorldOperation {
  id: string;
  done: boolean;
  expire_time: string;
  result: unknown;
  metadata: Record<string, unknown>;
}

/** Which site a token belongs to is in the client id: `client-<site>`. */
const tokenPrefix = "token-";

/**
 * The claim, release and patch rules of the NMDC Runtime as the contract writes them, behind a scripted server: claims are
 * neither exclusive nor idempotent, a patch replaces metadata, a release leaves `done` alone.
 */
export class NmdcWorld implements AsyncDisposable {
  readonly server: ScriptedServer;
  readonly jobs = new Map<string, WorldJob>();
  readonly operations = new Map<string, WorldOperation>();
  /** Ids of the operations to come; then `op-1`, `op-2`… */
  readonly nextOps: string[] = [];
  #made = 0;

  private constructor(server: ScriptedServer) {
    this.server = server;
    serveTokens(server);
    server
      .on("POST /token", (request, response) => {
        const client = new URLSearchParams(request.body).get("client_id") ?? "";
        const token = `${tokenPrefix}${client.replace("client-", "")}`;
        return json(200, { access_token: token, token_type: "bearer", expires: { days: 1, hours: 0, minutes: 0 } })(
          request,
          response,
        );
      })
      .on("GET /version", json(200, { "nmdc-runtime": "2.19.0", fastapi: "0.136.1", "nmdc-schema": "11.21.0" }))
      .on("GET /jobs", this.#listJobs)
      .on("GET /jobs/*", this.#getJob)
      .on("POST /jobs/*", this.#claimOrRelease)
      .on("GET /operations", this.#listOperations)
      .on("GET /operations/*", this.#getOperation)
      .on("PATCH /operations/*", this.#patch);
  }

  static async start(): Promise<NmdcWorld> {
    return new NmdcWorld(await ScriptedServer.start());
  }

  addJob(id: string, workflow = "w", config: Record<string, unknown> = {}): WorldJob {
    const job: WorldJob = { id, workflow: { id: workflow }, config, claims: [] };
    this.jobs.set(id, job);
    return job;
  }

  /** A claim by a site, as its own call would make it. */
  claim(jobId: string, site: string): WorldOperation {
    const job = this.jobs.get(jobId);
    if (!job) throw new Error(`no job ${jobId}`);
    const id = this.nextOps.shift() ?? `op-${++this.#made}`;
    const snapshot = { id: job.id, workflow: job.workflow, config: job.config, claims: [] };
    const operation: WorldOperation = {
      id,
      done: false,
      expire_time: "2099-03-31T10:05:00.123000",
      result: null,
      metadata: {
        model: "nmdc_runtime.api.models.job.JobOperationMetadata",
        cancelled: null,
        job: snapshot,
        site_id: site,
      },
    };
    this.operations.set(id, operation);
    job.claims = [...(job.claims ?? []), { op_id: id, site_id: site }];
    return operation;
  }

  release(jobId: string, site: string): void {
    const job = this.jobs.get(jobId);
    const own = this.operationsOf(jobId).filter(({ metadata, done }) => metadata["site_id"] === site && !done);
    for (const { metadata } of own) Object.assign(metadata, { cancelled: true, done: true });
    if (!job) return;
    job.claims = [
      ...(job.claims ?? []).filter((claim) => claim.site_id !== site),
      ...own.map(({ id }) => ({ op_id: id, site_id: site, done: true, cancelled: true })),
    ];
  }

  operationsOf(jobId: string): WorldOperation[] {
    return [...this.operations.values()].filter(({ metadata }) => (metadata["job"] as WorldJob).id === jobId);
  }

  live(jobId: string): string[] {
    return this.operationsOf(jobId).flatMap(({ id, done, metadata }) =>
      done || metadata["cancelled"] === true ? [] : [id],
    );
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.server[Symbol.asyncDispose]();
  }

  readonly #listJobs: Answer = (request, response) => {
    const filter = JSON.parse(request.query.get("filter") ?? "{}") as { $and: [{ "workflow.id": { $in: string[] } }] };
    const workflows = filter.$and[0]["workflow.id"].$in;
    const open = [...this.jobs.values()].filter(
      (job) => workflows.includes(job.workflow.id) && (job.claims ?? []).every(({ cancelled }) => cancelled === true),
    );
    return json(200, { resources: open.slice(0, Number(request.query.get("max_page_size"))) })(request, response);
  };

  readonly #getJob: Answer = (request, response) => {
    const job = this.jobs.get(request.path.slice("/jobs/".length));
    return (job ? json(200, job) : json(404, { detail: "Not found" }))(request, response);
  };

  readonly #claimOrRelease: Answer = (request, response) => {
    const [, id = "", verb] = /^\/jobs\/(.+):(claim|release)$/.exec(request.path) ?? [];
    const site = (request.headers.authorization ?? "").replace(`Bearer ${tokenPrefix}`, "");
    if (!this.jobs.has(id)) return json(404, { detail: "Not found" })(request, response);
    if (verb === "claim") return json(200, this.claim(id, site))(request, response);
    this.release(id, site);
    return json(200, this.jobs.get(id))(request, response);
  };

  readonly #listOperations: Answer = (request, response) => {
    const filter = JSON.parse(request.query.get("filter") ?? "{}") as Record<string, string | { $in: string[] }>;
    const jobs = filter["metadata.job.id"];
    const wanted = typeof jobs === "string" ? [jobs] : (jobs?.$in ?? []);
    const site = filter["metadata.site_id"];
    const found = wanted.flatMap((id) => this.operationsOf(id));
    const resources = found.filter(({ metadata }) => site === undefined || metadata["site_id"] === site);
    return json(200, { resources, next_page_token: null })(request, response);
  };

  readonly #getOperation: Answer = (request, response) => {
    const operation = this.operations.get(request.path.slice("/operations/".length));
    return (operation ? json(200, operation) : json(404, { detail: "Not found" }))(request, response);
  };

  readonly #patch: Answer = (request, response) => {
    const operation = this.operations.get(request.path.slice("/operations/".length));
    if (!operation) return json(404, { detail: "Not found" })(request, response);
    const change = JSON.parse(request.body) as Partial<WorldOperation>;
    const { site_id, job, model } = operation.metadata;
    operation.metadata = { ...change.metadata, site_id, job, model };
    operation.done = change.done ?? operation.done;
    if ("result" in change) operation.result = change.result;
    return json(200, operation)(request, response);
  };
}
