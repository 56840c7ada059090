import { type ChildProcessByStdio, execFile, spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { chmod, chown, mkdtemp, readFile, realpath, rm, writeFile } from "node:fs/promises";
import { readdirSync, readFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import type { Readable, Writable } from "node:stream";
import { promisify } from "node:util";
import { freePort } from "../free-port.ts";
import { waitFor } from "../wait.ts";
import { findProgram, isExecutable, versionOf } from "./command.ts";
import type { Engine } from "./engine.ts";

const run = promisify(execFile);
const superuser = "siteagent";
const starts = 3;
const startWithinMs = 60_000;
const stopWithinMs = 15_000;
const longestLog = 20_000;
/** PostgreSQL refuses longer socket paths at 107 bytes; `/.s.PGSQL.65535` is added to the directory. */
const longestSocketDirectory = 90;

/** A running PostgreSQL of our own in a temporary directory. */
export interface Cluster extends AsyncDisposable {
  /** `postgres://…@127.0.0.1:PORT/postgres`, the superuser with its password. */
  readonly url: string;
  readonly port: number;
  readonly directory: string;
}

/** PostgreSQL's own programs; Debian does not put them in PATH. */
export const postgres: Engine = {
  debianPackages: ["postgresql"],
  async probe() {
    const bin = await findBinaries();
    if (bin === undefined) return { ok: false, reason: "no initdb and postgres in PATH or /usr/lib/postgresql/*/bin" };
    return versionOf(join(bin, "postgres"));
  },
};

/** The directory that has `initdb` and `postgres`: through PATH, or the newest version that Debian or Red Hat lay out. */
async function findBinaries(): Promise<string | undefined> {
  const inPath = findProgram("initdb");
  const candidates = inPath ? [dirname(await realpath(inPath))] : [];
  candidates.push(...versionDirectories("/usr/lib/postgresql", ""), ...versionDirectories("/usr", "pgsql-"));
  return candidates.find((directory) => ["initdb", "postgres"].every((name) => isExecutable(join(directory, name))));
}

function versionDirectories(parent: string, prefix: string): readonly string[] {
  try {
    const versions = readdirSync(parent).filter(
      (name) => name.startsWith(prefix) && /^\d+$/.test(name.slice(prefix.length)),
    );
    versions.sort((a, b) => Number(b.slice(prefix.length)) - Number(a.slice(prefix.length)));
    return versions.map((name) => join(parent, name, "bin"));
  } catch {
    return [];
  }
}

interface Account {
  readonly uid: number;
  readonly gid: number;
}

/** PostgreSQL refuses root: then its own account runs it, or nobody. */
function account(): Account | undefined {
  if (process.getuid?.() !== 0) return undefined;
  const entries = new Map(
    readFileSync("/etc/passwd", "utf8")
      .split("\n")
      .map((line) => [line.split(":")[0], line.split(":")]),
  );
  const entry = entries.get("postgres") ?? entries.get("nobody");
  return { uid: Number(entry?.[2] ?? 65534), gid: Number(entry?.[3] ?? 65534) };
}

export interface ClusterOptions {
  /** True: commits are synced to disk and memory is used as a server of its own would (for benchmarks). */
  readonly durable?: boolean;
}

/**
 * Makes and starts a cluster (about 0.7 s): socket in its own directory and 127.0.0.1 on a free port, password needed,
 * nothing synced to disk unless asked for. It ends and its directory goes with `dispose`, and also when this process is killed.
 */
export async function startCluster(options: ClusterOptions = {}): Promise<Cluster> {
  const bin = await findBinaries();
  if (bin === undefined) throw new Error("no PostgreSQL here: initdb and postgres not found");
  for (let left = starts - 1; ; left--) {
    const started = await startOnce(bin, options);
    if (!(started instanceof PortTaken)) return started;
    if (left === 0) throw started;
  }
}

/** Somebody took the port between our look and the start. */
class PortTaken extends Error {}

async function startOnce(bin: string, options: ClusterOptions): Promise<Cluster | PortTaken> {
  const owner = account();
  const directory = await mkdtemp(join(tmpdir(), "sa-pg-"));
  const password = randomBytes(12).toString("hex");
  let keeper: Keeper | undefined;
  try {
    await initialise(bin, directory, password, owner);
    const port = await freePort();
    keeper = new Keeper(bin, directory, owner, serverSettings(directory, port, options));
    const { ended, log } = await keeper.ready(directory);
    if (ended && log.includes("Address already in use")) {
      await rm(directory, { recursive: true, force: true });
      return new PortTaken(`port ${port} was taken meanwhile`);
    }
    if (ended) throw new Error(`PostgreSQL did not start:\n${log}`);
    const running = keeper;
    return {
      url: `postgres://${superuser}:${password}@127.0.0.1:${port}/postgres`,
      port,
      directory,
      [Symbol.asyncDispose]: () => running.stop(),
    };
  } catch (error) {
    await keeper?.stop();
    await rm(directory, { recursive: true, force: true });
    throw error;
  }
}

async function initialise(bin: string, directory: string, password: string, owner: Account | undefined): Promise<void> {
  const passwordFile = join(directory, "password");
  await writeFile(passwordFile, password, { mode: 0o600 });
  if (owner) {
    await chown(passwordFile, owner.uid, owner.gid);
    await chown(directory, owner.uid, owner.gid);
  }
  await chmod(directory, 0o700);
  const args = ["-D", join(directory, "data"), "-U", superuser, "-A", "scram-sha-256", `--pwfile=${passwordFile}`];
  args.push("--no-sync", "--no-locale", "-E", "UTF8");
  await run(join(bin, "initdb"), args, { ...owner, cwd: directory, env: environment() });
}

/** Nothing of the person's own PG* variables; the message language is fixed. */
function environment(): NodeJS.ProcessEnv {
  return { PATH: process.env["PATH"], LC_ALL: "C", TZ: "UTC" };
}

/**
 * Ends when the server ends. Ends the server (QUIT: at once, without ceremony) when standard input closes, i.e. when
 * the process that started it asks for it or dies by whatever cause. Removes the directory in both cases.
 */
const keeperScript = `
directory=$1; shift
exec 3<&0
"$@" </dev/null 3<&- &
server=$!
{ while read -r line; do :; done; while kill -QUIT "$server"; do sleep 0.1; done; } <&3 2>/dev/null &
reader=$!
wait "$server"
kill "$reader" 2>/dev/null
cd / && rm -rf "$directory"
`;

function serverSettings(directory: string, port: number, options: ClusterOptions): Record<string, string> {
  return {
    listen_addresses: "127.0.0.1",
    port: String(port),
    unix_socket_directories: directory.length <= longestSocketDirectory ? directory : "",
    max_connections: "200",
    ...(options.durable === true
      ? { shared_buffers: "1GB", max_wal_size: "4GB" }
      : { shared_buffers: "64MB", fsync: "off", synchronous_commit: "off", full_page_writes: "off" }),
  };
}

/** The shell that keeps the server, and its log. */
class Keeper {
  readonly #shell: ChildProcessByStdio<Writable, null, Readable>;
  readonly #exited: Promise<void>;
  #ended = false;
  #log = "";

  constructor(bin: string, directory: string, owner: Account | undefined, settings: Readonly<Record<string, string>>) {
    const server = [join(bin, "postgres"), "-D", join(directory, "data")];
    for (const [name, value] of Object.entries(settings)) server.push("-c", `${name}=${value}`);
    // A session of its own: an interrupt typed at the terminal must not reach it before the tests have ended.
    this.#shell = spawn("/bin/sh", ["-c", keeperScript, "sh", directory, ...server], {
      ...owner,
      cwd: directory,
      env: environment(),
      detached: true,
      stdio: ["pipe", "ignore", "pipe"],
    });
    this.#shell.stdin.on("error", () => {}); // it has ended already
    this.#shell.stderr.setEncoding("utf8").on("data", (text: string) => {
      this.#log = (this.#log + text).slice(-longestLog);
    });
    this.#exited = new Promise((resolve) => this.#shell.once("close", () => resolve()));
    this.#shell.once("close", () => {
      this.#ended = true;
    });
  }

  /** Resolves when the server takes connections, or has ended. */
  async ready(directory: string): Promise<{ ended: boolean; log: string }> {
    const status = async (): Promise<boolean> => {
      if (this.#ended) return true;
      const lines = (await readFile(join(directory, "data", "postmaster.pid"), "utf8")).split("\n");
      return lines[7]?.trim() === "ready";
    };
    await waitFor(status, { timeoutMs: startWithinMs, what: () => `PostgreSQL to be ready; its log:\n${this.#log}` });
    return { ended: this.#ended, log: this.#log };
  }

  async stop(): Promise<void> {
    this.#shell.stdin.end();
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<never>((_resolve, reject) => {
      timer = setTimeout(() => reject(new Error(`PostgreSQL did not end:\n${this.#log}`)), stopWithinMs);
    });
    try {
      await Promise.race([this.#exited, late]);
    } finally {
      clearTimeout(timer);
    }
  }
}
