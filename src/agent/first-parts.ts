import { asFault, type Fault, isFault } from "../common/fault.ts";
import type { AgentDeps, SiteParts } from "./deps.ts";

/**
 * The configuration to start with. A broken site file stops nothing that runs: with the last good copy held jobs are followed to
 * their end, and nothing is claimed until the file is mended and reloaded.
 * @throws Fault CONFIG, SECRET when there is no good copy either
 */
export async function firstParts(
  deps: Pick<AgentDeps, "loadParts" | "loadLastGood" | "log">,
): Promise<{ readonly parts: SiteParts; readonly broken: Fault | undefined }> {
  try {
    return { parts: await deps.loadParts(), broken: undefined };
  } catch (error) {
    const broken = asFault(error);
    const parts = isFault(broken, "CONFIG", "SECRET") ? await lastGood(deps) : undefined;
    if (!parts) throw broken;
    return { parts, broken };
  }
}

async function lastGood(deps: Pick<AgentDeps, "loadLastGood" | "log">): Promise<SiteParts | undefined> {
  try {
    return await deps.loadLastGood();
  } catch (error) {
    deps.log.warn({ err: asFault(error) }, "the last good copy of the site file cannot be used either");
    return undefined;
  }
}
