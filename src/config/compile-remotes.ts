import { isAbsolute, normalize } from "node:path/posix";
import { pathProblem } from "../transfer/paths.ts";
import { compileSsh } from "./compile-hosts.ts";
import { compileS3 } from "./compile-s3.ts";
import type { Compiling } from "./compiling.ts";
import type { S3Input } from "./s3-schema.ts";
import type { SiteSettings } from "./site-schema.ts";
import type { SiteHost, SiteRemote, SiteSsh } from "./types.ts";
import { checkUrlRule } from "./urls.ts";

type RemoteInput = SiteSettings["remotes"][string];

const ways = ["url", "ssh", "host", "s3"] as const;
/** Keys that have a meaning beside some ways only. */
const beside = {
  by: ["ssh", "host"],
  path: ["ssh", "host", "s3"],
  verify: ["ssh", "host", "s3"],
  existing: ["ssh", "host", "s3"],
  shell: ["ssh", "host"],
  preserve: ["ssh", "host"],
} as const satisfies Partial<Record<keyof RemoteInput, readonly (typeof ways)[number][]>>;
/** Files of a remote by SSH at the same time: small ones wait for answers, not for bytes. */
const usualFiles = 16;
/** Of an object store: each large one has several parts under way. */
const usualObjects = 8;

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
      loaded.report.add({ path, atKey: true, message, value: name, allowed: "one of url, ssh, host and s3" });
    }
    checkKeys(compiling, name, remote, given);
    if (remote.url !== undefined) remotes[name] = compileUrl(compiling, name, remote.url, remote);
    else if (remote.s3 !== undefined) remotes[name] = await compileStore(compiling, name, remote, remote.s3);
    else remotes[name] = await compileSftp(compiling, name, remote, hosts);
  }
  checkBuckets(compiling, remotes);
  return remotes;
}

function checkKeys(
  { loaded }: Compiling,
  name: string,
  remote: RemoteInput,
  given: readonly (typeof ways)[number][],
): void {
  const [way] = given;
  if (way === undefined) return;
  for (const [key, fitting] of Object.entries(beside)) {
    const fits: readonly string[] = fitting;
    if (remote[key as keyof typeof beside] === undefined || fits.includes(way)) continue;
    const message = `'${key}' has no meaning for a remote by ${way}`;
    loaded.report.add({ path: ["remotes", name, key], atKey: true, message, allowed: `beside ${fits.join(" or ")}` });
  }
}

async function compileStore(
  compiling: Compiling,
  name: string,
  { verify = "digest", existing = "replace", files = usualObjects, bandwidth, path }: RemoteInput,
  input: S3Input,
): Promise<SiteRemote> {
  if (verify === "sample") {
    const message = "'sample' has no meaning for a remote by s3";
    const allowed = "digest or size";
    compiling.loaded.report.add({ path: ["remotes", name, "verify"], message, value: verify, allowed });
  }
  const url = `s3://${name}${directoryOf(compiling, name, path)}`;
  const settings = await compileS3(compiling, ["remotes", name, "s3"], input);
  return {
    url,
    files,
    bytesPerSecond: bandwidth,
    sftp: undefined,
    s3: { ...settings, verify: verify === "size" ? verify : "digest", existing },
  };
}

/** `s3://BUCKET/` leads to one place: no bucket is named twice, or is called as another remote. */
function checkBuckets({ loaded }: Compiling, remotes: Readonly<Record<string, SiteRemote>>): void {
  const owners = new Map(Object.entries(remotes).flatMap(([name, { s3 }]) => (s3 ? [[name, name]] : [])));
  for (const [name, { s3 }] of Object.entries(remotes)) {
    for (const [index, bucket] of (s3?.buckets ?? []).entries()) {
      const owner = owners.get(bucket);
      if (owner === undefined) owners.set(bucket, name);
      // The remote's own bucket may have any name: `NAME:/` leads there.
      if (owner === undefined || owner === name || index === 0) continue;
      const message = `'s3://${bucket}/' leads to remote '${owner}' already`;
      const path = ["remotes", name, "s3", "buckets", index];
      loaded.report.add({ path, message, value: bucket, allowed: "each bucket at one remote, or first in the list" });
    }
  }
}

function compileUrl(compiling: Compiling, name: string, url: string, remote: RemoteInput): SiteRemote {
  const { registries, loaded } = compiling;
  const problem = checkUrlRule(url, registries.schemes, "plain");
  if (problem) loaded.report.add({ path: ["remotes", name, "url"], ...problem });
  return { url, files: remote.files, bytesPerSecond: remote.bandwidth, sftp: undefined, s3: undefined };
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
  const url = `${remote.by ?? "sftp"}://${name}${directoryOf(compiling, name, remote.path)}`;
  return {
    url,
    files,
    bytesPerSecond: remote.bandwidth,
    sftp: ssh && { ssh, verify, existing, shell, preserve },
    s3: undefined,
  };
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
