/** From settings to the machines on the way: names, accounts, keys and the files that say which server is the right one. */
import { existsSync } from "node:fs";
import { homedir, userInfo } from "node:os";
import { join } from "node:path";
import { Fault } from "../../common/fault.ts";
import { quoted } from "../../common/nearest.ts";
import type { SecretPlace } from "../../common/secret-file.ts";
import type { SshSettings } from "./settings.ts";
import { askSshConfig, expandPath, type SshOptions } from "./ssh-config.ts";

/** One machine on the way. */
export interface Hop {
  /** What messages call it: `user@name:port`. */
  readonly label: string;
  /** Under which it is looked for in the known hosts. */
  readonly name: string;
  /** Where it is: a name for DNS, or an address. */
  readonly address: string;
  readonly port: number;
  readonly user: string;
  /** Absolute paths, the first is the one to write to. */
  readonly knownHosts: readonly string[];
  readonly keys: readonly SecretPlace[];
  /** True: the keys were named for this host, so that one that cannot be read is a fault. */
  readonly keysAreNamed: boolean;
  readonly passphrase: SecretPlace | undefined;
  /** Socket of the authentication agent. */
  readonly agent: string | undefined;
  /** Files of certificates, named or beside the keys. */
  readonly certificates: readonly string[];
}

/** The way to one login node: through the jumps, in order. */
export interface Route {
  readonly jumps: readonly Hop[];
  readonly target: Hop;
}

const mostJumps = 8;
const systemKnownHosts = ["/etc/ssh/ssh_known_hosts", "/etc/ssh/ssh_known_hosts2"];
const usualKeys = ["id_ed25519", "id_ecdsa", "id_rsa"];

export interface JumpSpec {
  readonly user: string | undefined;
  readonly host: string;
  readonly port: number | undefined;
}

/** `[user@]host[:port]`, also as `ssh://…`; an IPv6 address with a port in brackets. */
export function parseJump(text: string): JumpSpec | undefined {
  const match = /^(?:ssh:\/\/)?(?:([^@\s]+)@)?(?:\[([^\]\s]+)\]|([^\s:[\]@-][^\s:[\]@]*))(?::(\d{1,5}))?$/.exec(text);
  const host = match?.[2] ?? match?.[3];
  return host === undefined
    ? undefined
    : { user: match?.[1], host, port: match?.[4] === undefined ? undefined : Number(match[4]) };
}

/** The ways to all login nodes. @throws Fault CONFIG for a configuration of ssh that cannot be followed. */
export async function routesOf(settings: SshSettings): Promise<readonly Route[]> {
  const routes: Route[] = [];
  for (const host of settings.hosts) {
    const { hop, jump } = await hopOf(settings, { host, user: settings.user, port: settings.port });
    const specs = settings.jump ?? jump;
    routes.push({ jumps: await jumpsOf(settings, specs, mostJumps), target: hop });
  }
  return routes;
}

async function jumpsOf(settings: SshSettings, specs: readonly string[], left: number): Promise<readonly Hop[]> {
  if (specs.length > left)
    throw new Fault("CONFIG", `there are more than ${mostJumps} jumps on the way to '${settings.hosts[0] ?? ""}'`);
  const hops: Hop[] = [];
  for (const [index, text] of specs.entries()) {
    const spec = parseJump(text);
    if (!spec) throw new Fault("CONFIG", `${quoted(text)} is no jump host, expected [user@]host[:port]`);
    const { hop, jump } = await hopOf(settings, spec);
    // As ssh does: only the first one may have a way of its own.
    if (index === 0 && settings.jump === undefined) hops.push(...(await jumpsOf(settings, jump, left - specs.length)));
    hops.push(hop);
  }
  return hops;
}

/** What is asked of the configuration, and what it says of the machine and of the way to it. */
async function hopOf(
  settings: SshSettings,
  spec: JumpSpec,
): Promise<{ readonly hop: Hop; readonly jump: readonly string[] }> {
  const { config } = settings;
  const options: SshOptions = config === false ? new Map() : await askSshConfig({ ...spec, config });
  const one = (key: string): string | undefined => options.get(key)?.[0];
  const user = spec.user ?? one("user") ?? userInfo().username;
  const port = spec.port ?? Number(one("port") ?? 22);
  const address = (one("hostname") ?? spec.host).replaceAll("%h", spec.host);
  refuseProxyCommand(one("proxycommand"), spec.host);
  const files = (key: string): readonly string[] =>
    (options.get(key) ?? []).flatMap((path) => expandPath(path, address, user) ?? []);
  const keys = settings.key ? [settings.key] : identityFiles(config === false ? undefined : files("identityfile"));
  const hop: Hop = {
    label: `${user}@${spec.host}${port === 22 ? "" : `:${port}`}`,
    name: one("hostkeyalias") ?? address,
    address,
    port,
    user,
    knownHosts: settings.knownHosts === undefined ? knownHostsFiles(options, address, user) : [settings.knownHosts],
    keys,
    keysAreNamed: settings.key !== undefined,
    passphrase: settings.passphrase,
    agent: agentSocket(settings, one("identityagent"), address, user),
    certificates: [...files("certificatefile"), ...keys.map(({ path }) => `${path}-cert.pub`)].filter(existsSync),
  };
  const jump = one("proxyjump");
  return { hop, jump: jump === undefined || jump === "none" ? [] : jump.split(",").map((text) => text.trim()) };
}

function refuseProxyCommand(command: string | undefined, host: string): void {
  if (command === undefined || command === "none") return;
  throw new Fault("CONFIG", `the SSH configuration has a ProxyCommand for '${host}', which is not used here`, {
    hint: "name the machines on the way by ProxyJump there, or by `jump` in the site file",
  });
}

function identityFiles(configured: readonly string[] | undefined): readonly SecretPlace[] {
  const paths = configured ?? usualKeys.map((name) => join(homedir(), ".ssh", name));
  return paths.filter(existsSync).map((path) => ({ path, label: path }));
}

/** `ssh -G` prints the files of one option on one line: they are told apart at the blanks before a new absolute path. */
function knownHostsFiles(options: SshOptions, host: string, user: string): readonly string[] {
  const own = options.get("userknownhostsfile")?.[0] ?? "~/.ssh/known_hosts ~/.ssh/known_hosts2";
  const system = options.get("globalknownhostsfile")?.[0] ?? systemKnownHosts.join(" ");
  return `${own} ${system}`
    .split(/\s+(?=[/~%"])/)
    .map((path) => path.replace(/^"(.*)"$/, "$1"))
    .filter((path) => path !== "none" && path !== "/dev/null")
    .flatMap((path) => expandPath(path, host, user) ?? []);
}

function agentSocket(
  settings: SshSettings,
  configured: string | undefined,
  host: string,
  user: string,
): string | undefined {
  if (!(settings.agent ?? settings.key === undefined)) return undefined;
  if (configured === "none") return undefined;
  const own = process.env["SSH_AUTH_SOCK"];
  if (configured === undefined || configured === "SSH_AUTH_SOCK") return own === "" ? undefined : own;
  if (configured.startsWith("$")) return process.env[configured.slice(1).replace(/^\{(.*)\}$/, "$1")];
  return expandPath(configured, host, user);
}
