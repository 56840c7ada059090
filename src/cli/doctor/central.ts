import { lookup } from "node:dns/promises";
import { readFile } from "node:fs/promises";
import { isIP } from "node:net";
import { Agent, fetch, type Response } from "undici";
import { z } from "zod";
import { errnoOf, isFault } from "../../common/fault.ts";
import { readSecret } from "../../config/secrets.ts";
import type { Site } from "../../config/types.ts";
import { withSite } from "./site.ts";
import { type Check, failing, type Finding, ok, skipped, warning } from "./types.ts";

const callTimeoutMs = 8_000;
const skewMs = 60_000;

/** Checks that talk to the central API, with the site's own credentials. */
export const centralChecks: readonly Check[] = [
  { id: "dns", title: "Name of central", area: "central", run: withSite(dns) },
  { id: "api", title: "Central API", area: "central", run: withSite(reachable) },
  { id: "clock", title: "Clock", area: "central", run: withSite(clock) },
  { id: "credentials", title: "Credentials", area: "central", run: withSite(credentials) },
  { id: "proxy", title: "Proxy settings", area: "central", run: ({ env }) => proxy(env) },
];

async function dns(site: Site): Promise<Finding> {
  const host = new URL(site.api.url).hostname.replace(/^\[|\]$/g, "");
  if (isIP(host) !== 0) return ok(`${host} is an address`);
  try {
    const found = await lookup(host, { all: true });
    return ok(`${host} is ${found.map(({ address }) => address).join(", ")}`);
  } catch (error) {
    return failing(
      `${host} cannot be resolved: ${errnoOf(error) ?? String(error)}`,
      "central cannot be found",
      `getent hosts ${host}; check api.url and /etc/resolv.conf`,
    );
  }
}

interface Answer {
  readonly response: Response;
  readonly body: unknown;
  readonly elapsedMs: number;
}

async function call(site: Site, path: string, form?: Readonly<Record<string, string>>): Promise<Answer> {
  const ca = site.api.caFile === undefined ? undefined : await readFile(site.api.caFile, "utf8");
  const pool = new Agent({ connect: { timeout: callTimeoutMs, ...(ca === undefined ? {} : { ca }) } });
  try {
    const begin = performance.now();
    const response = await fetch(`${site.api.url}${path}`, {
      dispatcher: pool,
      redirect: "manual",
      signal: AbortSignal.timeout(callTimeoutMs),
      ...(form === undefined ? {} : { method: "POST", body: new URLSearchParams(form) }),
    });
    const text = await response.text();
    return { response, body: parseJson(text), elapsedMs: performance.now() - begin };
  } finally {
    await pool.destroy();
  }
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

async function reachable(site: Site): Promise<Finding> {
  try {
    const { response, body, elapsedMs } = await call(site, "/version");
    const took = `in ${Math.round(elapsedMs)} ms`;
    if (response.ok && typeof body === "object" && body !== null) {
      return ok(
        `${site.api.url} answers ${took}, ${"siteagent" in body ? "with the hub's extensions" : "plain NMDC protocol"}`,
      );
    }
    return failing(
      `${site.api.url}/version answers ${response.status}`,
      "that is not the central API",
      "check api.url in the site file",
    );
  } catch (error) {
    return unreachable(site, error);
  }
}

/** The innermost word of a failed connection decides the advice. */
function unreachable(site: Site, error: unknown): Finding {
  let inner: unknown = error;
  while (inner instanceof Error && inner.cause instanceof Error) inner = inner.cause;
  const code = errnoOf(inner) ?? (inner instanceof Error ? inner.name : "");
  const message = inner instanceof Error ? inner.message : String(inner);
  const tls = /CERT|TLS|SSL|SELF_SIGNED/.test(code);
  return failing(
    `${site.api.url} cannot be reached: ${message === "" ? code : message}`,
    "nothing can be claimed; jobs that run are not harmed",
    tls
      ? "name the certificates of your centre in api.ca_file"
      : `curl -v ${site.api.url}/version; check api.url, firewall and proxy`,
  );
}

async function clock(site: Site): Promise<Finding> {
  try {
    const { response } = await call(site, "/version");
    const date = Date.parse(response.headers.get("date") ?? "");
    if (Number.isNaN(date)) return skipped("central does not tell its time");
    const apart = Math.abs(Date.now() - date);
    const text = `${(apart / 1000).toFixed(0)} s apart from central`;
    if (apart < skewMs) return ok(text);
    return warning(text, "times in reports are wrong, and tokens may look expired", "timedatectl set-ntp true");
  } catch {
    return skipped("central does not answer");
  }
}

const tokenSchema = z.object({ access_token: z.string().min(1) });

async function credentials(site: Site): Promise<Finding> {
  let secret: string;
  try {
    secret = await readSecret(site.api.clientSecret);
  } catch (error) {
    if (isFault(error, "SECRET")) return skipped("no client secret that can be read");
    throw error;
  }
  try {
    const form = { grant_type: "client_credentials", client_id: site.api.clientId, client_secret: secret };
    const { response, body } = await call(site, "/token", form);
    if (response.ok && tokenSchema.safeParse(body).success) return ok(`central knows client '${site.api.clientId}'`);
    return failing(
      `central refuses client '${site.api.clientId}' (${response.status})`,
      "nothing can be claimed or reported",
      "ask for new credentials of the site, and put the secret into its file",
    );
  } catch {
    return skipped("central does not answer");
  }
}

function proxy(env: NodeJS.ProcessEnv): Finding {
  const names = ["HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"];
  const set = names.filter((name) => env[name]);
  if (set.length === 0) return ok("none set");
  return warning(
    `${set.join(", ")} set`,
    "the agent connects directly and does not use them",
    "make sure that central can be reached without the proxy",
  );
}
