import { existsSync } from "node:fs";
import { join, resolve } from "node:path";
import { Fault } from "../common/fault.ts";
import { locate } from "../common/locations.ts";
import type { CliContext } from "./context.ts";

/** The site file that is meant: the given one, SITEAGENT_CONFIG, or the one in the configuration directory. Absolute. */
export function siteFilePath(context: Pick<CliContext, "env" | "cwd">, given: string | undefined): string {
  const text = given ?? context.env["SITEAGENT_CONFIG"];
  return text ? resolve(context.cwd, text) : join(locate("config", context.env), "site.yaml");
}

/** The same, and it is there. @throws Fault CONFIG with the way to make one. */
export function existingSiteFile(context: Pick<CliContext, "env" | "cwd">, given: string | undefined): string {
  const path = siteFilePath(context, given);
  if (existsSync(path)) return path;
  throw new Fault("CONFIG", `there is no site file '${path}'`, {
    hint: given === undefined ? "make one with: siteagent init" : "name another one with --config FILE",
  });
}
