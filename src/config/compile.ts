import { homedir } from "node:os";
import { dirname, join, normalize, resolve } from "node:path";
import type { ModuleFacts } from "../adapters/stand-in.ts";
import type { JsonObject } from "../common/json.ts";
import { locate } from "../common/locations.ts";
import { isNeverInherited } from "../jobs/environment.ts";
import { compileAdapters } from "./compile-adapters.ts";
import { compileCache } from "./compile-cache.ts";
import { compileApps } from "./compile-apps.ts";
import { checkImageRules } from "./compile-container.ts";
import { checkSearchPath, compileHosts } from "./compile-hosts.ts";
import { compileGpus } from "./compile-gpus.ts";
import { compileGlobus } from "./compile-globus.ts";
import { compileRemotes } from "./compile-remotes.ts";
import { checkReadable, checkSecret, type Compiling } from "./compiling.ts";
import { fingerprint } from "./fingerprint.ts";
import { type LoadedConfig, loadConfig, parseConfig } from "./load.ts";
import { memberOf } from "./json-schema.ts";
import type { z } from "zod";
import type { Registries } from "./registries.ts";
import { addSettingsProblems } from "./settings-problems.ts";
import { defaultSlots, type SiteSettings, siteSchema } from "./site-schema.ts";
import type { Site, SiteAgent, SiteApi, SiteHost, SitePolicy, SiteRemote, SiteTarget } from "./types.ts";
import { checkUrlRule, expandRemote, isLoopback, privateFlaw } from "./urls.ts";

export interface CompileOptions {
  /** Environment of this process; decides default directories and systemd credentials. */
  readonly env?: NodeJS.ProcessEnv | undefined;
  /** Home directory for `~`. */
  readonly home?: string | undefined;
  /** What modules of the site's own adapters were, by name: one of them that cannot be loaded is stood in for, and no problem. */
  readonly standIns?: Readonly<Record<string, ModuleFacts>> | undefined;
}

/** A control socket below a longer directory would exceed the 108 bytes that a socket's address may have. */
const maxRuntimeDirBytes = 90;
const minPollMs = 50;

/**
 * Reads, checks and compiles a site file: the one call of the agent at start and at each reload.
 * @throws ConfigProblems (CONFIG) with all problems, each with its place.
 */
export async function loadSite(path: string, registries: Registries, options: CompileOptions = {}): Promise<Site> {
  return compileSite(await loadConfig(path, siteSchema, withoutMisfits), registries, options);
}

/** The same for text; relative paths are resolved against the directory of `file`. */
export async function parseSite(
  text: string,
  file: string,
  registries: Registries,
  options: CompileOptions = {},
): Promise<Site> {
  return compileSite(parseConfig(text, resolve(file), siteSchema, withoutMisfits), registries, options);
}

/** Unknown keys and apps that do not fit are left out for the cross checks; anything else would make them find what is not there. */
function withoutMisfits(data: unknown, issues: readonly z.core.$ZodIssue[]): unknown {
  for (const issue of issues) {
    const [section, name] = issue.path;
    const unknownKeys = issue.code === "unrecognized_keys";
    const place = unknownKeys ? issue.path : [section];
    if (!unknownKeys && (section !== "apps" || name === undefined)) return undefined;
    let node: unknown = data;
    for (const step of place) node = node === undefined ? undefined : memberOf(node, step as PropertyKey);
    if (typeof node !== "object" || node === null) continue; // inside of what is left out already
    for (const key of unknownKeys ? issue.keys : [String(name)]) Reflect.deleteProperty(node, key);
  }
  return data;
}

export async function compileSite(
  loaded: LoadedConfig<SiteSettings>,
  registries: Registries,
  options: CompileOptions = {},
): Promise<Site> {
  const { settings, file, report } = loaded;
  const home = options.home ?? homedir();
  const base = dirname(file);
  const absolute = (path: string): string => absolutePath(path, base, home);
  const given: Compiling = { loaded, settings, registries, env: options.env ?? process.env, absolute };
  const own = await compileAdapters(given, options.standIns ?? {});
  const compiling: Compiling = { ...given, registries: own.registries };
  const agent = compileAgent(compiling);
  const api = await compileApi(compiling);
  const hosts = await compileHosts(compiling, agent.stateDir);
  const targets = compileTargets(compiling, hosts);
  const remotes = await compileRemotes(compiling, hosts);
  const globus = await compileGlobus(compiling);
  const policy = compilePolicyRules(compiling, remotes);
  const cache = compileCache(compiling, agent, hosts);
  checkImageRules(compiling);
  const apps = await compileApps(compiling, { targets, hosts, remotes });
  report.finish();
  const site: Omit<Site, "file" | "digest"> = {
    id: settings.site,
    api,
    agent,
    adapters: own.adapters,
    hosts,
    targets,
    remotes,
    globus,
    policy,
    cache,
    maxOutputBytes: settings.max_output,
    hooks: { maxTimeoutMs: settings.hooks.max_timeout, maxOutputBytes: settings.hooks.max_output },
    apps,
    appDigests: Object.fromEntries(Object.entries(apps).map(([name, app]) => [name, fingerprint(app)])),
  };
  const adapters = Object.values(site.adapters).map(({ digest }) => digest);
  return Object.freeze({ file, digest: fingerprint({ ...site, adapters }), ...site });
}

function absolutePath(path: string, base: string, home: string): string {
  const expanded = path === "~" ? home : path.startsWith("~/") ? join(home, path.slice(2)) : path;
  const full = normalize(resolve(base, expanded));
  return full.length > 1 && full.endsWith("/") ? full.slice(0, -1) : full;
}

function compileAgent(compiling: Compiling): SiteAgent {
  const { settings, env, absolute, loaded } = compiling;
  const { agent } = settings;
  const runtimeDir = agent.runtime_dir === undefined ? locate("runtime", env) : absolute(agent.runtime_dir);
  if (Buffer.byteLength(runtimeDir) > maxRuntimeDirBytes) {
    loaded.report.add({
      path: ["agent", "runtime_dir"],
      message: `'${runtimeDir}' is too long for the directory of a socket`,
      value: runtimeDir,
      allowed: `at most ${maxRuntimeDirBytes} bytes`,
    });
  }
  checkSearchPath(compiling, ["agent", "path"], agent.path);
  for (const [index, name] of agent.environment.entries()) {
    if (!isNeverInherited(name)) continue;
    const message = `'${name}' is never handed on: it would give the agent's identity or settings to jobs`;
    loaded.report.add({ path: ["agent", "environment", index], message, value: name, allowed: "other variables" });
  }
  return {
    stateDir: agent.state_dir === undefined ? resolve(locate("state", env)) : absolute(agent.state_dir),
    runtimeDir,
    logLevel: agent.log_level,
    report: agent.report,
    keepMs: agent.keep,
    maxJobs: agent.max_jobs,
    environment: agent.environment,
    path: agent.path,
    minFreeSpaceBytes: agent.min_free_space,
    claim: agent.claim,
  };
}

async function compileApi(compiling: Compiling): Promise<SiteApi> {
  const { settings, absolute, loaded } = compiling;
  const { api } = settings;
  const url = checkApiUrl(compiling);
  const caFile = api.ca_file === undefined ? undefined : absolute(api.ca_file);
  if (caFile !== undefined) checkReadable(compiling, ["api", "ca_file"], caFile);
  if (api.poll < minPollMs) {
    loaded.report.add({
      path: ["api", "poll"],
      message: `'${api.poll}ms' is too short`,
      allowed: `at least ${minPollMs}ms`,
    });
  }
  if (api.timeout <= 0)
    loaded.report.add({ path: ["api", "timeout"], message: "'0s' is no time limit", allowed: "more than 0" });
  return {
    url,
    clientId: api.client_id,
    clientSecret: await checkSecret(compiling, ["api", "client_secret"], api.client_secret),
    dialect: api.dialect,
    pollMs: api.poll,
    timeoutMs: api.timeout,
    caFile,
  };
}

function checkApiUrl({ settings, loaded }: Compiling): string {
  const { url: text, allow_http: allowHttp } = settings.api;
  const path = ["api", "url"];
  const allowed = "an address as https://api.example.org, without user, query and fragment";
  const url = URL.parse(text);
  if (!url || !["http:", "https:"].includes(url.protocol) || url.username || url.password || url.search || url.hash) {
    const message = url?.password ? "the address holds a password" : `'${text}' is not the address of an API`;
    loaded.report.add({ path, message, value: url?.password ? undefined : text, allowed });
    return text;
  }
  if (url.protocol === "http:" && !allowHttp && !isLoopback(url.hostname)) {
    const message = `'${text}' would send the client secret in clear`;
    loaded.report.add({
      path,
      message,
      value: text,
      allowed: "https://, http:// to this machine, or api.allow_http: true",
    });
  }
  return `${url.origin}${url.pathname.replace(/\/+$/, "")}`;
}

function compileTargets(compiling: Compiling, hosts: Readonly<Record<string, SiteHost>>): Record<string, SiteTarget> {
  const { settings, registries, loaded } = compiling;
  const targets: Record<string, SiteTarget> = {};
  for (const [name, target] of Object.entries(settings.targets)) {
    const { host, launcher, slots, cores, memory, gpus: _gpus, gpu_vendor: _vendor, ...rest } = target;
    const path = ["targets", name];
    if (!Object.hasOwn(settings.hosts, host)) {
      const known = Object.keys(settings.hosts);
      loaded.report.add({
        path: [...path, "host"],
        message: `'${host}' is not a host of this file`,
        value: host,
        known,
      });
    }
    const kind = Object.hasOwn(registries.launchers, launcher) ? registries.launchers[launcher] : undefined;
    if (kind) {
      if (kind.schedules) checkScheduler(compiling, path, rest["scheduler"]);
      const checked = kind.settings.safeParse(rest);
      if (!checked.success)
        addSettingsProblems(loaded, path, { schema: kind.settings, issues: checked.error.issues }, commonKeys);
      const there = hosts[host]?.kind ?? "local";
      if (kind.here && there !== "local") {
        const way = there === "ssh" ? "is reached by SSH" : "leads elsewhere";
        const message = `launcher '${launcher}' starts attempts on this machine, and host '${host}' ${way}`;
        const allowed = "a host without ssh, or a launcher that hands attempts to a scheduler, as batch";
        loaded.report.add({ path: [...path, "launcher"], message, value: launcher, allowed });
      }
    } else {
      const known = Object.keys(registries.launchers);
      const message = `'${launcher}' is not a launcher of this version`;
      loaded.report.add({ path: [...path, "launcher"], message, value: launcher, known });
    }
    const allocation = kind?.allocation ?? false;
    const gpus = compileGpus(compiling, path, target, allocation);
    const common = {
      name,
      host,
      launcher,
      slots: slots ?? kind?.slots ?? defaultSlots(),
      cores,
      memoryBytes: memory,
      ...gpus,
    };
    const shared = !allocation || kind?.packs === true;
    targets[name] = { ...common, allocation, shared, settings: rest as JsonObject };
  }
  return targets;
}

/** Keys of every target, whatever its launcher. */
const commonKeys = ["host", "launcher", "slots", "cores", "memory", "gpus", "gpu_vendor"] as const;

function checkScheduler({ registries, loaded }: Compiling, path: readonly string[], scheduler: unknown): void {
  if (typeof scheduler !== "string" || registries.schedulers.includes(scheduler)) return;
  const message = `'${scheduler}' is neither a scheduler of this version nor one under adapters`;
  loaded.report.add({ path: [...path, "scheduler"], message, value: scheduler, known: registries.schedulers });
}

/** The rules with the URLs of remotes in the place of their names. */
function compilePolicyRules(
  { settings, registries, loaded }: Compiling,
  remotes: Readonly<Record<string, SiteRemote>>,
): SitePolicy {
  const rulesOf = (side: "sources" | "destinations"): readonly string[] =>
    settings.policy[side].map((text, index) => {
      const rule = expandRemote(text, remotes);
      const problem = checkUrlRule(rule, registries.schemes, "rule", Object.keys(remotes));
      if (problem) loaded.report.add({ path: ["policy", side, index], ...problem });
      return rule;
    });
  const rules = { sources: rulesOf("sources"), destinations: rulesOf("destinations") };
  for (const [index, entry] of settings.policy.allow_private.entries()) {
    const message = privateFlaw(entry);
    if (message === undefined) continue;
    const allowed = "10.1.2.3, 10.0.0.0/8, store.lab.example.org";
    loaded.report.add({ path: ["policy", "allow_private", index], message, value: entry, allowed });
  }
  return { ...settings.policy, ...rules };
}
