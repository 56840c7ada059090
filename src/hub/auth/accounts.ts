import type { Identity } from "./guard.ts";

/** Admins of this site administer users. */
export const userAdminSite = "nmdc-runtime-useradmin";

/** The sites that a caller administers; a site client none. */
export function siteAdminsOf(identity: Identity): readonly string[] {
  return identity.kind === "user" ? (JSON.parse(identity.user.site_admin) as string[]) : [];
}
