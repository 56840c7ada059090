/** A real OpenSSH server of this account on a port of its own, with keys of its own. */
import { execFile, spawn, type ChildProcess } from "node:child_process";
import { mkdirSync } from "node:fs";
import { appendFile, readFile, writeFile } from "node:fs/promises";
import { userInfo } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import type { SshSettings } from "../../../src/hosts/ssh/settings.ts";
import { freePort } from "../free-port.ts";
import { descendantsOf, killIfThere, listProcesses } from "../processes.ts";
import { type TemporaryDirectory, temporaryDirectory } from "../temporary.ts";
import { waitFor } from "../wait.ts";
import { sshdPath } from "./sshd.ts";

const run = promisify(execFile);

export interface SshServerOptions {
  /** Lines of sshd_config; they come first, and the first value of a keyword counts. */
  readonly directives?: readonly string[];
  /** Types of its keys as `ssh-keygen -t` knows them. */
  readonly hostKeys?: readonly string[];
  /** It trusts certificates of an authority of its own (`authority`). */
  readonly authority?: boolean;
  /** An authority of its own (`authority`) certifies its keys: the authority's type, and words for `ssh-keygen -s`. */
  readonly certified?: { readonly type?: string; readonly words: readonly string[] };
  /** A script that is run instead of the account's shell, with the command in `SSH_ORIGINAL_COMMAND`. */
  readonly login?: string;
  /** A small file system of its own at `small/` in its directory, which only it sees (engine `mount`). Bytes. */
  readonly smallDisk?: number;
  /** How files are served; default: by the server itself. */
  readonly sftp?: "internal-sftp" | "none" | "/no/such/program";
}

/** Makes a key pair without a person. */
export async function makeKey(
  path: string,
  options: { readonly type?: string; readonly passphrase?: string } = {},
): Promise<void> {
  const { type = "ed25519", passphrase = "" } = options;
  // Few rounds: their number is not what is tested, and ssh2 counts them in JavaScript.
  await run("ssh-keygen", ["-q", "-t", type, "-a", "2", "-N", passphrase, "-C", "test", "-f", path]);
}

export class SshServer implements AsyncDisposable {
  readonly port: number;
  readonly directory: TemporaryDirectory;
  readonly #options: SshServerOptions;
  #child: ChildProcess | undefined;
  #log = "";

  private constructor(port: number, directory: TemporaryDirectory, options: SshServerOptions) {
    this.port = port;
    this.directory = directory;
    this.#options = options;
  }

  static async start(options: SshServerOptions = {}): Promise<SshServer> {
    const directory = await temporaryDirectory("sa-ssh-");
    const server = new SshServer(await freePort(), directory, options);
    try {
      await makeKey(server.userKey);
      await writeFile(directory.join("authorized_keys"), await readFile(`${server.userKey}.pub`));
      for (const type of options.hostKeys ?? ["ed25519"]) await makeKey(server.hostKey(type), { type });
      await writeFile(server.knownHosts, await server.knownLine(options.hostKeys?.[0]));
      if (options.authority === true || options.certified) await makeKey(server.authority, options.certified);
      if (options.certified) await server.#certify(options.certified.words);
      if (options.login !== undefined) await writeFile(directory.join("login"), options.login, { mode: 0o755 });
      await server.up();
      return server;
    } catch (error) {
      await server[Symbol.asyncDispose]();
      throw error;
    }
  }

  /** A key that it lets in. */
  get userKey(): string {
    return this.directory.join("user_key");
  }

  /** A file with the right line for it. */
  get knownHosts(): string {
    return this.directory.join("known_hosts");
  }

  /** The key of its authority. */
  get authority(): string {
    return this.directory.join("authority");
  }

  get name(): string {
    return `[127.0.0.1]:${this.port}`;
  }

  hostKey(type = "ed25519"): string {
    return this.directory.join(`host_${type}`);
  }

  /** `NAME TYPE KEY` for known_hosts. */
  async knownLine(type = "ed25519", name = this.name): Promise<string> {
    const [kind, key] = (await readFile(`${this.hostKey(type)}.pub`, "utf8")).split(" ");
    return `${name} ${kind} ${key}\n`;
  }

  /** `@cert-authority NAMES TYPE KEY` for known_hosts. */
  async authorityLine(names = this.name): Promise<string> {
    return `@cert-authority ${names} ${await readFile(`${this.authority}.pub`, "utf8")}`;
  }

  async allow(key: string): Promise<void> {
    await appendFile(this.directory.join("authorized_keys"), await readFile(`${key}.pub`));
  }

  /** Writes `knownHosts` anew. */
  async know(lines: string): Promise<void> {
    await writeFile(this.knownHosts, lines);
  }

  /** How a host reaches it. */
  settings(change: Partial<SshSettings> = {}): SshSettings {
    return {
      hosts: ["127.0.0.1"],
      user: userInfo().username,
      port: this.port,
      key: { path: this.userKey, label: this.userKey },
      passphrase: undefined,
      knownHosts: this.knownHosts,
      jump: undefined,
      agent: undefined,
      keepaliveMs: 15_000,
      config: false,
      ...change,
    };
  }

  /** What it has logged so far (LogLevel VERBOSE). */
  get log(): string {
    return this.#log;
  }

  /** Begins to listen (again). */
  async up(): Promise<void> {
    if (process.getuid?.() === 0) mkdirSync("/run/sshd", { recursive: true, mode: 0o755 });
    await writeFile(this.directory.join("sshd_config"), this.#config());
    const program = sshdPath();
    if (program === undefined) throw new Error("no sshd here");
    const command = [program, "-D", "-e", "-f", this.directory.join("sshd_config")];
    const [first = program, ...rest] = [...this.#mounting(), ...command];
    const child = spawn(first, rest, { stdio: ["ignore", "ignore", "pipe"] });
    this.#child = child;
    const begin = this.#log.length;
    child.stderr.on("data", (chunk: Buffer) => (this.#log += chunk.toString()));
    await waitFor(
      () => {
        if (child.exitCode !== null) throw new Error(`sshd has ended: ${this.#log.slice(begin)}`);
        return this.#log.includes("Server listening", begin);
      },
      { what: () => `sshd to listen; it says: ${this.#log.slice(begin)}`, timeoutMs: 20_000 },
    );
  }

  /** Ends the server and all its connections, as a machine that goes down without a word. */
  async down(): Promise<void> {
    const child = this.#child;
    if (child?.pid === undefined || child.exitCode !== null || child.signalCode !== null) return;
    const exited = new Promise((resolve) => child.once("exit", resolve));
    const sessions = this.#sessions();
    this.#child = undefined;
    child.kill("SIGKILL");
    for (const pid of sessions) killIfThere(pid);
    await exited;
  }

  /** Ends the connections that are open and leaves the server. */
  cutConnections(): void {
    for (const pid of this.#sessions()) killIfThere(pid);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.down();
    await this.directory[Symbol.asyncDispose]();
  }

  /** A path as it sees it, with its small disk. */
  seen(...names: readonly string[]): string {
    const pid = this.#child?.pid;
    return join(pid === undefined ? "/" : `/proc/${pid}/root`, this.directory.join(...names));
  }

  async #certify(words: readonly string[]): Promise<void> {
    const keys = (this.#options.hostKeys ?? ["ed25519"]).map((type) => `${this.hostKey(type)}.pub`);
    await run("ssh-keygen", ["-q", "-s", this.authority, "-h", "-I", "a machine", ...words, ...keys]);
  }

  #mounting(): readonly string[] {
    const { smallDisk } = this.#options;
    if (smallDisk === undefined) return [];
    const script = `mkdir -p "$0" && mount -t tmpfs -o size=${smallDisk} tmpfs "$0" && exec "$@"`;
    const own = ["unshare", "--mount", "--propagation", "private"];
    return [...own, "/bin/sh", "-c", script, this.directory.join("small")];
  }

  /** Its own processes for connections, not what runs in them: that is to end by itself. */
  #sessions(): readonly number[] {
    const pid = this.#child?.pid;
    if (pid === undefined) return [];
    return descendantsOf(pid, listProcesses()).flatMap((entry) =>
      /^(sshd:|.*\/sshd(-session)?\b)/.test(entry.command) ? [entry.pid] : [],
    );
  }

  #config(): string {
    const { directives = [], hostKeys = ["ed25519"], login, sftp = "internal-sftp" } = this.#options;
    const { certified } = this.#options;
    const keys = hostKeys.flatMap((type) => [
      `HostKey ${this.hostKey(type)}`,
      ...(certified ? [`HostCertificate ${this.hostKey(type)}-cert.pub`] : []),
    ]);
    const lines = [
      ...directives,
      ...(login === undefined ? [] : [`ForceCommand ${this.directory.join("login")}`]),
      ...(this.#options.authority === true ? [`TrustedUserCAKeys ${this.authority}.pub`] : []),
      ...(sftp === "none" ? [] : [`Subsystem sftp ${sftp}`]),
      `Port ${this.port}`,
      "ListenAddress 127.0.0.1",
      ...keys,
      `AuthorizedKeysFile ${this.directory.join("authorized_keys")}`,
      "PidFile none",
      "StrictModes no",
      "UsePAM no",
      "UseDNS no",
      "PasswordAuthentication no",
      "KbdInteractiveAuthentication no",
      "PermitRootLogin yes",
      "LogLevel VERBOSE",
      "MaxStartups 100",
    ];
    return `${lines.join("\n")}\n`;
  }
}
