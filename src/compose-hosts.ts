/** Builds the hosts of a site file; part of src/compose.ts, the only place that builds concrete adapters. */
import { CurrentAdapters } from "./adapters/current.ts";
import { guardedHost } from "./adapters/guard.ts";
import type { CallContext } from "./common/context.ts";
import type { Probe } from "./common/adapter.ts";
import { fingerprint } from "./config/fingerprint.ts";
import { secretPlace } from "./config/secrets.ts";
import { Fault } from "./common/fault.ts";
import type {
  LocalSiteHost,
  OwnSiteHost,
  Site,
  SiteAdapter,
  SiteHost,
  SiteSftp,
  SiteSsh,
  SshSiteHost,
} from "./config/types.ts";
import { LocalHost } from "./hosts/local/index.ts";
import { SshHost } from "./hosts/ssh/index.ts";
import { SshLink } from "./hosts/ssh/link.ts";
import { runRemotely } from "./hosts/ssh/run.ts";
import { SftpSession } from "./hosts/ssh/sftp.ts";
import { streamRemotely } from "./hosts/ssh/stream.ts";
import type { Host } from "./hosts/types.ts";
import { probeRsync } from "./transfer/rsync/probe.ts";
import type { FindAccess } from "./transfer/sftp/place.ts";
import { probeSftp } from "./transfer/sftp/probe.ts";
import type { SftpAccess } from "./transfer/sftp/types.ts";

/**
 * Hosts live as long as the agent, over all reloads, and so do connections: one for each way to an account, also when several hosts of the
 * file lead there. One that no host needs any more ends when it is idle.
 */
export class HostPool implements AsyncDisposable {
  readonly #hosts = new Map<string, Host>();
  readonly #ownHosts = new CurrentAdapters<Host>();
  readonly #links = new Map<string, SshLink>();
  readonly #accesses = new Map<string, SftpAccess & AsyncDisposable>();

  /** By name. */
  hostsOf(site: Site): ReadonlyMap<string, Host> {
    return new Map(Object.values(site.hosts).map((host) => [host.name, this.#hostOf(site, host)]));
  }

  /**
   * The ways of transfers: to a remote by its name, to a machine that the file names for a remote or host, and to any other as the SSH
   * configuration of this account says. Their connections are their own: bytes in bulk would hold up commands, and sessions are few.
   */
  accessOf(site: Site): FindAccess {
    return (host, port) => this.#accessOf(host, sftpOf(site, host, port));
  }

  /** A person has the configuration read anew: what was given up is tried again. */
  forgive(): void {
    for (const link of this.#links.values()) link.forgive();
  }

  /** What of our logins is about to run out, or has, in words. Settings that cannot be followed are said at a login. */
  async endings(site: Site, nowMs: number): Promise<readonly string[]> {
    const hosts = Object.values(site.hosts).flatMap((host) => (host.kind === "ssh" ? [host.ssh] : []));
    const remotes = Object.values(site.remotes).flatMap(({ sftp }) => (sftp ? [sftp.ssh] : []));
    const ways = [...hosts, ...remotes].map((ssh) => this.#linkOf(ssh).endings(nowMs));
    return [...new Set((await Promise.all(ways.map((way) => way.catch(() => [])))).flat())];
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const all = [this.#hosts, this.#accesses, this.#links].flatMap((some) => [...some.values()]);
    for (const some of [this.#hosts, this.#accesses, this.#links]) some.clear();
    for (const one of all) await one[Symbol.asyncDispose]();
  }

  #hostOf(site: Site, host: SiteHost): Host {
    const key = fingerprint(host);
    const make = host.kind === "own" ? this.#own(key, host, site.adapters[host.adapter]) : () => this.#builtIn(host);
    const known = this.#hosts.get(key);
    if (known) return known;
    const made = make();
    this.#hosts.set(key, made);
    return made;
  }

  #builtIn(host: LocalSiteHost | SshSiteHost): Host {
    return host.kind === "ssh" ? new SshHost({ ...host, link: this.#linkOf(host.ssh) }) : new LocalHost(host);
  }

  /** How to make it; where there is one it is renewed at once, and all who have it go on with the new one. */
  #own(key: string, { name, workdir, adapter: called }: OwnSiteHost, own: SiteAdapter | undefined): () => Host {
    if (own?.adapter.type !== "host") throw new Fault("CONFIG", `host '${name}': no host '${called}' under adapters`);
    const { adapter, options, digest } = own;
    const current = this.#ownHosts.of(key, digest, () => adapter.create(options, { name, workdir }));
    return () => guardedHost({ name, workdir }, current);
  }

  #accessOf(host: string, { ssh, ...settings }: SiteSftp): SftpAccess {
    const key = fingerprint({ host, ssh, settings });
    const known = this.#accesses.get(key);
    if (known) return known;
    const link = this.#linkOf(ssh, "transfers");
    const files = new SftpSession(link);
    const made = {
      label: host,
      settings,
      files,
      run: (command: Parameters<SftpAccess["run"]>[0], context: CallContext) => runRemotely(link, command, context),
      stream: (command: Parameters<SftpAccess["stream"]>[0], context: CallContext) =>
        streamRemotely(link, command, context),
      [Symbol.asyncDispose]: () => files[Symbol.asyncDispose](),
    };
    this.#accesses.set(key, made);
    return made;
  }

  #linkOf(ssh: SiteSsh, use: "commands" | "transfers" = "commands"): SshLink {
    const key = fingerprint({ ssh, use });
    const known = this.#links.get(key);
    if (known) return known;
    const made = new SshLink({
      ...ssh,
      key: ssh.key && secretPlace(ssh.key),
      passphrase: ssh.passphrase && secretPlace(ssh.passphrase),
    });
    this.#links.set(key, made);
    return made;
  }
}

/** Whether the remotes that are reached by SSH can be used now; a login at each. For `siteagent doctor`. */
export async function probeRemotes(
  site: Site,
  context: CallContext,
): Promise<readonly { readonly remote: string; readonly probe: Probe }[]> {
  await using pool = new HostPool();
  const find = pool.accessOf(site);
  const named = Object.entries(site.remotes).filter(([, { sftp }]) => sftp !== undefined);
  return await Promise.all(
    named.map(async ([remote, { url }]) => {
      const probe = url.startsWith("rsync:") ? probeRsync : probeSftp;
      return { remote, probe: await probe(find(remote, 22), url, context) };
    }),
  );
}

/** Certificates by which the site logs in that are about to run out, or have. For `siteagent doctor`. */
export async function endingCertificates(site: Site): Promise<readonly string[]> {
  await using pool = new HostPool();
  return await pool.endings(site, Date.now());
}

/** By the remote's name; else by the machine's name and port, of remotes and hosts of the file; else by the SSH configuration alone. */
function sftpOf(site: Site, host: string, port: number): SiteSftp {
  const remotes = Object.values(site.remotes).flatMap(({ sftp }) => sftp ?? []);
  const named = Object.hasOwn(site.remotes, host) ? site.remotes[host]?.sftp : undefined;
  const leadsThere = ({ hosts, port: own = 22 }: SiteSsh): boolean => hosts.includes(host) && own === port;
  const remote = named ?? remotes.find(({ ssh }) => leadsThere(ssh));
  if (remote) return remote;
  const hosts = Object.values(site.hosts).flatMap((one) => (one.kind === "ssh" ? [one.ssh] : []));
  const ssh = hosts.find(leadsThere) ?? { ...unnamed, hosts: [host], port: port === 22 ? undefined : port };
  return { ssh, verify: "digest", existing: "replace", shell: true, preserve: false };
}

/** A machine that only a URL names. */
const unnamed = {
  user: undefined,
  key: undefined,
  passphrase: undefined,
  knownHosts: undefined,
  jump: undefined,
  agent: undefined,
  keepaliveMs: 15_000,
  config: true,
};

/** Whether the hosts that are reached over a network can be used now; a login at each. For `siteagent doctor`. */
export async function probeRemoteHosts(
  site: Site,
  context: CallContext,
): Promise<readonly { readonly host: string; readonly probe: Probe }[]> {
  await using pool = new HostPool();
  const remote = [...pool.hostsOf(site).values()].filter(({ kind }) => kind !== "local");
  return await Promise.all(remote.map(async (host) => ({ host: host.name, probe: await host.probe(context) })));
}
