import { createReadStream } from "node:fs";
import { z } from "zod";
import type { CallContext } from "../common/context.ts";
import { Fault, isFault } from "../common/fault.ts";
import {
  assignmentSchema,
  logChunkAnswerSchema,
  orderSchema,
  outputUploadAnswerSchema,
  progressAnswerSchema,
  type ProgressRequest,
  reportResultSchema,
  syncAnswerSchema,
  type SyncRequest,
} from "../wire/agent-api.ts";
import { unreachable } from "./answers.ts";
import type { Api } from "./api.ts";
import { checkAccess } from "./check.ts";
import { hostility } from "./strict-json.ts";
import { NmdcApi } from "./nmdc-api.ts";
import { readAccess, readObject } from "./objects.ts";
import type { Central, CentralObject, ClaimAnswer, Report, ReportResult, SyncResult } from "./types.ts";

export interface HubOptions {
  readonly api: Api;
  /** Base address without a slash at the end. */
  readonly url: string;
  /** Id of our site. */
  readonly site: string;
  /** Stable for a state directory; part of the idempotency keys. */
  readonly agentId: string;
  /** Time limit of an ordinary call, milliseconds; default 30 s. */
  readonly timeoutMs?: number;
}

const base = "/siteagent/v1";
const defaultTimeoutMs = 30_000;
/** A long poll may last this much longer than the hub was allowed to hold it. */
const holdMarginMs = 15_000;
/** An upload may take the time of a line that moves at least so many bytes per second. */
const slowestUploadBytesPerS = 64 * 1024;

/** Lists are checked item by item, so that one that cannot be read (a newer hub's, a hostile job's) hides no other. */
const looseAnswerSchema = syncAnswerSchema.extend({
  assign: z.array(z.unknown()),
  orders: z.array(z.unknown()),
  fenced: z.array(z.unknown()).default([]),
  unknown: z.array(z.unknown()).default([]),
  missing: z.array(z.unknown()).default([]),
});
const fencedSchema = syncAnswerSchema.shape.fenced.unwrap().element;
const unknownSchema = syncAnswerSchema.shape.unknown.unwrap().element;
const missingSchema = syncAnswerSchema.shape.missing.unwrap().element;

const looseResultsSchema = z.object({
  results: z.array(reportResultSchema.extend({ outcome: z.string() })),
});

/** Our hub's own dialect: one repeatable call that assigns, orders and fences; reports in batches. */
export class HubCentral implements Central {
  readonly dialect = "hub";
  readonly capabilities = { longPoll: true, orders: true, logs: true, outputs: true, exclusive: true } as const;
  readonly #options: HubOptions;
  readonly #api: Api;

  constructor(options: HubOptions) {
    this.#options = options;
    this.#api = options.api;
  }

  async synchronize(request: SyncRequest, context: CallContext): Promise<SyncResult> {
    const timeoutMs = Math.max(this.#timeoutMs, (request.hold_ms ?? 0) + holdMarginMs);
    const { value } = await this.#api.call(
      {
        ...jsonBody(request),
        method: "POST",
        path: `${base}/synchronize`,
        lane: "control",
        schema: looseAnswerSchema,
        repeatable: true,
        timeoutMs,
        checksItems: true,
      },
      context,
    );
    return {
      ...value,
      assign: readItems(value.assign, assignmentSchema, "assign", context),
      orders: readItems(value.orders, orderSchema, "orders", context),
      fenced: readItems(value.fenced, fencedSchema, "fenced", context),
      unknown: readItems(value.unknown, unknownSchema, "unknown", context),
      missing: readItems(value.missing, missingSchema, "missing", context),
      candidates: [],
    };
  }

  async downloadHeaders(url: URL, context: CallContext): Promise<Readonly<Record<string, string>>> {
    const own = new URL(`${this.#options.url}${base}/files/`);
    const isOwn = url.origin === own.origin && url.pathname.startsWith(own.pathname);
    return isOwn ? this.#api.authorization(context) : {};
  }

  async claim(job: string, context: CallContext): Promise<ClaimAnswer> {
    const { agentId } = this.#options;
    const body = jsonBody({ agent_id: agentId });
    try {
      const { value } = await this.#api.call(
        {
          ...body,
          headers: { ...body.headers, "idempotency-key": `${agentId}:${job}` },
          method: "POST",
          path: `${jobPath(job)}:claim`,
          lane: "control",
          schema: assignmentSchema,
          repeatable: true,
        },
        context,
      );
      if (value.job !== job) throw unreachable("schema", `claimed job '${job}', got '${value.job}'`);
      return { state: "won", opId: value.op_id, epoch: value.epoch };
    } catch (error) {
      if (isFault(error, "CLAIM_LOST")) return { state: "lost", reason: error.message };
      if (isFault(error, "NOT_FOUND", "CONFLICT", "INVALID")) return { state: "refused", reason: error.message };
      throw error;
    }
  }

  async report(reports: readonly Report[], context: CallContext): Promise<readonly ReportResult[]> {
    if (reports.length === 0) return [];
    try {
      const { value } = await this.#api.call(
        {
          ...jsonBody({ reports }),
          method: "POST",
          path: `${base}/reports`,
          lane: "bulk",
          schema: looseResultsSchema,
          repeatable: true,
        },
        context,
      );
      return matched(reports, value.results);
    } catch (error) {
      if (!isFault(error, "TOO_LARGE", "INVALID")) throw error;
      const [only] = reports;
      if (reports.length > 1 || !only) return this.#halves(reports, context);
      return [{ job: only.job, epoch: only.epoch, seq: only.seq, outcome: "refused", detail: error.message }];
    }
  }

  async release(
    held: { readonly job: string; readonly epoch: number; readonly reason: string },
    context: CallContext,
  ): Promise<"released" | "gone"> {
    try {
      await this.#api.call(
        {
          ...jsonBody({ epoch: held.epoch, reason: held.reason.slice(0, 1_000) }),
          method: "POST",
          path: `${jobPath(held.job)}:release`,
          lane: "control",
          schema: z.object({ id: z.literal(held.job) }),
          repeatable: true,
        },
        context,
      );
      return "released";
    } catch (error) {
      if (isFault(error, "STALE_EPOCH", "NOT_FOUND", "CLAIM_LOST")) return "gone";
      throw error;
    }
  }

  async putLog(chunk: Parameters<Central["putLog"]>[0], context: CallContext): Promise<number> {
    const { attempt, offset, epoch } = chunk;
    try {
      const { value } = await this.#api.call(
        {
          method: "PUT",
          path: `${jobPath(chunk.job)}/logs/${chunk.stream}`,
          query: { attempt: String(attempt), offset: String(offset), epoch: String(epoch) },
          headers: { "content-type": "application/octet-stream" },
          body: chunk.bytes,
          lane: "bulk",
          schema: logChunkAnswerSchema,
          repeatable: true,
        },
        context,
      );
      return value.offset;
    } catch (error) {
      const there = isFault(error, "BAD_OFFSET") ? error.details?.["offset"] : undefined;
      if (typeof there === "number" && Number.isSafeInteger(there) && there >= 0) return there;
      throw error;
    }
  }

  async putProgress(moving: ProgressRequest, context: CallContext): Promise<void> {
    await this.#api.call(
      {
        ...jsonBody(moving),
        method: "PUT",
        path: `${base}/progress`,
        lane: "bulk",
        schema: progressAnswerSchema,
        repeatable: true,
      },
      context,
    );
  }

  async putOutput(file: Parameters<Central["putOutput"]>[0], context: CallContext): Promise<void> {
    const path = file.path.split("/").map(encodeURIComponent).join("/");
    const { value } = await this.#api.call(
      {
        method: "PUT",
        path: `${jobPath(file.job)}/outputs/${path}`,
        query: { output: file.output, epoch: String(file.epoch), sha256: file.sha256 },
        headers: { "content-type": "application/octet-stream", "content-length": String(file.bytes) },
        body: () => createReadStream(file.localPath),
        lane: "bulk",
        schema: outputUploadAnswerSchema,
        repeatable: true,
        timeoutMs: this.#timeoutMs + Math.ceil((file.bytes / slowestUploadBytesPerS) * 1_000),
      },
      context,
    );
    if (value.sha256 === file.sha256 && value.bytes === file.bytes) return;
    throw new Fault(
      "DIGEST_MISMATCH",
      `the hub has '${value.sha256}' (${value.bytes} bytes) of '${file.path}', sent was '${file.sha256}' (${file.bytes} bytes)`,
    );
  }

  object(id: string, context: CallContext): Promise<CentralObject | undefined> {
    return readObject(new NmdcApi(this.#api, "bulk"), id, context);
  }

  objectAccess(id: string, accessId: string, context: CallContext): ReturnType<Central["objectAccess"]> {
    return readAccess(new NmdcApi(this.#api, "bulk"), id, accessId, context);
  }

  check(context: CallContext): ReturnType<Central["check"]> {
    return checkAccess(this.#api, this.#options.site, context);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#api[Symbol.asyncDispose]();
  }

  get #timeoutMs(): number {
    return this.#options.timeoutMs ?? defaultTimeoutMs;
  }

  /** A batch that is too large, or spoilt by one report: in halves, down to single ones. */
  async #halves(reports: readonly Report[], context: CallContext): Promise<readonly ReportResult[]> {
    const middle = Math.ceil(reports.length / 2);
    const first = await this.report(reports.slice(0, middle), context);
    return [...first, ...(await this.report(reports.slice(middle), context))];
  }
}

function jsonBody(value: unknown): { readonly headers: Readonly<Record<string, string>>; readonly body: string } {
  return { headers: { "content-type": "application/json" }, body: JSON.stringify(value) };
}

function jobPath(job: string): string {
  return `${base}/jobs/${encodeURIComponent(job)}`;
}

/** An answer acknowledges a report only when it names it. */
function matched(
  reports: readonly Report[],
  results: z.output<typeof looseResultsSchema>["results"],
): readonly ReportResult[] {
  const fits =
    results.length === reports.length &&
    results.every(({ job, epoch, seq }, index) => {
      const report = reports[index];
      return report?.job === job && report.epoch === epoch && report.seq === seq;
    });
  if (!fits) throw unreachable("schema", "the answer to the reports is not about these reports");
  return results.map((result) => {
    const outcome = reportResultSchema.shape.outcome.safeParse(result.outcome);
    if (outcome.success) return { ...result, outcome: outcome.data };
    // A word of a newer hub acknowledges nothing, and holds up no other job.
    return { ...result, outcome: "gap", detail: `outcome '${result.outcome.slice(0, 100)}' is not known here` };
  });
}

function readItems<Item>(
  items: readonly unknown[],
  schema: z.ZodType<Item>,
  list: string,
  context: CallContext,
): Item[] {
  const good: Item[] = [];
  for (const item of items) {
    const bad = hostility(item);
    const result = bad === undefined ? schema.safeParse(item) : undefined;
    if (result?.success) {
      good.push(result.data);
      continue;
    }
    const why = bad ?? result?.error?.issues[0]?.message ?? "unknown";
    context.log.warn({ list, why }, "an item of the hub's answer was skipped, it cannot be read");
  }
  return good;
}
