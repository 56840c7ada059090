/** What jobs delivered: the manifest, and the bytes of small files that sites put on the hub. */
import { failpoint } from "../../common/failpoint.ts";
import { z } from "zod";
import { sql } from "kysely";
import { Fault } from "../../common/fault.ts";
import { outputUploadAnswerSchema } from "../../wire/agent-api.ts";
import { outputFileSchema } from "../../wire/common.ts";
import { outputListSchema, outputQuerySchema } from "../../wire/user-api.ts";
import type { HubContext } from "../context.ts";
import { readJobs } from "../jobs/lifecycle.ts";
import type { Tx } from "../store/types.ts";
import { siteOf } from "./access.ts";
import { holderJob } from "./agent-routes.ts";
import { assertPlainPath, sendBytes, sha256Of, uploadCapBytes } from "./bodies.ts";
import { idParams, type V1App } from "./http.ts";
import { jobWide, putEntry, readManifest } from "./manifest.ts";

/** Of one job, bytes. */
const jobCapBytes = 256 * 1024 * 1024;

const fileParams = z.object({ id: z.string(), "*": z.string().min(1) });
const putQuery = z.object({
  output: z.string().min(1).max(64),
  epoch: z.coerce.number().int().min(1),
  sha256: outputFileSchema.shape.sha256,
});

export function outputRoutes(app: V1App, ctx: HubContext): void {
  app.put(
    "/jobs/:id/outputs/*",
    {
      config: { access: "site", body: "raw" },
      bodyLimit: uploadCapBytes,
      schema: {
        tags: ["agent"],
        params: fileParams,
        querystring: putQuery,
        response: { 200: outputUploadAnswerSchema },
      },
    },
    async (request) => {
      const { id, "*": path } = request.params;
      const { output, epoch, sha256 } = request.query;
      const bytes = request.body as Buffer;
      assertPlainPath(path);
      const found = sha256Of(bytes);
      if (found !== sha256) {
        throw new Fault("DIGEST_MISMATCH", `output '${path}': received ${found}, promised ${sha256}`);
      }
      const caller = siteOf(request);
      await ctx.store.transaction(async (tx) => {
        await holderJob(ctx, tx, caller, id, epoch);
        await assertRoom(tx, id, path, bytes.length);
        const entry = { output, path, bytes: bytes.length, sha256, stored: true };
        await putEntry(tx, id, entry, ctx.clock.now(), bytes);
        await failpoint("hub.before-output");
      });
      await failpoint("hub.after-output");
      return { bytes: bytes.length, sha256 };
    },
  );

  app.get(
    "/jobs/:id/outputs",
    {
      config: { access: "viewer" },
      schema: {
        tags: ["jobs"],
        params: idParams,
        querystring: outputQuerySchema,
        response: { 200: outputListSchema },
      },
    },
    async (request) => {
      const [job] = await readJobs(ctx.store.db, [request.params.id]);
      if (!job) throw new Fault("NOT_FOUND", "Not found");
      const { path, limit, cursor } = request.query;
      const after = cursor === undefined ? undefined : Buffer.from(cursor, "base64url").toString();
      const found = await readManifest(ctx.store.db, job.id, { path, after, limit: limit + 1 });
      const outputs = found.slice(0, limit);
      const last = found.length > limit ? outputs.at(-1) : undefined;
      return { outputs, next_cursor: last ? Buffer.from(last.path).toString("base64url") : null };
    },
  );

  app.get(
    "/jobs/:id/outputs/*",
    { config: { access: "viewer" }, schema: { tags: ["jobs"], params: fileParams } },
    async (request, reply) => {
      const { id, "*": path } = request.params;
      const row = await ctx.store.db
        .selectFrom("outputs")
        .select(["data", "content"])
        .where("job_id", "=", id)
        .where("attempt", "=", jobWide)
        .where("name", "=", path)
        .executeTakeFirst();
      if (!row) throw new Fault("NOT_FOUND", `job '${id}' has no output '${path}'`);
      const entry = outputFileSchema.parse(JSON.parse(row.data));
      if (row.content === null || !entry.stored) {
        const hint = entry.url === undefined ? "it stayed at the site" : `it lies at ${entry.url}`;
        throw new Fault("NOT_FOUND", `the hub has no copy of output '${path}'`, { hint });
      }
      return sendBytes(request, reply, row.content, entry.sha256);
    },
  );
}

async function assertRoom(tx: Tx, jobId: string, path: string, bytes: number): Promise<void> {
  const row = await tx.db
    .selectFrom("outputs")
    .select(sql<number>`coalesce(sum(length(content)), 0)`.as("kept"))
    .where("job_id", "=", jobId)
    .where("name", "!=", path)
    .executeTakeFirst();
  const kept = Number(row?.kept ?? 0);
  if (kept + bytes <= jobCapBytes) return;
  throw new Fault("TOO_LARGE", `the hub keeps ${jobCapBytes} bytes of outputs of a job; it has ${kept} already`);
}
