/** Builds the hosts of a site file; part of src/compose.ts, the only place that builds concrete adapters. */
import type { CallContext } from "./common/context.ts";
import type { Probe } from "./common/adapter.ts";
import { fingerprint } from "./config/fingerprint.ts";
import { secretPlace } from "./config/secrets.ts";
import { Fault } from "./common/fault.ts";
import type { Site, SiteAdapter, SiteHost, SiteSsh } from "./config/types.ts";
import { LocalHost } from "./hosts/local/index.ts";
import { SshHost } from "./hosts/ssh/index.ts";
import { SshLink } from "./hosts/ssh/link.ts";
import type { Host } from "./hosts/types.ts";

/**
 * Hosts live as long as the agent, over all reloads, and so do connections: one for each way to an account, also when several hosts of the
 * file lead there. One that no host needs any more ends when it is idle.
 */
export class HostPool implements AsyncDisposable {
  readonly #hosts = new Map<string, Host>();
  readonly #links = new Map<string, SshLink>();

  /** By name. */
  hostsOf(site: Site): ReadonlyMap<string, Host> {
    return new Map(Object.values(site.hosts).map((host) => [host.name, this.#hostOf(site, host)]));
  }

  /** A person has the configuration read anew: what was given up is tried again. */
  forgive(): void {
    for (const link of this.#links.values()) link.forgive();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const [hosts, links] = [[...this.#hosts.values()], [...this.#links.values()]];
    this.#hosts.clear();
    this.#links.clear();
    for (const one of [...hosts, ...links]) await one[Symbol.asyncDispose]();
  }

  #hostOf(site: Site, host: SiteHost): Host {
    const own = host.kind === "own" ? site.adapters[host.adapter] : undefined;
    const key = fingerprint([host, own?.digest]);
    const known = this.#hosts.get(key);
    if (known) return known;
    const made = this.#make(host, own);
    this.#hosts.set(key, made);
    return made;
  }

  #make(host: SiteHost, own: SiteAdapter | undefined): Host {
    switch (host.kind) {
      case "local":
        return new LocalHost(host);
      case "ssh":
        return new SshHost({ ...host, link: this.#linkOf(host.ssh) });
      case "own": {
        if (own?.adapter.type === "host") return own.adapter.create(own.options, host);
        throw new Fault("CONFIG", `host '${host.name}': no host '${host.adapter}' under adapters`);
      }
    }
  }

  #linkOf(ssh: SiteSsh): SshLink {
    const key = fingerprint(ssh);
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

/** Whether the hosts that are reached over a network can be used now; a login at each. For `siteagent doctor`. */
export async function probeRemoteHosts(
  site: Site,
  context: CallContext,
): Promise<readonly { readonly host: string; readonly probe: Probe }[]> {
  await using pool = new HostPool();
  const remote = [...pool.hostsOf(site).values()].filter(({ kind }) => kind !== "local");
  return await Promise.all(remote.map(async (host) => ({ host: host.name, probe: await host.probe(context) })));
}
