import { createHash } from "node:crypto";
import { mkdir, readFile } from "node:fs/promises";
import { dirname, join, resolve } from "node:path";
import { errnoOf } from "../common/fault.ts";
import { durableReplace, removeUnfinished } from "../common/files.ts";
import { locate } from "../common/locations.ts";

/**
 * A copy of each site file that an agent took, so that a file that is broken at a cold start leaves no running job alone (fault H16).
 * It lies in the default state directory, not the site's own: a broken file does not say where that is.
 */
function placeOf(siteFile: string): string {
  const name = createHash("sha256").update(resolve(siteFile)).digest("hex").slice(0, 32);
  return join(locate("state"), "last-good", `${name}.yaml`);
}

/** Keeps the text that was just loaded from `siteFile`. */
export async function keepLastGood(siteFile: string, text: string): Promise<void> {
  const place = placeOf(siteFile);
  await mkdir(dirname(place), { recursive: true, mode: 0o700 });
  await removeUnfinished(place);
  if ((await readLastGood(siteFile)) !== text) await durableReplace(place, text);
}

/** The text of the last good file; undefined when none was kept. */
export async function readLastGood(siteFile: string): Promise<string | undefined> {
  try {
    return await readFile(placeOf(siteFile), "utf8");
  } catch (error) {
    if (errnoOf(error) === "ENOENT") return undefined;
    throw error;
  }
}
