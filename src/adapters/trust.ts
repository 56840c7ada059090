/** Whose code runs as this account: a module of the site file, like the site file itself, must be nobody else's to change. */
import { realpathSync, statSync } from "node:fs";
import { dirname } from "node:path";
import { errnoOf } from "../common/fault.ts";

export interface Flaw {
  readonly message: string;
  /** What would be right, and how to make it so. */
  readonly allowed: string;
}

/**
 * The file's own path, links resolved, or why it cannot be trusted: it, and each directory above it, must belong to this account or to root,
 * and nobody else may write there (in a directory with the sticky bit, as /tmp, others cannot replace it).
 */
export function trustedPath(path: string): { readonly path: string } | Flaw {
  let real: string;
  try {
    real = realpathSync(path);
  } catch (error) {
    const why = errnoOf(error) === "ENOENT" ? "no such file" : `it cannot be reached: ${errnoOf(error)}`;
    return { message: `'${path}': ${why}`, allowed: "the path of an ES module, absolute or beside the site file" };
  }
  const found = statSync(real);
  if (!found.isFile()) return { message: `'${path}' is not a plain file`, allowed: "an ES module" };
  const flaw = flawOf(real, found.mode, found.uid) ?? directoryFlaw(dirname(real)) ?? directoryFlaw(dirname(path));
  return flaw ?? { path: real };
}

function directoryFlaw(path: string): Flaw | undefined {
  const { mode, uid } = statSync(path);
  const sticky = (mode & 0o1000) !== 0;
  const flaw = flawOf(path, sticky ? mode & ~0o022 : mode, uid);
  if (flaw || dirname(path) === path) return flaw;
  return directoryFlaw(dirname(path));
}

function flawOf(path: string, mode: number, uid: number): Flaw | undefined {
  const own = process.getuid?.() ?? 0;
  if (uid !== own && uid !== 0) {
    const message = `'${path}' belongs to uid '${uid}', whose code would run as this account`;
    return { message, allowed: `owner '${own}' or '0': chown ${own} '${path}'` };
  }
  if ((mode & 0o022) === 0) return undefined;
  const text = (mode & 0o7777).toString(8).padStart(4, "0");
  const message = `'${path}' has mode '${text}': others could put code there that would run as this account`;
  return { message, allowed: `no write permission for group and others: chmod go-w '${path}'` };
}
