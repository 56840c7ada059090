import { isAbsolute, normalize } from "node:path";
import { Fault } from "../common/fault.ts";
import { quoted } from "../common/nearest.ts";

/**
 * The path itself when it is the workdir or lies below it, written without `.`, `..` and doubled slashes.
 * @throws Fault UNSAFE_PATH otherwise.
 */
export function confined(workdir: string, path: string): string {
  const plain = isAbsolute(path) && !path.includes("\0") && normalize(path) === path;
  if (plain && (path === workdir || path.startsWith(`${workdir}/`))) return path;
  throw new Fault("UNSAFE_PATH", `${quoted(path, 300)} is not a plain path below the work directory '${workdir}'`);
}

/** A path that leads through a symbolic link: whoever put it there decides where it ends. */
export function linkInPath(path: string, link: string): Fault {
  return new Fault("UNSAFE_PATH", `${quoted(path, 300)} leads through the symbolic link ${quoted(link, 300)}`);
}
