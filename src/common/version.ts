import { readFileSync } from "node:fs";
import { join } from "node:path";

/** The directory that holds package.json, also from the compiled program. */
export const packageRoot: string = join(import.meta.dirname, "..", "..");

/** Of the package. */
export function packageVersion(): string {
  const parsed: unknown = JSON.parse(readFileSync(join(packageRoot, "package.json"), "utf8"));
  const version = typeof parsed === "object" && parsed !== null && "version" in parsed ? parsed.version : undefined;
  return typeof version === "string" ? version : "0.0.0";
}
