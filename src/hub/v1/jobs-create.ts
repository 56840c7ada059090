/** Making jobs: once per idempotency key, singly or in bulk, after parents that exist. */
import { failpoint } from "../../common/failpoint.ts";
import { createHash } from "node:crypto";
import type { z } from "zod";
import { Fault, isFault } from "../../common/fault.ts";
import type { JsonObject } from "../../common/json.ts";
import { type itemProblemSchema, jobCreateSchema } from "../../wire/user-api.ts";
import type { HubContext } from "../context.ts";
import { canonical } from "../filter/canonical.ts";
import { createJobs, readJobs } from "../jobs/lifecycle.ts";
import type { NewJob } from "../jobs/rows.ts";
import type { JobRow } from "../store/tables.ts";
import type { Queries, Tx } from "../store/types.ts";
import { entriesOf } from "../validation.ts";
import type { Principal } from "./access.ts";

export type JobRequest = z.output<typeof jobCreateSchema>;
export type ItemProblem = z.output<typeof itemProblemSchema>;
export type CreateResult = { readonly row: JobRow; readonly created: boolean } | { readonly error: ItemProblem };

interface Item {
  readonly request: JobRequest;
  readonly key: string | undefined;
}

/**
 * Makes one job, or finds the one that this key made.
 * @throws Fault INVALID, IDEMPOTENCY_MISMATCH
 */
export async function createJob(
  ctx: HubContext,
  principal: Principal,
  request: JobRequest,
  headerKey: string | undefined,
): Promise<{ readonly row: JobRow; readonly created: boolean }> {
  const key = keyOf(request, headerKey);
  const made = await ctx.store.transaction(async (tx) => {
    const [problem] = await referenceProblems(tx.db, [{ request, key }]);
    if (problem) throw problem;
    const one = await createOne(ctx, tx, principal, { request, key });
    await failpoint("hub.before-create");
    return one;
  });
  await failpoint("hub.after-create");
  return made;
}

/** A result per item, in order, in one transaction; one bad item does not stop the others. */
export async function createMany(
  ctx: HubContext,
  principal: Principal,
  inputs: readonly unknown[],
): Promise<CreateResult[]> {
  const parsed = inputs.map((input) => parseItem(input));
  return ctx.store.transaction(async (tx) => {
    const items = parsed.flatMap((entry) => ("request" in entry ? [entry] : []));
    const problems = await referenceProblems(tx.db, items);
    const good = items.filter((_, index) => problems[index] === undefined);
    const results = await createAll(ctx, tx, principal, good);
    for (const [index, item] of items.entries()) {
      const problem = problems[index];
      if (problem) results.set(item, { error: itemProblem(problem) });
    }
    return parsed.map((entry): CreateResult => {
      if ("error" in entry) return entry;
      return results.get(entry) ?? { error: { code: "DEFECT", detail: "the job was not made" } };
    });
  });
}

function parseItem(input: unknown): Item | { readonly error: ItemProblem } {
  const parsed = jobCreateSchema.safeParse(input);
  if (parsed.success) return { request: parsed.data, key: parsed.data.idempotency_key };
  // `loc` starts at the item, which its place in `results` names.
  const errors = entriesOf(parsed.error, input, "body").map((entry) => ({ ...entry, loc: entry.loc.slice(1) }));
  const detail = errors.map(({ loc, msg }) => `${loc.join(".") || "(all)"}: ${msg}`).join("; ");
  return { error: { code: "INVALID", detail, errors } };
}

/** All keys first, then all new jobs at once; items whose key was known find their job. */
async function createAll(
  ctx: HubContext,
  tx: Tx,
  principal: Principal,
  items: readonly Item[],
): Promise<Map<Item, CreateResult>> {
  const scope = scopeOf(principal);
  const reserved = await reserveKeys(ctx, tx, scope, items);
  const fresh = items.filter((item) => item.key === undefined || reserved.get(item.key) === item);
  const rows = await createJobs(
    ctx,
    tx,
    fresh.map((item) => newJob(principal, item.request)),
  );
  const results = new Map<Item, CreateResult>();
  for (const [index, item] of fresh.entries()) {
    const row = rows[index];
    if (row) results.set(item, { row, created: true });
  }
  await fillKeys(tx, scope, results);
  for (const item of items) {
    if (!results.has(item)) results.set(item, await findSafely(tx, scope, item));
  }
  return results;
}

/** Refusals are results; a database that is away is not. */
async function findSafely(tx: Tx, scope: string, item: Item): Promise<CreateResult> {
  try {
    return { row: await jobOfKey(tx, scope, item.key ?? "", hashOf(item.request)), created: false };
  } catch (error) {
    if (isFault(error, "IDEMPOTENCY_MISMATCH", "CONFLICT")) return { error: itemProblem(error) };
    throw error;
  }
}

function itemProblem(fault: Fault): ItemProblem {
  return { code: fault.code, detail: fault.message, ...(fault.hint === undefined ? {} : { hint: fault.hint }) };
}

async function createOne(
  ctx: HubContext,
  tx: Tx,
  principal: Principal,
  item: Item,
): Promise<{ readonly row: JobRow; readonly created: boolean }> {
  const result = (await createAll(ctx, tx, principal, [item])).get(item);
  if (result && "row" in result) return result;
  if (result?.error.code === "IDEMPOTENCY_MISMATCH") throw mismatch(item.key ?? "");
  throw new Fault("CONFLICT", result?.error.detail ?? "the job was not made");
}

const scopeOf = (principal: Principal): string => `jobs:${principal.name}`;
const keysPerStatement = 100;

/**
 * Which item got each key that was free. Two requests with one key at once: the second waits at the unique key until the first is
 * durable. In the order of keys, so that two bulk requests never wait for each other in a circle.
 */
async function reserveKeys(ctx: HubContext, tx: Tx, scope: string, items: readonly Item[]): Promise<Map<string, Item>> {
  const first = new Map<string, Item>();
  for (const item of items) if (item.key !== undefined && !first.has(item.key)) first.set(item.key, item);
  const keys = [...first.keys()].toSorted();
  const reserved = new Map<string, Item>();
  for (let start = 0; start < keys.length; start += keysPerStatement) {
    const slice = keys.slice(start, start + keysPerStatement);
    const created_at = ctx.clock.now();
    const values = slice.flatMap((key) => {
      const item = first.get(key);
      return item ? [{ scope, key, request_hash: hashOf(item.request), status: null, response: null, created_at }] : [];
    });
    const rows = await tx.db
      .insertInto("idempotency_keys")
      .values(values)
      .onConflict((conflict) => conflict.columns(["scope", "key"]).doNothing())
      .returning("key")
      .execute();
    for (const { key } of rows) {
      const item = first.get(key);
      if (item) reserved.set(key, item);
    }
  }
  return reserved;
}

async function fillKeys(tx: Tx, scope: string, results: ReadonlyMap<Item, CreateResult>): Promise<void> {
  const made = [...results].flatMap(([{ key }, result]) => {
    return key !== undefined && "row" in result ? [{ key, response: result.row.id }] : [];
  });
  for (let start = 0; start < made.length; start += keysPerStatement) {
    await tx.db
      .insertInto("idempotency_keys")
      .values(
        made
          .slice(start, start + keysPerStatement)
          .map(({ key, response }) => ({ scope, key, request_hash: "", status: 201, response, created_at: 0 })),
      )
      .onConflict((conflict) =>
        conflict.columns(["scope", "key"]).doUpdateSet({
          status: 201,
          response: (excluded) => excluded.ref("excluded.response"),
        }),
      )
      .execute();
  }
}

/** The job that a key made before. Throws IDEMPOTENCY_MISMATCH, CONFLICT. */
async function jobOfKey(tx: Tx, scope: string, key: string, hash: string): Promise<JobRow> {
  const known = await tx.db
    .selectFrom("idempotency_keys")
    .select(["request_hash", "response"])
    .where("scope", "=", scope)
    .where("key", "=", key)
    .executeTakeFirst();
  if (known?.request_hash !== hash) throw mismatch(key);
  const [row] = known.response === null ? [] : await readJobs(tx.db, [known.response]);
  if (!row) throw new Fault("CONFLICT", `the job of idempotency key '${key}' is gone`);
  return row;
}

function mismatch(key: string): Fault {
  return new Fault("IDEMPOTENCY_MISMATCH", `idempotency key '${key}' was used with another request`, {
    hint: "use a new key for another job",
  });
}

/** Per item: what it names and the hub does not know (parents, site), all at once. One query for all items. */
async function referenceProblems(db: Queries, items: readonly Item[]): Promise<(Fault | undefined)[]> {
  const jobs = await knownIds(db, "jobs", new Set(items.flatMap((item) => item.request.parents)));
  const sites = await knownIds(db, "sites", new Set(items.flatMap((item) => item.request.site ?? [])));
  return items.map(({ request }) => {
    const missing = request.parents.filter((id) => !jobs.has(id)).map((id) => `'${id}'`);
    const problems = [
      ...(missing.length > 0 ? [`parents: no such job: ${missing.join(", ")}; allowed: ids of existing jobs`] : []),
      ...(request.site === undefined || sites.has(request.site)
        ? []
        : [`site: no such site: '${request.site}'; allowed: ids of the sites of this hub`]),
    ];
    return problems.length === 0 ? undefined : new Fault("INVALID", problems.join("; "));
  });
}

async function knownIds(db: Queries, table: "jobs" | "sites", wanted: ReadonlySet<string>): Promise<Set<string>> {
  const ids = [...wanted];
  const known = new Set<string>();
  for (let start = 0; start < ids.length; start += 400) {
    const slice = ids.slice(start, start + 400);
    const rows = await db.selectFrom(table).select("id").where("id", "in", slice).execute();
    for (const row of rows) known.add(row.id);
  }
  return known;
}

function newJob(principal: Principal, request: JobRequest): NewJob {
  return {
    workflow: { id: request.workflow },
    config: request.config as JsonObject,
    ...(request.name === undefined ? {} : { name: request.name }),
    ...(request.description === undefined ? {} : { description: request.description }),
    claims: [],
    owner: principal.name,
    tags: request.tags,
    parents: [...new Set(request.parents)],
    parentPolicy: request.parent_policy,
    priority: request.priority,
    ...(request.site === undefined ? {} : { wantedSite: request.site }),
    spec: { parameters: request.parameters as JsonObject },
    actor: principal.actor,
  };
}

function keyOf(request: JobRequest, header: string | undefined): string | undefined {
  const inBody = request.idempotency_key;
  if (header !== undefined && inBody !== undefined && header !== inBody) {
    throw new Fault("INVALID", `idempotency_key '${inBody}' differs from the header's '${header}'`);
  }
  return header ?? inBody;
}

function hashOf(request: JobRequest): string {
  const { idempotency_key: _, ...rest } = request;
  return createHash("sha256").update(canonical(rest)).digest("base64url");
}
