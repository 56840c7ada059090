/** Builds what concerns the site's Globus collection; part of src/compose.ts, the only place that builds concrete adapters. */
import { join } from "node:path";
import type { Probe } from "./common/adapter.ts";
import type { CallContext } from "./common/context.ts";
import { asFault } from "./common/fault.ts";
import { secretPlace } from "./config/secrets.ts";
import type { Site } from "./config/types.ts";
import { createGlobusTransfer } from "./transfer/globus/index.ts";
import { ownPath } from "./transfer/globus/places.ts";
import type { GlobusSettings } from "./transfer/globus/types.ts";
import { compilePolicy } from "./transfer/policy.ts";

export function globusSettings({ globus, agent }: Pick<Site, "globus" | "agent">): GlobusSettings | undefined {
  return globus && { ...globus, credentials: secretPlace(globus.credentials), notes: join(agent.stateDir, "globus") };
}

/** Whether `globus:` URLs can be used now, and from all work directories of this machine. For `siteagent doctor`. */
export async function probeGlobus(site: Site, context: CallContext): Promise<Probe | undefined> {
  const settings = globusSettings(site);
  if (!settings) return undefined;
  await using adapter = createGlobusTransfer({ policy: compilePolicy(site.policy), globus: settings });
  for (const { kind, workdir } of Object.values(site.hosts)) {
    if (kind !== "local") continue;
    try {
      ownPath(settings, workdir);
    } catch (error) {
      const { message, hint = "" } = asFault(error);
      return { ok: false, reason: message, hint };
    }
  }
  return await adapter.probe(context);
}
