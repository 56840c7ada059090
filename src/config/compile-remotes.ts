import { isAbsolute, normalize } from "node:path/posix";
import { pathProblem } from "../transfer/paths.ts";
import { compileSsh } from "./compile-hosts.ts";
import type { Compiling } from "./compiling.ts";
import type { SiteSettings } from "./site-schema.ts";
import type { SiteHost, SiteRemote, SiteSsh } from "./types.ts";
import { checkUrlRule } from "./urls.ts";

type RemoteInput = SiteSettings["remotes"][string];

const ways = ["url", "ssh", "host"] as const;
const ofSsh = ["path", "verify", "existing", "shell", "preserve"] as const;
/** Files of a remote by SSH at the same time: small ones wait for answers, not for bytes. */
const usualFiles = 16;

export async function compileRemotes(
  compiling: Compiling,
  hosts: Readonly<Record<string, SiteHost>>,
): Promise<Record<string, SiteRemote>> {
  const { settings, registries, loaded } = compiling;
  const remotes: Record<string, SiteRemote> = {};
  for (const [name, remote] of Object.entries(settings.remotes)) {
    const path = ["remotes", name];
    if (registries.schemes.includes(name)) {
      const message = `'${name}' is the name of a scheme`;
      loaded.report.add({ path, atKey: true, message, value: name, allowed: "another name" });
    }
    const given = ways.filter((way) => remote[way] !== undefined);
    if (given.length !== 1) {
      const found = given.length === 0 ? "none of them" : given.join(" and ");
      const message = `remote '${name}' has ${found}`;
      loaded.report.add({ path, atKey: true, message, value: name, allowed: "one of url, ssh and host" });
    }
    remotes[name] =
      remote.url === undefined
        ? await compileSftp(compiling, name, remote, hosts)
        : compileUrl(compiling, name, remote.url, remote);
  }
  return remotes;
}

function compileUrl(compiling: Compiling, name: string, url: string, remote: RemoteInput): SiteRemote {
  const { registries, loaded } = compiling;
  const problem = checkUrlRule(url, registries.schemes, "plain");
  if (problem) loaded.report.add({ path: ["remotes", name, "url"], ...problem });
  for (const key of ofSsh) {
    if (remote[key] === undefined) continue;
    const message = `'${key}' has no meaning for a remote by url`;
    loaded.report.add({ path: ["remotes", name, key], atKey: true, message, allowed: "beside ssh or host" });
  }
  return { url, files: remote.files, bytesPerSecond: remote.bandwidth, sftp: undefined };
}

async function compileSftp(
  compiling: Compiling,
  name: string,
  remote: RemoteInput,
  hosts: Readonly<Record<string, SiteHost>>,
): Promise<SiteRemote> {
  const ssh =
    remote.ssh === undefined
      ? sshOfHost(compiling, name, remote.host, hosts)
      : await compileSsh(compiling, ["remotes", name, "ssh"], remote.ssh);
  const { verify = "digest", existing = "replace", shell = true, preserve = false, files = usualFiles } = remote;
  const url = `sftp://${name}${directoryOf(compiling, name, remote.path)}`;
  return { url, files, bytesPerSecond: remote.bandwidth, sftp: ssh && { ssh, verify, existing, shell, preserve } };
}

function sshOfHost(
  { loaded }: Compiling,
  name: string,
  host: string | undefined,
  hosts: Readonly<Record<string, SiteHost>>,
): SiteSsh | undefined {
  if (host === undefined) return undefined;
  const found = Object.hasOwn(hosts, host) ? hosts[host] : undefined;
  if (found?.kind === "ssh") return found.ssh;
  const path = ["remotes", name, "host"];
  const known = Object.values(hosts).flatMap((one) => (one.kind === "ssh" ? [one.name] : []));
  if (found) {
    const allowed = "a host with ssh, or url: file:///path/";
    loaded.report.add({ path, message: `host '${host}' is not reached by SSH`, value: host, allowed });
  } else {
    loaded.report.add({ path, message: `'${host}' is not a host of this file`, value: host, known });
  }
  return undefined;
}

/** As it stands in a URL, without a slash at the end. */
function directoryOf({ loaded }: Compiling, name: string, path = "/"): string {
  const clean = normalize(path).replace(/\/$/, "");
  const problem = isAbsolute(path) ? clean !== "" && pathProblem(clean.slice(1)) : "it is not absolute";
  if (typeof problem === "string") {
    const message = `'${path}' is no directory of a remote: ${problem}`;
    loaded.report.add({ path: ["remotes", name, "path"], message, value: path, allowed: "an absolute path there" });
    return "";
  }
  return clean.split("/").map(encodeURIComponent).join("/");
}
