/** POST /token (§1.1 of the contract). */
import type { FastifyInstance, FastifyRequest } from "fastify";
import { passwordMatches, wasteTime } from "../auth/secrets.ts";
import type { HubContext } from "../context.ts";
import { HttpProblem, unauthenticated } from "../problem.ts";
import { tokenForm } from "./models.ts";

export function tokenRoute(app: FastifyInstance, ctx: HubContext): void {
  app.post(
    "/token",
    {
      config: { body: "form" },
      schema: {
        tags: ["accounts"],
        summary: "Get an access token",
        consumes: ["application/x-www-form-urlencoded"],
        body: tokenForm,
      },
    },
    async (request) => {
      const subject = await grantedSubject(ctx, request);
      const seconds = Math.floor(ctx.keys.lifetimeMs / 1000);
      const days = Math.floor(seconds / 86_400);
      const hours = Math.floor((seconds % 86_400) / 3600);
      const minutes = Math.floor((seconds % 3600) / 60);
      return { access_token: await ctx.keys.sign(subject), token_type: "bearer", expires: { days, hours, minutes } };
    },
  );
}

const grantPattern = "^password$|^client_credentials$";

async function grantedSubject(ctx: HubContext, request: FastifyRequest): Promise<string> {
  const form = request.body as Readonly<Record<string, string | undefined>>;
  const { grant_type: grant, username, password } = form;
  if (grant !== undefined && !new RegExp(grantPattern).test(grant)) {
    throw new HttpProblem(422, [
      {
        type: "string_pattern_mismatch",
        loc: ["body", "grant_type"],
        msg: `String should match pattern '${grantPattern}'`,
        input: grant,
        ctx: { pattern: grantPattern },
      },
    ]);
  }
  if (grant === "password") {
    if (!username || !password) throw new HttpProblem(400, "grant_type password requires username and password");
    return passwordGrant(ctx, username, password);
  }
  const basic = grant !== undefined && form["client_id"] === undefined ? basicOf(request) : undefined;
  const { id, secret } = basic ?? { id: form["client_id"], secret: form["client_secret"] };
  if (grant === undefined && (!id || !secret)) {
    throw new HttpProblem(422, [{ type: "missing", loc: ["body", "grant_type"], msg: "Field required", input: null }]);
  }
  if (!id) throw new HttpProblem(400, "grant_type client_credentials requires client_id and client_secret");
  return clientGrant(ctx, id, secret ?? "");
}

async function passwordGrant(ctx: HubContext, username: string, password: string): Promise<string> {
  const user = await ctx.store.db
    .selectFrom("users")
    .select("password_hash")
    .where("username", "=", username)
    .executeTakeFirst();
  if (!user) await wasteTime(password);
  if (!user || !(await passwordMatches(password, user.password_hash)))
    throw unauthenticated("Incorrect username or password");
  return `user:${username}`;
}

async function clientGrant(ctx: HubContext, id: string, secret: string): Promise<string> {
  const client = await ctx.store.db
    .selectFrom("site_clients")
    .select("secret_hash")
    .where("id", "=", id)
    .executeTakeFirst();
  if (!client) await wasteTime(secret);
  if (!client || !(await passwordMatches(secret, client.secret_hash)))
    throw unauthenticated("Incorrect client_id or client_secret");
  return `client:${id}`;
}

function basicOf(request: FastifyRequest): { id: string; secret: string } | undefined {
  const [scheme = "", encoded = ""] = (request.headers.authorization ?? "").split(" ", 2);
  if (scheme.toLowerCase() !== "basic") return undefined;
  const text = Buffer.from(encoded, "base64").toString("utf8");
  const colon = text.indexOf(":");
  return colon < 0 ? undefined : { id: text.slice(0, colon), secret: text.slice(colon + 1) };
}
