import { constants } from "node:fs";
import { access, stat } from "node:fs/promises";
import { isAbsolute, join } from "node:path";
import { isFault } from "../../common/fault.ts";
import { readSecret } from "../../config/secrets.ts";
import type { Site } from "../../config/types.ts";
import { shellQuoted } from "../../common/shell.ts";
import { type Check, type DoctorFacts, failing, type Finding, ok, skipped, warning } from "./types.ts";
import { counted } from "../format/text.ts";

/** Checks of the site file and what it names. */
export const siteChecks: readonly Check[] = [
  { id: "config", title: "Site file", area: "site", run: configValid },
  { id: "config-mode", title: "Owner and mode of the site file", area: "site", run: configMode },
  { id: "secret", title: "Client secret", area: "site", run: withSite(secret) },
  { id: "apps", title: "Commands of the apps", area: "site", run: withSite(apps) },
  { id: "app-path", title: "PATH of jobs", area: "site", run: withSite(jobPath) },
  { id: "policy", title: "Policy for URLs", area: "site", run: withSite(policy) },
  { id: "allow-http", title: "Encryption to central", area: "site", run: withSite(encryption) },
];

/** Skipped where there is no site. */
export function withSite(check: (site: Site, facts: DoctorFacts) => Promise<Finding> | Finding): Check["run"] {
  return (facts) => (facts.site ? check(facts.site, facts) : skipped("no site file that can be used"));
}

function configValid({ site, siteFile, siteProblem }: DoctorFacts): Finding {
  if (site) return ok(`${siteFile}: site '${site.id}'`);
  const missing = siteProblem === undefined;
  return failing(
    missing ? `${siteFile} is not there` : siteProblem,
    "without it the agent does not start",
    missing ? "siteagent init" : `siteagent validate ${shellQuoted(siteFile)}`,
  );
}

async function configMode({ siteFile, site }: DoctorFacts): Promise<Finding> {
  if (!site) return skipped("no site file that can be used");
  const { mode, uid } = await stat(siteFile);
  const own = process.getuid?.() ?? 0;
  const text = (mode & 0o7777).toString(8).padStart(4, "0");
  if ((mode & 0o022) !== 0) {
    return failing(
      `mode ${text}`,
      "who can change it can run anything as this account",
      `chmod 600 ${shellQuoted(siteFile)}`,
    );
  }
  if (uid !== own && uid !== 0) {
    return failing(
      `belongs to uid ${uid}`,
      "who owns it can run anything as this account",
      `chown ${own} ${shellQuoted(siteFile)}`,
    );
  }
  return ok(`mode ${text}`);
}

async function secret(site: Site): Promise<Finding> {
  const ref = site.api.clientSecret;
  try {
    await readSecret(ref);
    return ok(`${ref.label}, for this account only`);
  } catch (error) {
    if (!isFault(error, "SECRET")) throw error;
    return failing(
      error.message,
      "without it central does not know us",
      error.hint ?? `install -m 600 /dev/stdin ${shellQuoted(ref.path)}`,
    );
  }
}

async function apps(site: Site): Promise<Finding> {
  const all = Object.values(site.apps);
  if (all.length === 0) {
    return warning(
      "no app is registered",
      "nothing will ever be claimed",
      "add one under `apps:`, see config/site.example.yaml",
    );
  }
  const bad: string[] = [];
  for (const app of all) {
    const [program = ""] = app.command;
    const { kind } = site.hosts[site.targets[app.target]?.host ?? ""] ?? {};
    if (kind !== undefined && kind !== "local") continue; // it lies there, not here
    if (program.includes("{{")) continue;
    if (!(await executable(program, site.agent.path)))
      bad.push(`app '${app.name}': '${program}' is not there or cannot be run`);
  }
  if (bad.length === 0) return ok(`${counted(all.length, "app")}, all commands are there`);
  return warning(
    bad.join("; "),
    "its jobs would fail at their start",
    `install it, name it by its whole path, or extend agent.path (${site.agent.path})`,
  );
}

async function executable(program: string, path: string): Promise<boolean> {
  const candidates = isAbsolute(program) ? [program] : path.split(":").map((directory) => join(directory, program));
  for (const candidate of candidates) {
    try {
      await access(candidate, constants.X_OK);
      if ((await stat(candidate)).isFile()) return true;
    } catch {
      // the next one
    }
  }
  return false;
}

async function jobPath(site: Site): Promise<Finding> {
  const missing: string[] = [];
  const open: string[] = [];
  for (const directory of site.agent.path.split(":")) {
    try {
      const { mode } = await stat(directory);
      if ((mode & 0o002) !== 0 && (mode & 0o1000) === 0) open.push(directory);
    } catch {
      missing.push(directory);
    }
  }
  if (open.length > 0) {
    return failing(
      `everybody may write to ${open.join(", ")}`,
      "anybody could put a program there that jobs run",
      `chmod o-w ${open.map(shellQuoted).join(" ")}`,
    );
  }
  if (missing.length > 0) {
    return warning(
      `${missing.join(", ")} is not there`,
      "programs are looked for in vain",
      "correct agent.path in the site file",
    );
  }
  return ok(site.agent.path);
}

function policy(site: Site): Finding {
  const { sources, destinations } = site.policy;
  if (sources.length + destinations.length > 0) {
    return ok(`${counted(sources.length, "source")}, ${counted(destinations.length, "destination")}`);
  }
  const needing = Object.values(site.apps).filter(
    (app) => Object.keys(app.inputs).length > 0 || Object.values(app.outputs).some((output) => output.to !== undefined),
  );
  if (needing.length === 0) return ok("empty, and no app moves files by URL");
  return warning(
    `empty, but ${needing.map((app) => `'${app.name}'`).join(", ")} move files by URL`,
    "every URL is refused, so their jobs fail",
    "add prefixes under policy.sources and policy.destinations",
  );
}

const localNames = new Set(["localhost", "127.0.0.1", "[::1]"]);

function encryption(site: Site): Finding {
  const url = new URL(site.api.url);
  if (url.protocol === "https:") return ok("https");
  if (localNames.has(url.hostname)) return ok("http, on this machine only");
  return warning(
    `http to ${url.hostname} (allow_http)`,
    "the client secret and all tokens travel in clear",
    "use the https:// address, and remove api.allow_http",
  );
}
