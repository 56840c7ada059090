import { existsSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { homedir } from "node:os";
import { dirname, join, resolve } from "node:path";
import { errnoOf, Fault } from "../common/fault.ts";
import { locate } from "../common/locations.ts";
import type { CliContext } from "./context.ts";
import type { Options } from "./options.ts";
import { siteFilePath } from "./site-file.ts";

/** Same as `controlSocketName` of the wire, without loading its schemas. */
const socketName = "agent.sock";

/** Where the agent on this machine listens, and which site file was meant. */
export interface AgentPlace {
  readonly socket: string;
  /** Absolute; undefined when a socket was named, or no site file was named and none lies in its usual place. */
  readonly siteFile: string | undefined;
  /** False: the site file cannot be read as YAML, so the runtime directory is only the usual one. */
  readonly certain: boolean;
}

/**
 * Flag or SITEAGENT_SOCKET, then the runtime directory of the site file, then the usual place. A site file with problems is no
 * obstacle: an agent that has read an earlier version of it goes on.
 * @throws Fault CONFIG when `--config` or SITEAGENT_CONFIG names a file that is not there.
 */
export async function agentPlace(context: Pick<CliContext, "env" | "cwd">, options: Options): Promise<AgentPlace> {
  const given = options.text("socket") ?? context.env["SITEAGENT_SOCKET"];
  if (given) return { socket: given, siteFile: undefined, certain: true };
  const usual = join(locate("runtime", context.env), socketName);
  const named = options.text("config") ?? context.env["SITEAGENT_CONFIG"];
  const file = siteFilePath(context, named);
  if (!existsSync(file)) {
    if (named)
      throw new Fault("CONFIG", `there is no site file '${file}'`, { hint: "name another one with --config FILE" });
    return { socket: usual, siteFile: undefined, certain: true };
  }
  const read = await runtimeDirOf(file);
  const socket = read.directory === undefined ? usual : join(read.directory, socketName);
  return { socket, siteFile: file, certain: read.certain };
}

/** `agent.runtime_dir` of a file whatever else is wrong in it; `certain` when the text is YAML, so that its absence means something. */
async function runtimeDirOf(
  file: string,
): Promise<{ readonly directory: string | undefined; readonly certain: boolean }> {
  try {
    const [text, { parseDocument }] = await Promise.all([readFile(file, "utf8"), import("yaml")]);
    const document = parseDocument(text, { version: "1.2", schema: "core", prettyErrors: false, logLevel: "silent" });
    const value = document.hasIn(["agent", "runtime_dir"]) ? document.getIn(["agent", "runtime_dir"]) : undefined;
    if (typeof value !== "string" || value === "") {
      return { directory: undefined, certain: document.errors.length === 0 && value === undefined };
    }
    const home = value === "~" ? homedir() : value.startsWith("~/") ? join(homedir(), value.slice(2)) : value;
    return { directory: resolve(dirname(file), home), certain: true };
  } catch (error) {
    if (error instanceof Error && (errnoOf(error) !== undefined || error instanceof RangeError)) {
      return { directory: undefined, certain: false };
    }
    throw error;
  }
}

/**
 * What is wrong with a site file; undefined when nothing is. Secrets and certificates are left out: they may be readable only where the
 * agent runs, as credentials of its unit are.
 */
export async function siteFileFault(file: string, env: NodeJS.ProcessEnv): Promise<Fault | undefined> {
  const [{ loadConfig }, { loadSite }, { ConfigProblems }, { builtInRegistries }, { siteSchema }] = await Promise.all([
    import("../config/load.ts"),
    import("../config/compile.ts"),
    import("../config/problems.ts"),
    import("../config/registries.ts"),
    import("../config/site-schema.ts"),
  ]);
  let fitsSchema = false;
  try {
    await loadConfig(file, siteSchema);
    fitsSchema = true;
    await loadSite(file, builtInRegistries, { env });
    return undefined;
  } catch (error) {
    if (!(error instanceof ConfigProblems)) throw error;
    if (!fitsSchema) return error;
    const own = error.problems.filter(({ path }) => !ofTheUnit.test(path));
    return own.length === 0 ? undefined : new ConfigProblems(file, own);
  }
}

const ofTheUnit = /^api\.(?:client_secret|ca_file)\b|^apps\..*\.parameters\..*\.file$/;
