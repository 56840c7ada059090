/** Input files that people put on the hub; jobs name them by their URL, agents fetch them with the site's token. */
import { z } from "zod";
import { isoTime } from "../../common/clock.ts";
import { Fault } from "../../common/fault.ts";
import { fileListSchema, fileViewSchema } from "../../wire/user-api.ts";
import type { HubContext } from "../context.ts";
import { hasRole, principalOf } from "./access.ts";
import { sendBytes, sha256Of, uploadCapBytes } from "./bodies.ts";
import type { V1App } from "./http.ts";

const tags = ["files"];
const viewer = { config: { access: "viewer" } } as const;
const nameParams = z.object({
  name: z.string().regex(/^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$/, "a file name: letters, digits and ._- (128)"),
});

interface FileRow {
  readonly name: string;
  readonly length: number;
  readonly sha256: string;
  readonly created_at: number;
}

export function fileRoutes(app: V1App, ctx: HubContext): void {
  const { db } = ctx.store;
  const view = ({ name, length, sha256, created_at }: FileRow): z.output<typeof fileViewSchema> => {
    const url = `${ctx.baseUrl()}/siteagent/v1/files/${encodeURIComponent(name)}`;
    return { name, url, bytes: length, sha256, created_at: isoTime(created_at) };
  };

  app.get("/files", { ...viewer, schema: { tags, response: { 200: fileListSchema } } }, async () => {
    const rows = await db
      .selectFrom("files")
      .select(["name", "length", "sha256", "created_at"])
      .orderBy("name")
      .execute();
    return { files: rows.map((row) => view(row)) };
  });

  app.put(
    "/files/:name",
    {
      config: { access: "submitter", body: "raw" },
      bodyLimit: uploadCapBytes,
      schema: { tags, params: nameParams, response: { 200: fileViewSchema } },
    },
    async (request) => {
      const bytes = request.body as Buffer;
      const owner = principalOf(request).name;
      const { name } = request.params;
      const row = { name, owner, bytes, length: bytes.length, sha256: sha256Of(bytes), created_at: ctx.clock.now() };
      return ctx.store.transaction(async (tx) => {
        const made = await tx.db
          .insertInto("files")
          .values(row)
          .onConflict((conflict) => conflict.column("name").doNothing())
          .returning("name")
          .executeTakeFirst();
        if (made) return view(row);
        const known = await tx.db
          .selectFrom("files")
          .select(["name", "owner", "length", "sha256", "created_at"])
          .where("name", "=", name)
          .executeTakeFirstOrThrow();
        if (known.sha256 === row.sha256) return view(known);
        throw new Fault("CONFLICT", `file '${name}' of '${known.owner}' exists with other content`, {
          hint: "use another name: jobs may read the old one",
        });
      });
    },
  );

  app.get("/files/:name", { ...viewer, schema: { tags, params: nameParams } }, async (request, reply) => {
    const row = await db.selectFrom("files").selectAll().where("name", "=", request.params.name).executeTakeFirst();
    if (!row) throw new Fault("NOT_FOUND", "Not found");
    return sendBytes(request, reply, row.bytes, row.sha256);
  });

  app.delete(
    "/files/:name",
    { config: { access: "submitter" }, schema: { tags, params: nameParams } },
    async (request, reply) => {
      const principal = principalOf(request);
      let query = db.deleteFrom("files").where("name", "=", request.params.name);
      if (!hasRole(principal, "operator")) query = query.where("owner", "=", principal.name);
      const { numDeletedRows } = await query.executeTakeFirst();
      if (Number(numDeletedRows) === 0) throw new Fault("NOT_FOUND", "no such file of yours");
      return reply.status(204).send();
    },
  );
}
