import { dirname } from "node:path";

export { packageRoot, packageVersion } from "../common/version.ts";

/** `src` when it runs from the sources, `dist` when compiled. */
export function buildKind(): string {
  return import.meta.filename.endsWith(".ts") ? "source" : "release";
}

export function programPath(): string {
  return dirname(import.meta.dirname);
}
