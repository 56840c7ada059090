import { isoTime } from "../common/clock.ts";
import type { CallContext } from "../common/context.ts";
import { asFault, Fault, isFault } from "../common/fault.ts";
import { type JobSpec, jobSpecSchema, type SpecObject, type SyncRequest } from "../wire/agent-api.ts";
import type { Api } from "./api.ts";
import { checkAccess } from "./check.ts";
import { NmdcApi } from "./nmdc-api.ts";
import { isCancelled, isLive, NmdcClaims, siteOf } from "./nmdc-claims.ts";
import { reportAll } from "./nmdc-report.ts";
import type { NmdcJob } from "./nmdc-schemas.ts";
import { readAccess, readObject } from "./objects.ts";
import type { Candidate, Central, CentralObject, ClaimAnswer, Report, ReportResult, SyncResult } from "./types.ts";

export interface NmdcOptions {
  readonly api: Api;
  /** Id of our site. */
  readonly site: string;
  /** Pause that the agent is asked to keep between two rounds; default 15 s. */
  readonly pollMs?: number;
  /** Least pause between two looks whether held claims were cancelled by others; default 60 s. */
  readonly heldCheckMs?: number;
}

const defaultPollMs = 15_000;
const defaultHeldCheckMs = 60_000;
const logIntervalMs = 5_000;
const objectsKept = 1_000;

/** The plain protocol of the NMDC Runtime: list, claim, read back, decide; one operation per claim. */
export class NmdcCentral implements Central {
  readonly dialect = "nmdc";
  readonly capabilities = { longPoll: false, orders: false, logs: false, outputs: false, exclusive: false } as const;
  readonly #options: NmdcOptions;
  readonly #api: NmdcApi;
  readonly #claims: NmdcClaims;
  readonly #objects = new Map<string, SpecObject | undefined>();
  #heldCheckedAt = Number.NEGATIVE_INFINITY;

  constructor(options: NmdcOptions) {
    this.#options = options;
    this.#api = new NmdcApi(options.api);
    this.#claims = new NmdcClaims(this.#api, options.site);
  }

  async synchronize(request: SyncRequest, context: CallContext): Promise<SyncResult> {
    const candidates = await this.#candidates(request, context);
    const fenced = await this.#cancelledByOthers(request, context);
    return {
      session_epoch: request.session_epoch ?? 1,
      session_current: true,
      next_sync_ms: this.#options.pollMs ?? defaultPollMs,
      server_time: isoTime(context.clock.now()),
      assign: [],
      orders: [],
      fenced,
      unknown: [],
      missing: [],
      log_interval_ms: logIntervalMs,
      candidates,
    };
  }

  async downloadHeaders(): Promise<Readonly<Record<string, string>>> {
    return {};
  }

  claim(job: string, context: CallContext): Promise<ClaimAnswer> {
    return this.#claims.claim(job, context);
  }

  report(reports: readonly Report[], context: CallContext): Promise<readonly ReportResult[]> {
    const api = this.#api.bulk();
    const { site } = this.#options;
    return reportAll({ api, claims: new NmdcClaims(api, site), site }, reports, context);
  }

  async release(
    held: { readonly job: string; readonly opId: string; readonly reason: string },
    context: CallContext,
  ): Promise<"released" | "gone"> {
    try {
      const operation = await this.#api.operation(held.opId, context);
      const ours = siteOf(operation) === this.#options.site;
      // Releasing a finished job would open it again.
      if (!ours || (operation.done === true && !isCancelled(operation))) return "gone";
      if (operation.done === true) return "released";
      await this.#claims.giveBack(held.job, operation, held.reason, context);
      return "released";
    } catch (error) {
      if (isFault(error, "NOT_FOUND")) return "gone";
      throw error;
    }
  }

  putLog(): Promise<number> {
    return Promise.reject(new Fault("UNSUPPORTED", "the NMDC Runtime takes no logs"));
  }

  putOutput(): Promise<void> {
    return Promise.reject(new Fault("UNSUPPORTED", "the NMDC Runtime takes no output files"));
  }

  object(id: string, context: CallContext): Promise<CentralObject | undefined> {
    return readObject(this.#api.bulk(), id, context);
  }

  objectAccess(id: string, accessId: string, context: CallContext): ReturnType<Central["objectAccess"]> {
    return readAccess(this.#api.bulk(), id, accessId, context);
  }

  check(context: CallContext): ReturnType<Central["check"]> {
    return checkAccess(this.#options.api, this.#options.site, context);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#options.api[Symbol.asyncDispose]();
  }

  async #candidates(request: SyncRequest, context: CallContext): Promise<readonly Candidate[]> {
    const slots = new Map((request.free ?? []).map(({ workflow, slots: count }) => [workflow, count]));
    const limit = Math.min(
      request.max_assign ?? 100,
      [...slots.values()].reduce((sum, count) => sum + count, 0),
    );
    if (limit <= 0) return [];
    const held = new Set((request.held ?? []).map(({ job }) => job));
    const wanted = limit + held.size;
    let jobs = await this.#api.openJobs([...slots.keys()], wanted, context);
    if (jobs.length >= wanted && slots.size > 1) {
      // Many jobs of one workflow may hide the others.
      const lists = [];
      for (const [workflow, count] of slots) lists.push(await this.#api.openJobs([workflow], count, context));
      jobs = inTurn(lists);
    }
    const candidates: Candidate[] = [];
    for (const job of jobs) {
      const left = slots.get(job.workflow.id) ?? 0;
      if (left === 0 || held.has(job.id) || candidates.length >= limit) continue;
      const spec = await this.#spec(job, context);
      if (!spec) continue;
      slots.set(job.workflow.id, left - 1);
      candidates.push({ job: job.id, spec });
    }
    return candidates;
  }

  async #spec(job: NmdcJob, context: CallContext): Promise<JobSpec | undefined> {
    const objectId = job.config["object_id"];
    try {
      const object = typeof objectId === "string" ? await this.#object(objectId, context) : undefined;
      return jobSpecSchema.parse({
        workflow: job.workflow.id,
        name: job.name ?? undefined,
        description: job.description ?? undefined,
        config: job.config,
        object,
      });
    } catch (error) {
      if (context.signal.aborted) throw error;
      context.log.warn(
        { jobId: job.id, err: asFault(error) },
        "an open job was skipped, its object cannot be read now",
      );
      return undefined;
    }
  }

  /** Objects do not change; a few are remembered. */
  async #object(objectId: string, context: CallContext): Promise<SpecObject | undefined> {
    if (this.#objects.has(objectId)) return this.#objects.get(objectId);
    const found = await this.#api.object(objectId, context);
    const urls = (found?.access_methods ?? []).flatMap(({ access_url: at }) => (at ? [at.url] : []));
    const object: SpecObject | undefined = found && {
      id: found.id,
      checksums: found.checksums ?? [],
      urls,
      name: found.name ?? undefined,
      mime_type: found.mime_type ?? undefined,
      size: found.size ?? undefined,
    };
    if (object === undefined) return undefined; // it may come
    const [oldest] = this.#objects.keys();
    if (this.#objects.size >= objectsKept && oldest !== undefined) this.#objects.delete(oldest);
    this.#objects.set(objectId, object);
    return object;
  }

  /** Held jobs none of whose claims of ours is left: all were cancelled. A job that is not listed proves nothing. */
  async #cancelledByOthers(request: SyncRequest, context: CallContext): Promise<SyncResult["fenced"]> {
    const held = (request.held ?? []).map(({ job }) => job);
    const now = context.clock.monotonic();
    if (held.length === 0 || now - this.#heldCheckedAt < (this.#options.heldCheckMs ?? defaultHeldCheckMs)) return [];
    const operations = await this.#api.operationsOfSite(this.#options.site, held, context);
    this.#heldCheckedAt = now;
    const fenced: SyncResult["fenced"] = [];
    for (const job of held) {
      const own = operations.filter(({ metadata }) => jobIdOf(metadata["job"]) === job);
      if (own.length === 0 || own.some((operation) => isLive(operation) || !isCancelled(operation))) continue;
      fenced.push({ job, reason: "our claim was cancelled at the API" });
    }
    return fenced;
  }
}

function jobIdOf(job: unknown): unknown {
  return typeof job === "object" && job !== null && "id" in job ? job.id : undefined;
}

/** One of each list, then the second of each… */
function inTurn<Item>(lists: readonly (readonly Item[])[]): readonly Item[] {
  const longest = Math.max(0, ...lists.map(({ length }) => length));
  return Array.from({ length: longest }, (_, index) => lists.flatMap((list) => list.slice(index, index + 1))).flat();
}
