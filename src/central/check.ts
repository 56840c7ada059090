import { z } from "zod";
import type { CallContext } from "../common/context.ts";
import { asFault } from "../common/fault.ts";
import type { Api } from "./api.ts";
import type { Central } from "./types.ts";

/** Of `GET /version`: what tells a hub, or at least this API. */
export const versionSchema = z
  .looseObject({
    "nmdc-runtime": z.string().optional(),
    siteagent: z.looseObject({ features: z.array(z.string()).optional() }).optional(),
  })
  .refine((value) => value["nmdc-runtime"] !== undefined || value.siteagent !== undefined, "not the API's version");

/** Asks for the version, gets a token and looks for our site. Never throws. */
export async function checkAccess(api: Api, site: string, context: CallContext): ReturnType<Central["check"]> {
  try {
    const version = await api.open(
      { method: "GET", path: "/version", lane: "control", schema: versionSchema, repeatable: true },
      context,
    );
    await api.call(
      {
        method: "GET",
        path: `/sites/${encodeURIComponent(site)}`,
        lane: "control",
        schema: z.object({ id: z.literal(site) }),
        repeatable: true,
      },
      context,
    );
    const skewMs = version.serverTimeMs === undefined ? undefined : version.serverTimeMs - context.clock.now();
    return {
      ok: true,
      detail: `site '${site}' is known there and our credentials are good`,
      ...(skewMs === undefined ? {} : { serverTimeSkewMs: skewMs }),
    };
  } catch (error) {
    const fault = asFault(error);
    return { ok: false, detail: fault.message, ...(fault.hint === undefined ? {} : { hint: fault.hint }) };
  }
}
