/** Ways to move a file or a tree between here and a private OpenSSH server: the transfer engine, and the programs that people use. */
import { execFile } from "node:child_process";
import { createHash } from "node:crypto";
import { mkdir, writeFile } from "node:fs/promises";
import { promisify } from "node:util";
import { systemClock } from "../../src/common/clock.ts";
import { silentLogger } from "../../src/common/logger.ts";
import { newToken } from "../../src/common/token.ts";
import type { InputCache } from "../../src/transfer/cache/index.ts";
import { createTransferEngine } from "../../src/transfer/engine.ts";
import { compilePolicy } from "../../src/transfer/policy.ts";
import { TransferRegistry } from "../../src/transfer/registry.ts";
import { createSftpTransfer } from "../../src/transfer/sftp/index.ts";
import type { TransferItem, TransferOutcome } from "../../src/transfer/types.ts";
import type { SshServer } from "../../test/helpers/engines/ssh-server.ts";
import { accessTo } from "../../test/integration/transfer/sftp-harness.ts";

const run = promisify(execFile);
const mebibyte = 1024 * 1024;
const filesAtOnce = 16;

export type Direction = "up" | "down";
export type Kind = "file" | "directory";

/** One way of moving; it is over when the bytes are there and compared. */
export interface Mover {
  readonly name: string;
  move(direction: Direction, from: string, to: string): Promise<void>;
}

/** A server, and the port at which it is reached (its own, or that of a relay). */
export interface Way {
  readonly server: Pick<SshServer, "settings"> & { readonly directory: { readonly path: string } };
  readonly port: number;
  /** A directory for configuration of the programs. */
  readonly scratch: string;
}

/** The engine with a connection that is kept between moves, as the agent's is. */
export class OurMover implements Mover, AsyncDisposable {
  readonly name = "siteagent";
  readonly #kind: Kind;
  readonly #way: ReturnType<typeof accessTo>;
  readonly #rules: readonly string[];
  readonly #cache: InputCache | undefined;
  readonly #scratch: string;

  constructor({ server, port, scratch }: Way, kind: Kind, cache?: InputCache) {
    this.#kind = kind;
    this.#way = accessTo(server.settings({ port }));
    this.#rules = [`sftp://far${server.directory.path}/`];
    this.#cache = cache;
    this.#scratch = scratch;
  }

  async move(direction: Direction, from: string, to: string): Promise<void> {
    await this.run(direction, from, to);
  }

  async run(direction: Direction, from: string, to: string): Promise<TransferOutcome> {
    const policy = compilePolicy({ sources: this.#rules, destinations: this.#rules });
    const adapter = createSftpTransfer({ policy, access: () => this.#way.access });
    await using engine = createTransferEngine({
      policy,
      registry: new TransferRegistry([adapter]),
      cache: this.#cache,
      lists: this.#scratch,
      limits: () => ({ files: filesAtOnce }),
    });
    const [local, remote] = direction === "up" ? [from, to] : [to, from];
    const split = local.lastIndexOf("/");
    const [root, name] = [local.slice(0, split), local.slice(split + 1)];
    const common = { name: "data", kind: this.#kind, required: true, mode: "copy", include: [], exclude: [] } as const;
    const item: TransferItem =
      direction === "up"
        ? { ...common, source: name, target: `sftp://far${remote}${this.#kind === "file" ? "" : "/"}` }
        : { ...common, source: `sftp://far${remote}`, target: name };
    const request = {
      token: newToken(),
      direction: direction === "up" ? "out" : "in",
      root,
      items: [item],
      known: [],
      onFile: async () => {},
    } as const;
    return await engine.run(request, {
      signal: new AbortController().signal,
      log: silentLogger,
      clock: systemClock,
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#way[Symbol.asyncDispose]();
  }
}

export async function sftp(way: Way, flag: "" | "-r "): Promise<Mover> {
  const options = await optionsOf(way);
  return {
    name: `sftp ${flag}+ sha256sum`,
    move: async (direction, from, to) => {
      await moveBySftp(way, options, flag, [direction, from, to]);
      await compare(from, to);
    },
  };
}

/** Without a comparison, for those who count what that takes by itself. */
export async function bareSftp(way: Way): Promise<Mover> {
  const options = await optionsOf(way);
  return { name: "sftp", move: (...move) => moveBySftp(way, options, "", move) };
}

async function moveBySftp(
  { port, scratch }: Way,
  options: readonly string[],
  flag: string,
  [direction, from, to]: readonly [Direction, string, string],
): Promise<void> {
  const batch = `${scratch}/batch`;
  await writeFile(batch, `${direction === "up" ? "put" : "get"} ${flag}${from} ${to}\n`);
  await run("sftp", ["-q", ...options, "-P", String(port), "-b", batch, "127.0.0.1"]);
}

export async function scp(way: Way): Promise<Mover> {
  const options = await optionsOf(way);
  return {
    name: "scp + sha256sum",
    move: async (direction, from, to) => {
      const [a, b] = direction === "up" ? [from, `127.0.0.1:${to}`] : [`127.0.0.1:${from}`, to];
      await run("scp", ["-q", ...options, "-P", String(way.port), a, b]);
      await compare(from, to);
    },
  };
}

export async function rsync(way: Way, flag: "--whole-file" | "-r"): Promise<Mover> {
  const shell = await shellOf(way);
  return {
    name: `rsync ${flag} + sha256sum`,
    move: async (direction, from, to) => {
      const slash = flag === "-r" ? "/" : "";
      const [a, b] = direction === "up" ? [from + slash, `127.0.0.1:${to}`] : [`127.0.0.1:${from}${slash}`, to];
      await run("rsync", [flag, "-e", shell, a, b]);
      await compare(from, to);
    },
  };
}

export async function tar(way: Way): Promise<Mover> {
  const ssh = `${await shellOf(way)} 127.0.0.1`;
  return {
    name: "tar through ssh + sha256sum",
    move: async (direction, from, to) => {
      await mkdir(to);
      const script =
        direction === "up"
          ? `tar -C ${from} -cf - . | ${ssh} tar -C ${to} -xf -`
          : `${ssh} tar -C ${from} -cf - . | tar -C ${to} -xf -`;
      await run("sh", ["-c", script]);
      await compare(from, to);
    },
  };
}

async function shellOf(way: Way): Promise<string> {
  return `ssh ${(await optionsOf(way)).join(" ")} -p ${way.port}`;
}

async function optionsOf({ server, scratch }: Way): Promise<readonly string[]> {
  const { user, key, knownHosts } = server.settings();
  const config = `${scratch}/ssh_config`;
  await writeFile(
    config,
    `User ${user ?? ""}\nIdentityFile ${key?.path ?? ""}\nUserKnownHostsFile ${knownHosts ?? ""}\nBatchMode yes\n`,
  );
  return ["-F", config];
}

/** What a careful person does after a copy: digests at both ends, at the same time. */
async function compare(from: string, to: string): Promise<void> {
  const [a, b] = await Promise.all([digest(from), digest(to)]);
  if (a !== b) throw new Error(`'${to}' is not what '${from}' is`);
}

/** Of a file, or of a list of all files below a directory with theirs. */
export async function digest(path: string): Promise<string> {
  const script = 'cd "$0" 2>/dev/null || { sha256sum < "$0"; exit; }; find . -type f -exec sha256sum {} + | sort';
  const { stdout } = await run("sh", ["-c", script, path], { maxBuffer: 64 * mebibyte });
  return createHash("sha256").update(stdout).digest("hex");
}
