import { chmod, mkdir, readFile, rm, stat } from "node:fs/promises";
import { join } from "node:path";
import { durableReplace } from "../common/files.ts";
import { errnoOf, Fault } from "../common/fault.ts";
import { isJsonObject } from "../common/json.ts";
import { locate } from "../common/locations.ts";

/** What `siteagent login` remembers. */
export interface Profile {
  readonly hub: string;
  readonly token: string;
  /** ISO 8601; null = the hub did not say. */
  readonly expires_at: string | null;
  readonly user: string;
}

export function profilePath(env: NodeJS.ProcessEnv): string {
  return join(locate("config", env), "profile.json");
}

/** The remembered hub, if there is one. @throws Fault SECRET when others can read it, CONFIG when it is damaged. */
export async function readProfile(env: NodeJS.ProcessEnv): Promise<Profile | undefined> {
  const path = profilePath(env);
  let text: string;
  try {
    const { mode } = await stat(path);
    if ((mode & 0o077) !== 0) {
      throw new Fault("SECRET", `the profile '${path}' can be read by others`, { hint: `chmod 600 '${path}'` });
    }
    text = await readFile(path, "utf8");
  } catch (error) {
    if (errnoOf(error) === "ENOENT" || errnoOf(error) === "ENOTDIR") return undefined;
    throw error;
  }
  const profile = profileOf(parseJson(text));
  if (profile) return profile;
  throw new Fault("CONFIG", `the profile '${path}' is damaged`, { hint: "log in again: siteagent login --hub URL" });
}

/** Checked by hand: completion reads it too, and has no time to load a schema. */
function profileOf(data: unknown): Profile | undefined {
  if (!isJsonObject(data)) return undefined;
  const { hub, token, expires_at: expires, user } = data;
  if (typeof hub !== "string" || typeof token !== "string") return undefined;
  return {
    hub,
    token,
    expires_at: typeof expires === "string" ? expires : null,
    user: typeof user === "string" ? user : "",
  };
}

/** Keeps it with mode 0600 in a directory with mode 0700; gives its path. */
export async function writeProfile(env: NodeJS.ProcessEnv, profile: Profile): Promise<string> {
  const path = profilePath(env);
  const made = await mkdir(locate("config", env), { recursive: true, mode: 0o700 });
  if (made !== undefined) await chmod(locate("config", env), 0o700);
  await durableReplace(path, `${JSON.stringify(profile, null, 2)}\n`);
  return path;
}

/** True when there was one. */
export async function removeProfile(env: NodeJS.ProcessEnv): Promise<boolean> {
  try {
    await rm(profilePath(env));
    return true;
  } catch (error) {
    if (errnoOf(error) === "ENOENT") return false;
    throw error;
  }
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
