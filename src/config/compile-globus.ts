import { isAbsolute, normalize } from "node:path/posix";
import { checkSecret, type Compiling } from "./compiling.ts";
import type { SiteGlobus } from "./types.ts";
import { addressProblem } from "./urls.ts";

/** Undefined: the site has no collection. */
export async function compileGlobus(compiling: Compiling): Promise<SiteGlobus | undefined> {
  const { globus } = compiling.settings;
  if (!globus) return undefined;
  const { collection, encrypt, checksum, deadline: deadlineMs } = globus;
  const paths = globus.paths.map(({ local, remote }, index) => ({
    local: directoryOf(compiling, index, "local", local),
    remote: directoryOf(compiling, index, "remote", remote),
  }));
  if (deadlineMs <= 0) {
    const message = "'0s' is no time limit";
    compiling.loaded.report.add({ path: ["globus", "deadline"], message, allowed: "more than 0" });
  }
  const api = addressOf(compiling, "api", globus.api);
  const auth = addressOf(compiling, "auth", globus.auth);
  const credentials = await checkSecret(compiling, ["globus", "credentials"], globus.credentials);
  return { collection, paths, credentials, encrypt, checksum, deadlineMs, api, auth };
}

function addressOf({ loaded }: Compiling, key: "api" | "auth", text: string): string {
  const problem = addressProblem(text);
  if (problem !== undefined) {
    const allowed = "https://, or http:// to this machine";
    loaded.report.add({ path: ["globus", key], message: problem, allowed });
  }
  return text.replace(/\/+$/, "");
}

/** Without a slash at the end, but for `/`. */
function directoryOf({ loaded }: Compiling, index: number, key: "local" | "remote", text: string): string {
  const clean = normalize(text);
  if (!isAbsolute(text) || text.split("/").includes("..")) {
    const message = `'${text}' is not an absolute path`;
    loaded.report.add({ path: ["globus", "paths", index, key], message, value: text, allowed: "an absolute path" });
  }
  return clean.length > 1 ? clean.replace(/\/$/, "") : clean;
}
