/** What a new hub needs before its first request: the administrator, and in development a site with credentials. */
import { readFile } from "node:fs/promises";
import { z } from "zod";
import { errnoOf, Fault } from "../common/fault.ts";
import { durableReplace, removeUnfinished } from "../common/files.ts";
import { userAdminSite } from "./auth/accounts.ts";
import { hashPassword, newClientSecret, newPassword, passwordMatches } from "./auth/secrets.ts";
import type { HubContext } from "./context.ts";
import { newPlainId } from "./ids.ts";
import { allowanceActions } from "./nmdc/models.ts";

type Stored = Pick<HubContext, "store" | "clock">;

const credentialsSchema = z.object({
  admin: z.object({ username: z.string(), password: z.string() }),
  site: z.object({ id: z.string(), client_id: z.string(), client_secret: z.string() }),
});

/** What `siteagent hub --dev` prints. */
export type DevCredentials = z.output<typeof credentialsSchema>;

const devSite = "local";

/**
 * The credentials of a development hub, the same at every start on the same data: kept in a file (0600) that is written before
 * the database knows them, so that a crash in between repairs itself. Throws `CONFIG` for a damaged file.
 */
export async function devCredentials(ctx: Stored, file: string): Promise<DevCredentials> {
  await removeUnfinished(file);
  const known = await readCredentials(file);
  const credentials = known ?? {
    admin: { username: "admin", password: newPassword() },
    site: { id: devSite, client_id: newPlainId(), client_secret: newClientSecret() },
  };
  if (!known) await durableReplace(file, `${JSON.stringify(credentials, undefined, 2)}\n`, 0o600);
  await ensureAdmin(ctx, credentials.admin.username, credentials.admin.password, [credentials.site.id]);
  await ensureSite(ctx, credentials.site);
  return credentials;
}

async function readCredentials(file: string): Promise<DevCredentials | undefined> {
  let text: string;
  try {
    text = await readFile(file, "utf8");
  } catch (error) {
    if (errnoOf(error) === "ENOENT") return undefined;
    throw error;
  }
  try {
    return credentialsSchema.parse(JSON.parse(text));
  } catch {
    // Without the parser's message: it quotes the file.
    const hint = `remove '${file}'; the next start makes new credentials`;
    throw new Fault("CONFIG", `the development credentials in '${file}' cannot be read`, { hint });
  }
}

/** The administrator exists, has this password, every allowance, and administers users and these sites. */
export async function ensureAdmin(
  ctx: Stored,
  username: string,
  password: string,
  sites: readonly string[] = [],
): Promise<void> {
  const { db } = ctx.store;
  const known = await db.selectFrom("users").selectAll().where("username", "=", username).executeTakeFirst();
  const hash =
    known && (await passwordMatches(password, known.password_hash))
      ? known.password_hash
      : await hashPassword(password);
  const administers = new Set([userAdminSite, ...sites, ...(JSON.parse(known?.site_admin ?? "[]") as string[])]);
  const columns = { password_hash: hash, site_admin: JSON.stringify([...administers]), role: "admin", disabled: 0 };
  await ctx.store.transaction(async (tx) => {
    await tx.db
      .insertInto("users")
      .values({ username, ...columns, email: null, full_name: null, created_at: ctx.clock.now() })
      .onConflict((conflict) => conflict.column("username").doUpdateSet(columns))
      .execute();
    await tx.db
      .insertInto("allowances")
      .values(allowanceActions.map((action) => ({ username, action })))
      .onConflict((conflict) => conflict.columns(["username", "action"]).doNothing())
      .execute();
  });
}

/** True when there is a user of this name. */
export async function hasUser(ctx: Stored, username: string): Promise<boolean> {
  const row = await ctx.store.db
    .selectFrom("users")
    .select("username")
    .where("username", "=", username)
    .executeTakeFirst();
  return row !== undefined;
}

async function ensureSite(ctx: Stored, site: DevCredentials["site"]): Promise<void> {
  const { db } = ctx.store;
  const client = await db.selectFrom("site_clients").selectAll().where("id", "=", site.client_id).executeTakeFirst();
  if (client && (await passwordMatches(site.client_secret, client.secret_hash))) return;
  const hash = await hashPassword(site.client_secret);
  const now = ctx.clock.now();
  await ctx.store.transaction(async (tx) => {
    const doc = JSON.stringify({ id: site.id, capability_ids: [] });
    await tx.db
      .insertInto("sites")
      .values({ id: site.id, doc, created_at: now, session_epoch: 0 })
      .onConflict((conflict) => conflict.column("id").doNothing())
      .execute();
    await tx.db
      .insertInto("site_clients")
      .values({ id: site.client_id, site_id: site.id, secret_hash: hash, created_at: now })
      .onConflict((conflict) => conflict.column("id").doUpdateSet({ secret_hash: hash }))
      .execute();
  });
}
