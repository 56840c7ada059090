import { join } from "node:path";
import type { Compiling } from "./compiling.ts";
import type { SiteAgent, SiteCache, SiteHost } from "./types.ts";

/** Beside the directories of jobs, whose names are tokens: on their file system blocks can be shared. */
const usualName = "input-cache";

/** Undefined: the site has none. */
export function compileCache(
  { settings, absolute, loaded }: Compiling,
  agent: SiteAgent,
  hosts: Readonly<Record<string, SiteHost>>,
): SiteCache | undefined {
  const { cache } = settings;
  if (cache === undefined) return undefined;
  if (cache.max_size === 0) {
    const message = "a cache of '0B' holds nothing";
    loaded.report.add({ path: ["cache", "max_size"], message, allowed: "more than 0; without 'cache' there is none" });
  }
  const here = Object.values(hosts).find(({ kind }) => kind === "local")?.workdir ?? agent.stateDir;
  return {
    directory: cache.directory === undefined ? join(here, usualName) : absolute(cache.directory),
    maxBytes: cache.max_size,
    placing: cache.place,
    trust: cache.trust,
    minFreeBytes: agent.minFreeSpaceBytes,
  };
}
