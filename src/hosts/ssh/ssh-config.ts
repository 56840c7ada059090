/**
 * What the account's SSH configuration says of a host. The program `ssh` is asked (`ssh -G`) where there is one: it alone reads all of
 * ssh_config(5). Without it the account's file is read here, as far as it consists of `Host` blocks with plain values; one with `Match` or
 * `Include` is refused then, because half of a configuration could lead to another machine or account.
 */
import { execFile } from "node:child_process";
import { readFile } from "node:fs/promises";
import { homedir, userInfo } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { errnoOf, Fault } from "../../common/fault.ts";
import { quoted } from "../../common/nearest.ts";
import { matchesPattern } from "./pattern.ts";

const run = promisify(execFile);
const askTimeoutMs = 10_000;

/** Values by key in small letters, in the order found. */
export type SshOptions = ReadonlyMap<string, readonly string[]>;

export interface SshQuestion {
  /** A name or alias as a person would give it to `ssh`. */
  readonly host: string;
  readonly user: string | undefined;
  readonly port: number | undefined;
  /** True: the account's file and the machine's; a path: this file alone. */
  readonly config: true | string;
}

/** @throws Fault CONFIG when the configuration cannot be read or understood. */
export async function askSshConfig(question: SshQuestion, program = "ssh"): Promise<SshOptions> {
  const { host, user, port, config } = question;
  const args = [
    "-G",
    ...(config === true ? [] : ["-F", config]),
    ...(user === undefined ? [] : ["-l", user]),
    ...(port === undefined ? [] : ["-p", String(port)]),
    "--",
    host,
  ];
  try {
    const { stdout } = await run(program, args, { timeout: askTimeoutMs, env: askEnvironment() });
    return optionsOf(stdout);
  } catch (error) {
    if (errnoOf(error) === "ENOENT") return await readSshConfig(question);
    const words = isExecError(error) ? error.stderr.trim() : String(error);
    throw new Fault("CONFIG", `'ssh -G ${host}' fails: ${quoted(words, 300)}`, {
      hint: "repair the SSH configuration of this account, or say `config: false` and name user, key and jump in the site file",
      cause: error,
    });
  }
}

/** Nothing of ours but what finds the configuration. */
function askEnvironment(): NodeJS.ProcessEnv {
  const { PATH, HOME, SSH_AUTH_SOCK } = process.env;
  return {
    LC_ALL: "C",
    PATH: PATH ?? "/usr/bin:/bin",
    HOME: HOME ?? homedir(),
    ...(SSH_AUTH_SOCK ? { SSH_AUTH_SOCK } : {}),
  };
}

function isExecError(error: unknown): error is Error & { readonly stderr: string } {
  return error instanceof Error && "stderr" in error && typeof error.stderr === "string";
}

function optionsOf(text: string): SshOptions {
  const options = new Map<string, string[]>();
  for (const line of text.split("\n")) {
    const at = line.indexOf(" ");
    if (at > 0) add(options, line.slice(0, at), line.slice(at + 1).trim());
  }
  return options;
}

function add(options: Map<string, string[]>, key: string, value: string): void {
  const name = key.toLowerCase();
  options.set(name, [...(options.get(name) ?? []), value]);
}

/** The same without the program. @throws Fault CONFIG for what only the program can read. */
export async function readSshConfig({ host, user, port, config }: SshQuestion): Promise<SshOptions> {
  const file = config === true ? join(homedir(), ".ssh", "config") : config;
  let text = "";
  try {
    text = await readFile(file, "utf8");
  } catch (error) {
    if (errnoOf(error) !== "ENOENT" || config !== true)
      throw new Fault("CONFIG", `'${file}' cannot be read: ${errnoOf(error) ?? String(error)}`, { cause: error });
  }
  const options = parseSshConfig(text, file, host);
  if (user !== undefined) options.set("user", [user]);
  if (port !== undefined) options.set("port", [String(port)]);
  return options;
}

/** Only these can have more than one value; of all others the first counts. */
const listed: readonly string[] = ["identityfile", "certificatefile"];

export function parseSshConfig(text: string, file: string, host: string): Map<string, string[]> {
  const options = new Map<string, string[]>();
  let applies = true;
  for (const [index, line] of text.split(/\r?\n/).entries()) {
    const match = /^\s*([A-Za-z0-9]+)(?:\s*=\s*|\s+)(.*?)\s*$/.exec(line);
    if (!match?.[1] || match[2] === undefined) continue;
    const [key, value] = [match[1].toLowerCase(), match[2]];
    if (key === "match" || key === "include") {
      throw new Fault("CONFIG", `'${file}:${index + 1}' has '${match[1]}', which only the program 'ssh' can read`, {
        hint: "install openssh-client, or say `config: false` and name user, key and jump in the site file",
      });
    }
    if (key === "host") applies = namesHost(value, host);
    else if (applies && (listed.includes(key) || !options.has(key))) add(options, key, unquoted(value));
  }
  return options;
}

function namesHost(patterns: string, host: string): boolean {
  const list = patterns.split(/\s+/).map(unquoted);
  if (list.some((one) => one.startsWith("!") && matchesPattern(one.slice(1), host))) return false;
  return list.some((one) => !one.startsWith("!") && matchesPattern(one, host));
}

function unquoted(value: string): string {
  return /^"(.*)"$/.exec(value)?.[1] ?? value;
}

/** Home directory and the tokens of ssh_config(5) that name files; undefined when there is another token. */
export function expandPath(path: string, host: string, user: string): string | undefined {
  const values: Readonly<Record<string, string>> = { "%": "%", d: homedir(), h: host, r: user, u: userInfo().username };
  let known = true;
  const text = path.replaceAll(/%(.)/g, (_all, sign: string) => {
    known &&= Object.hasOwn(values, sign);
    return values[sign] ?? "";
  });
  if (!known) return undefined;
  return text === "~" || text.startsWith("~/") ? join(homedir(), text.slice(1)) : text;
}
