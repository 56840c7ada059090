import { isAbsolute, join, normalize } from "node:path";
import { checkReadable, checkSecret, type Compiling } from "./compiling.ts";
import type { SshInput } from "./ssh-schema.ts";
import type { SiteHost, SiteSsh } from "./types.ts";

/** A connection that is asked more often is none that is checked, but one that is loaded. */
const minKeepaliveMs = 1_000;

export async function compileHosts(compiling: Compiling, stateDir: string): Promise<Record<string, SiteHost>> {
  const { settings, absolute } = compiling;
  const hosts: Record<string, SiteHost> = {};
  for (const [name, host] of Object.entries(settings.hosts)) {
    if (host.path !== undefined) checkSearchPath(compiling, ["hosts", name, "path"], host.path);
    const common = { name, path: host.path ?? settings.agent.path, environment: host.environment };
    if (host.adapter !== undefined) {
      checkHostAdapter(compiling, name, host.adapter, host.ssh !== undefined);
      const workdir = remoteWorkdir(compiling, name, host.workdir, "of an adapter");
      hosts[name] = { ...common, kind: "own", adapter: host.adapter, workdir };
    } else if (host.ssh === undefined) {
      const workdir = host.workdir === undefined ? join(stateDir, "work") : absolute(host.workdir);
      hosts[name] = { ...common, kind: "local", workdir };
    } else {
      const workdir = remoteWorkdir(compiling, name, host.workdir, "reached by SSH");
      hosts[name] = {
        ...common,
        kind: "ssh",
        workdir,
        ssh: await compileSsh(compiling, ["hosts", name, "ssh"], host.ssh),
      };
    }
  }
  return hosts;
}

function checkHostAdapter({ registries, loaded }: Compiling, name: string, adapter: string, ssh: boolean): void {
  const path = ["hosts", name, "adapter"];
  if (!registries.hosts.includes(adapter)) {
    const message = `'${adapter}' is no host under adapters`;
    loaded.report.add({ path, message, value: adapter, known: registries.hosts });
  }
  if (ssh)
    loaded.report.add({
      path,
      atKey: true,
      message: "a host is reached by SSH or by an adapter",
      allowed: "one of ssh and adapter",
    });
}

/** `PATH`: absolute directories. */
export function checkSearchPath({ loaded }: Compiling, path: readonly PropertyKey[], text: string): void {
  for (const [index, part] of text.split(":").entries()) {
    if (isAbsolute(part)) continue;
    const message = `part ${index + 1} of '${text}' is not absolute`;
    loaded.report.add({ path, message, value: text, allowed: "absolute directories with : between" });
  }
}

/** Nothing of this machine says where it could lie there: neither our state directory nor `~`. */
function remoteWorkdir(
  { loaded }: Compiling,
  name: string,
  workdir: string | undefined,
  way: "reached by SSH" | "of an adapter",
): string {
  const allowed = "an absolute path there, as /scratch/svc/siteagent";
  if (workdir === undefined) {
    const message = `a host ${way} needs a 'workdir'`;
    loaded.report.add({ path: ["hosts", name], atKey: true, message, allowed });
    return "/";
  }
  if (!isAbsolute(workdir) || normalize(workdir) === "/") {
    const message = `'${workdir}' is no directory that can be found at the other end`;
    loaded.report.add({ path: ["hosts", name, "workdir"], message, value: workdir, allowed });
  }
  return normalize(workdir).replace(/(?<=.)\/$/, "");
}

/** `path`: where the settings stand in the file. */
export async function compileSsh(compiling: Compiling, path: readonly PropertyKey[], ssh: SshInput): Promise<SiteSsh> {
  const { loaded, absolute } = compiling;
  const readable = (key: "known_hosts" | "config", file: string): string => {
    checkReadable(compiling, [...path, key], absolute(file));
    return absolute(file);
  };
  const secret = async (key: "key" | "passphrase") => {
    const input = ssh[key];
    return input === undefined ? undefined : await checkSecret(compiling, [...path, key], input);
  };
  if (ssh.passphrase !== undefined && ssh.key === undefined) {
    const message = "a passphrase opens a key, and none is named";
    loaded.report.add({ path: [...path, "passphrase"], atKey: true, message, allowed: "beside key: {file: PATH}" });
  }
  if (ssh.keepalive < minKeepaliveMs) {
    const message = `'${ssh.keepalive}ms' is too short`;
    loaded.report.add({ path: [...path, "keepalive"], message, allowed: "at least 1s" });
  }
  return {
    hosts: [ssh.host].flat(),
    user: ssh.user,
    port: ssh.port,
    key: await secret("key"),
    passphrase: await secret("passphrase"),
    knownHosts: ssh.known_hosts === undefined ? undefined : readable("known_hosts", ssh.known_hosts),
    jump: ssh.jump === undefined ? undefined : [ssh.jump].flat(),
    agent: ssh.agent,
    keepaliveMs: ssh.keepalive,
    config: typeof ssh.config === "string" ? readable("config", ssh.config) : ssh.config,
  };
}
