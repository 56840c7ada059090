import { createHash } from "node:crypto";
import { mkdir, readFile } from "node:fs/promises";
import { dirname, join, resolve } from "node:path";
import type { ModuleFacts } from "../adapters/stand-in.ts";
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

export interface LastGood {
  readonly text: string;
  /** What the modules of the site's own adapters were, by name. */
  readonly adapters: Readonly<Record<string, ModuleFacts>>;
}

/** Keeps the text that was just loaded from `siteFile`. */
export async function keepLastGood(siteFile: string, { text, adapters }: LastGood): Promise<void> {
  const place = placeOf(siteFile);
  await mkdir(dirname(place), { recursive: true, mode: 0o700 });
  await keep(place, text);
  await keep(factsBeside(place), JSON.stringify(adapters));
}

/** The last good file; undefined when none was kept. */
export async function readLastGood(siteFile: string): Promise<LastGood | undefined> {
  const place = placeOf(siteFile);
  const text = await readIfThere(place);
  if (text === undefined) return undefined;
  const adapters = JSON.parse((await readIfThere(factsBeside(place))) ?? "{}") as LastGood["adapters"];
  return { text, adapters };
}

function factsBeside(place: string): string {
  return place.replace(/\.yaml$/, ".adapters.json");
}

async function keep(place: string, text: string): Promise<void> {
  await removeUnfinished(place);
  if ((await readIfThere(place)) !== text) await durableReplace(place, text);
}

async function readIfThere(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, "utf8");
  } catch (error) {
    if (errnoOf(error) === "ENOENT") return undefined;
    throw error;
  }
}
