/** Whose directory a cache of inputs is: nobody else may put a file there that jobs would get, and two agents would evict each other's. */
import { lstat, mkdir, readdir, readFile, stat } from "node:fs/promises";
import { join } from "node:path";
import { Fault, errnoOf } from "../../common/fault.ts";
import { durableReplace, removeUnfinished } from "../../common/files.ts";
import { quoted } from "../../common/nearest.ts";

const marker = "siteagent-cache.json";
const version = 1;

/** What lies in the directory of a cache. */
export interface CachePlaces {
  /** Complete files by digest: `ab/ab…`. */
  readonly objects: string;
  /** Which version of which URL had which digest: symbolic links that lead nowhere, `ab/ab…` → digest. */
  readonly facts: string;
  /** Files that are being written. */
  readonly unfinished: string;
}

export function cachePlaces(directory: string): CachePlaces {
  return { objects: join(directory, "objects"), facts: join(directory, "facts"), unfinished: join(directory, "new") };
}

/**
 * Makes the directory (0700) or takes up the one that the same agent made.
 * @throws Fault UNSAFE_PATH: somebody else's, writable for others, or with something else in it; system errors as Node gives them.
 */
export async function takeDirectory(directory: string, agent: string): Promise<CachePlaces> {
  await mkdir(directory, { recursive: true, mode: 0o700 });
  const problem = await directoryProblem(directory, agent);
  if (problem !== undefined) {
    const { hint } = problem;
    throw new Fault("UNSAFE_PATH", `the cache of inputs ${quoted(directory)} is not used: ${problem.what}`, { hint });
  }
  const path = join(directory, marker);
  await removeUnfinished(path);
  if ((await readMarker(path)) === undefined) await durableReplace(path, `${JSON.stringify({ version, agent })}\n`);
  const places = cachePlaces(directory);
  for (const place of Object.values(places)) await mkdir(place, { recursive: true, mode: 0o700 });
  return places;
}

export interface DirectoryProblem {
  readonly what: string;
  readonly hint: string;
}

/** Why an existing directory cannot be the cache of `agent` (undefined: of whichever agent runs as this account). */
export async function directoryProblem(
  directory: string,
  agent: string | undefined,
): Promise<DirectoryProblem | undefined> {
  const { uid, mode } = await stat(directory);
  const own = process.getuid?.() ?? 0;
  if (uid !== own) return { what: `it belongs to uid ${uid}, this is ${own}`, hint: another };
  if ((mode & 0o022) !== 0) {
    const text = (mode & 0o7777).toString(8).padStart(4, "0");
    return { what: `others may write to it (mode ${text})`, hint: `chmod 700 '${directory}'` };
  }
  const found = await readMarker(join(directory, marker));
  if (found === undefined) {
    const names = (await readdir(directory)).filter((name) => !name.startsWith(marker));
    if (names.length === 0) return undefined;
    return { what: "it holds files that are no cache", hint: another };
  }
  if (found.version !== version) return { what: "it was made by another version of siteagent", hint: another };
  if (agent === undefined || found.agent === agent) return undefined;
  return { what: "it is that of another agent", hint: `${another}, or remove it when no agent uses it any more` };
}

const another = "name another cache.directory in the site file";

interface Marker {
  readonly version: unknown;
  readonly agent: unknown;
}

/** Undefined when there is none. */
async function readMarker(path: string): Promise<Marker | undefined> {
  try {
    if (!(await lstat(path)).isFile()) return { version: undefined, agent: undefined };
    const found: unknown = JSON.parse(await readFile(path, "utf8"));
    if (typeof found !== "object" || found === null) return { version: undefined, agent: undefined };
    return { version: Reflect.get(found, "version"), agent: Reflect.get(found, "agent") };
  } catch (error) {
    if (errnoOf(error) === "ENOENT") return undefined;
    if (errnoOf(error) === undefined) return { version: undefined, agent: undefined };
    throw error;
  }
}
