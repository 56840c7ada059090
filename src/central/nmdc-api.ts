import type { z } from "zod";
import type { CallContext } from "../common/context.ts";
import { isFault } from "../common/fault.ts";
import type { JsonObject } from "../common/json.ts";
import { unreachable } from "./answers.ts";
import type { Api } from "./api.ts";
import {
  accessSchema,
  jobSchema,
  listSchema,
  type NmdcJob,
  type NmdcOperation,
  objectSchema,
  operationSchema,
  madeSchema,
} from "./nmdc-schemas.ts";
import { hostility } from "./strict-json.ts";
import type { Lane, TransportRequest } from "./http.ts";

interface Listing<Item> {
  readonly path: "jobs" | "operations";
  readonly schema: z.ZodType<Item>;
  readonly filter: JsonObject;
  /** From as many pages as that takes. */
  readonly limit: number;
}

/** All of them. */
const operations = { path: "operations", schema: operationSchema, limit: Number.POSITIVE_INFINITY } as const;

/** How often a listing is begun anew when its page token is gone (they work once; a lost reply uses one up). */
const listStarts = 3;
/** Filters travel in the address: so many ids at most in one. */
const idsPerFilter = 40;

/** The calls of the NMDC Runtime that the agent makes, one method each. */
export class NmdcApi {
  readonly #api: Api;
  readonly #lane: Lane;

  constructor(api: Api, lane: Lane = "control") {
    this.#api = api;
    this.#lane = lane;
  }

  /** The same calls over the connections for bulk work. */
  bulk(): NmdcApi {
    return new NmdcApi(this.#api, "bulk");
  }

  /** Open jobs: no claim, or all claims cancelled. At most `limit`, from as many pages as that takes. */
  async openJobs(workflows: readonly string[], limit: number, context: CallContext): Promise<readonly NmdcJob[]> {
    const filter = {
      $and: [
        { "workflow.id": { $in: workflows } },
        { $or: [{ claims: { $size: 0 } }, { claims: { $not: { $elemMatch: { cancelled: { $ne: true } } } } }] },
      ],
    };
    return this.#list({ path: "jobs", schema: jobSchema, filter, limit }, context);
  }

  /** All claims of a job by all sites, as operations: a lost entry in the job's `claims` does not hide one. */
  async operationsOf(job: string, context: CallContext): Promise<readonly NmdcOperation[]> {
    return this.#list({ ...operations, filter: { "metadata.job.id": job } }, context);
  }

  /** The operations of one site for these jobs. */
  async operationsOfSite(
    site: string,
    jobs: readonly string[],
    context: CallContext,
  ): Promise<readonly NmdcOperation[]> {
    const found: NmdcOperation[] = [];
    for (let start = 0; start < jobs.length; start += idsPerFilter) {
      const filter = { "metadata.site_id": site, "metadata.job.id": { $in: jobs.slice(start, start + idsPerFilter) } };
      found.push(...(await this.#list({ ...operations, filter }, context)));
    }
    return found;
  }

  async job(job: string, context: CallContext): Promise<NmdcJob> {
    const path = `/jobs/${encodeURIComponent(job)}`;
    const { value } = await this.#call({ method: "GET", path, schema: jobSchema, repeatable: true }, context);
    if (value.id !== job) throw unreachable("schema", `asked for job '${job}', got '${value.id}'`);
    return value;
  }

  async operation(opId: string, context: CallContext): Promise<NmdcOperation> {
    const path = `/operations/${encodeURIComponent(opId)}`;
    const { value } = await this.#call({ method: "GET", path, schema: operationSchema, repeatable: true }, context);
    if (value.id !== opId) throw unreachable("schema", `asked for operation '${opId}', got '${value.id}'`);
    return value;
  }

  /** Never repeated by itself: each claim makes a new operation. */
  async claim(job: string, context: CallContext): Promise<string> {
    const path = `/jobs/${encodeURIComponent(job)}:claim`;
    const request = { method: "POST", path, schema: madeSchema, repeatable: false } as const;
    return (await this.#call(request, context)).value.id;
  }

  async release(job: string, context: CallContext): Promise<void> {
    const path = `/jobs/${encodeURIComponent(job)}:release`;
    await this.#call({ method: "POST", path, schema: madeSchema, repeatable: true }, context);
  }

  /** `metadata` replaces all but site, job and model: give the whole. */
  async patch(
    opId: string,
    change: { readonly metadata: JsonObject; readonly done?: boolean; readonly result?: JsonObject },
    context: CallContext,
  ): Promise<void> {
    await this.#call(
      {
        method: "PATCH",
        path: `/operations/${encodeURIComponent(opId)}`,
        headers: { "content-type": "application/json" },
        body: JSON.stringify(change),
        schema: operationSchema,
        repeatable: true,
      },
      context,
    );
  }

  /** Undefined when there is none, or the Runtime sends us elsewhere for it. */
  async object(objectId: string, context: CallContext): Promise<z.output<typeof objectSchema> | undefined> {
    const path = `/objects/${encodeURIComponent(objectId)}`;
    try {
      return (await this.#call({ method: "GET", path, schema: objectSchema, repeatable: true }, context)).value;
    } catch (error) {
      const redirected = isFault(error, "UNREACHABLE") && error.details?.["kind"] === "redirect";
      if (redirected || isFault(error, "NOT_FOUND", "INVALID")) return undefined;
      throw error;
    }
  }

  /** @throws Fault NOT_FOUND when no site of the API knows the access id. */
  async objectAccess(id: string, accessId: string, context: CallContext): Promise<z.output<typeof accessSchema>> {
    const path = `/objects/${encodeURIComponent(id)}/access/${encodeURIComponent(accessId)}`;
    return (await this.#call({ method: "GET", path, schema: accessSchema, repeatable: true }, context)).value;
  }

  #call<Value>(
    request: Omit<TransportRequest<Value>, "lane">,
    context: CallContext,
  ): Promise<{ readonly value: Value }> {
    return this.#api.call({ ...request, lane: this.#lane }, context);
  }

  async #list<Item>(listing: Listing<Item>, context: CallContext): Promise<readonly Item[]> {
    for (let start = 1; ; start++) {
      try {
        return await this.#pages(listing, context);
      } catch (error) {
        if (!isFault(error, "USAGE", "BAD_PAGE_TOKEN") || start === listStarts) throw error;
      }
    }
  }

  /** Tokens carry a position only: the filter goes along with each page. */
  async #pages<Item>(listing: Listing<Item>, context: CallContext): Promise<readonly Item[]> {
    const { path, schema, filter, limit } = listing;
    const found: Item[] = [];
    let token: string | undefined;
    do {
      const size = Math.max(1, Math.min(100, limit - found.length));
      const page = await this.#call(
        {
          method: "GET",
          path: `/${path}`,
          query: {
            filter: JSON.stringify(filter),
            max_page_size: String(size),
            ...(token === undefined ? {} : { page_token: token }),
          },
          schema: listSchema,
          // A page token works once; without one a repetition does no harm.
          repeatable: token === undefined,
          checksItems: true,
        },
        context,
      );
      for (const item of page.value.resources) {
        const good = checkItem(item, schema, path, context);
        if (good !== undefined) found.push(good);
      }
      token = page.value.next_page_token ?? undefined;
    } while (token !== undefined && found.length < limit);
    return found.slice(0, Number.isFinite(limit) ? limit : undefined);
  }
}

/** One bad job in a list must not keep the others from us. */
function checkItem<Item>(item: unknown, schema: z.ZodType<Item>, path: string, context: CallContext): Item | undefined {
  const bad = hostility(item);
  const result = bad === undefined ? schema.safeParse(item) : undefined;
  if (result?.success) return result.data;
  const why = bad ?? result?.error?.issues[0]?.message ?? "unknown";
  context.log.warn({ list: path, why }, "an item of a list was skipped, it cannot be read");
  return undefined;
}
