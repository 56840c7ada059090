/** Random trees that go out and come in again over real SSH or S3 while lines are cut and the process that moves them is killed. */
import { link, mkdir, open, readdir, rm } from "node:fs/promises";
import { dirname, join } from "node:path";
import { isFault } from "../../../src/common/fault.ts";
import { newToken } from "../../../src/common/token.ts";
import type { ManifestEntry, RemoteFile, TransferItem } from "../../../src/transfer/types.ts";
import type { SshServerOptions } from "../../helpers/engines/ssh-server.ts";
import { FaultProxy } from "../../helpers/fault-proxy.ts";
import { pick, seeded } from "../../helpers/random.ts";
import { Relay, type RelayOptions } from "../../helpers/relay.ts";
import { temporaryDirectory, type TemporaryDirectory } from "../../helpers/temporary.ts";
import { waitFor } from "../../helpers/wait.ts";
import { type ChildTask, runTask } from "./crash-task.ts";
import { skipping, startChild } from "./lost-lines.ts";
import { rsyncHarness } from "./rsync-harness.ts";
import { type Account, partBytes, policy, raw, s3Harness } from "./s3-harness.ts";
import { digestTree, item, sha256, testContext } from "./setup.ts";
import { sftpHarness } from "./sftp-harness.ts";

/** A server as sites have them, and the line to it. */
export interface FarSide {
  readonly name: string;
  start(): Promise<Far>;
}

/** A place that trees go to and come from, behind a line that can be cut. */
interface Far extends AsyncDisposable {
  readonly proxy: FaultProxy;
  readonly rules: readonly string[];
  readonly task: Pick<ChildTask, "ssh" | "s3">;
  /** No connection is cut before so many bytes: less than one piece would never get anywhere. */
  readonly leastLife: number;
  /** Directories with longer paths get none below them; bytes. */
  readonly mostPath: number;
  url(name: string): string;
  /** Relative path → digest of what lies at `tree/`. */
  digests(): Promise<Readonly<Record<string, string>>>;
  /** Removes it. */
  clear(): Promise<void>;
}

/** So narrow that a process can be killed before it is done. */
const narrow: RelayOptions = { bytesPerSecond: 16 * 1024 * 1024 };

export const farSides: readonly FarSide[] = [
  bySsh("one session at a time", { directives: ["MaxSessions 1"] }),
  bySsh("files alone, no shell", { directives: ["ForceCommand internal-sftp"], sftp: "internal-sftp" }),
  bySsh("a long and narrow line", {}, { delayMs: 10, ...narrow }),
];

export const byRsync: FarSide = { name: "by rsync", start: () => startSsh(rsyncHarness, {}, narrow) };

function bySsh(name: string, server: SshServerOptions, line = narrow): FarSide {
  return { name, start: () => startSsh(sftpHarness, server, line) };
}

async function startSsh(harness: typeof sftpHarness, server: SshServerOptions, line: RelayOptions): Promise<Far> {
  const far = await harness(server, { proxied: true, line });
  const { proxy } = far;
  if (!proxy) throw new Error("no proxy");
  return {
    proxy,
    rules: far.policy.sources,
    task: { ssh: far.server.settings({ port: proxy.port }) },
    leastLife: 1_500_000,
    mostPath: 900,
    url: (name) => far.url(name),
    digests: () => digestTree(far.path("tree")),
    clear: () => rm(far.path("tree"), { recursive: true }),
    [Symbol.asyncDispose]: () => far[Symbol.asyncDispose](),
  };
}

/** An object store that runs already. */
export function byS3(account: Account & { readonly bucket: string }): FarSide {
  return { name: "by S3", start: () => startS3(account) };
}

async function startS3(account: Account & { readonly bucket: string }): Promise<Far> {
  const relay = await Relay.start(Number(new URL(account.endpoint).port), narrow);
  const proxy = await FaultProxy.start(relay.port);
  const direct = await s3Harness(account);
  const list = (): Promise<readonly RemoteFile[]> =>
    direct.adapter.list(direct.url("tree/"), "directory", testContext());
  return {
    proxy,
    rules: policy.sources,
    // Few connections, so that some are cut.
    task: { s3: { bucket: direct.bucket, settings: { ...direct.settings, endpoint: proxy.url, parts: 1 } } },
    leastLife: 1.2 * partBytes,
    // Of the 1,024 bytes of a key.
    mostPath: 600,
    url: (name) => direct.url(name),
    digests: async () => {
      const found: [string, string][] = [];
      for (const { path } of await list())
        found.push([path, sha256((await direct.get(`tree/${path}`)) ?? Buffer.from("nothing"))]);
      return Object.fromEntries(found);
    },
    clear: async () => {
      for (const { path } of await list()) {
        const key = `tree/${path}`.split("/").map(encodeURIComponent).join("/");
        await raw(account, "DELETE", `${direct.prefix}${key}`);
      }
    },
    async [Symbol.asyncDispose]() {
      await direct[Symbol.asyncDispose]();
      await proxy[Symbol.asyncDispose]();
      await relay[Symbol.asyncDispose]();
    },
  };
}

export interface RoundTripOptions {
  readonly seed: number;
  /** Of the largest file. */
  readonly mostBytes: number;
  readonly mostFiles: number;
  /** In each direction. */
  readonly kills: number;
  /** One connection is cut in each direction, not all of them sooner or later. */
  readonly cutOnce?: boolean;
}

export interface RoundTrip {
  readonly files: number;
  readonly bytes: number;
  readonly kills: number;
  /** Connections that were cut. */
  readonly cuts: number;
  /** Empty: the tree that came back is the tree that went. */
  readonly wrong: readonly string[];
}

/** One tree there and back, by processes that are killed, over connections that are cut. */
export async function roundTrip(side: FarSide, options: RoundTripOptions): Promise<RoundTrip> {
  const random = seeded(options.seed);
  await using far = await side.start();
  await using here = await temporaryDirectory();
  const { proxy } = far;
  const { files, bytes } = await plantTree(here.join("tree"), random, options, far.mostPath);
  await mkdir(here.join("back"));
  // Long enough for some progress, short enough that large trees need several connections.
  const shortest = far.leastLife + bytes / 8;
  const lives = (): number => shortest * (1 + 2 * random());
  const leg = {
    far,
    here,
    random,
    kills: options.kills,
    bytes,
    lives: options.cutOnce === true ? undefined : lives,
  };
  const out = await travel(
    leg,
    "out",
    here.join("tree"),
    item({ kind: "directory", source: ".", target: far.url("tree/") }),
  );
  const back = await travel(
    leg,
    "in",
    here.join("back"),
    item({ kind: "directory", source: far.url("tree"), target: "." }),
  );
  const sent = await digestTree(here.join("tree"));
  const wrong = [
    ...differences("there", sent, await far.digests()),
    ...differences("back", sent, await digestTree(here.join("back"))),
  ];
  await far.clear();
  return {
    files,
    bytes,
    kills: out + back,
    cuts: proxy.severed,
    wrong,
  };
}

interface Leg {
  readonly far: Far;
  readonly here: TemporaryDirectory;
  readonly random: () => number;
  readonly kills: number;
  readonly bytes: number;
  /** How many bytes a connection lives; undefined: one is cut, after a kill. */
  readonly lives: (() => number) | undefined;
}

/** As agents do it: each process goes on with what the ones before have recorded. Returns how many were killed. */
async function travel(leg: Leg, direction: "in" | "out", root: string, what: TransferItem): Promise<number> {
  const { far, here, random, bytes } = leg;
  const { proxy } = far;
  const known = new Map<string, ManifestEntry>();
  const token = newToken();
  let kills = 0;
  const { severed } = proxy;
  for (let starts = 1; ; starts++) {
    const task: ChildTask = {
      token,
      direction,
      root,
      rules: far.rules,
      items: [what],
      ...far.task,
      known: [...known.values()],
    };
    const cut = leg.lives ?? (() => (kills > 0 && proxy.severed === severed ? bytes * 0.3 : Infinity));
    proxy.fault = { kind: "sever", afterBytes: cut };
    if (kills === leg.kills) {
      if (await isDone(task, known)) return kills;
    } else {
      const after = proxy.bytes + random() * bytes * 0.4;
      const end = await killOnce(here, task, () => proxy.bytes > after, known);
      if (end === "done") return kills;
      if (end === "killed") kills++;
    }
    // Its tries were used up, or it was killed: the next one goes on.
    if (starts > 60) throw new Error(`after ${starts} starts not ${direction}`);
  }
}

/** A program does it until it is killed, when so much has moved. */
async function killOnce(
  here: TemporaryDirectory,
  task: ChildTask,
  isTime: () => boolean,
  known: Map<string, ManifestEntry>,
): Promise<"done" | "killed" | "failed"> {
  await using child = await startChild(here, task);
  const what = "something to have moved";
  await waitFor(() => !child.running || isTime(), { what, intervalMs: 2, timeoutMs: 300_000 });
  const isKilled = child.running;
  child.signal("SIGKILL");
  await child.finished;
  for (const line of child.stdout.split("\n").slice(0, -1)) {
    if (line.startsWith("done ")) return "done";
    if (!line.startsWith("file ")) continue;
    const entry = JSON.parse(line.slice(5)) as ManifestEntry;
    known.set(entry.path, entry);
  }
  return isKilled ? "killed" : "failed";
}

/** An engine that knows no more than what is recorded goes on; false when its tries are used up. */
async function isDone(task: ChildTask, known: Map<string, ManifestEntry>): Promise<boolean> {
  try {
    await runTask(task, (entry) => known.set(entry.path, entry), skipping(5_000));
    return true;
  } catch (error) {
    if (isFault(error, "TRANSFER")) return false;
    throw error;
  }
}

const oddities = [
  "plain",
  " blank ",
  "-rf",
  "$HOME",
  "`id`",
  "'\"",
  "*?[x]{a,b}",
  "100% %41",
  "%2e%2e%2Fx%25",
  "#~&;|",
  "ünïcödé",
  "日本語",
  "🧬",
  "..hidden",
  "a:b@c",
  "x".repeat(180),
];

/** Files of many sizes and names in directories up to twelve deep: empty ones, holes, hard links, and one or two that are large. */
async function plantTree(
  root: string,
  random: () => number,
  { mostBytes, mostFiles }: RoundTripOptions,
  mostPath: number,
): Promise<{ readonly files: number; readonly bytes: number }> {
  const count = 3 + Math.floor(random() * mostFiles);
  const directories = [""];
  for (let index = 0; index < count / 4; index++) {
    const parent = pick(directories, random);
    if (parent.split("/").length < 12 && Buffer.byteLength(parent) < mostPath)
      directories.push(`${parent}d${index}${pick(oddities, random)}/`);
  }
  const made: string[] = [];
  let bytes = 0;
  for (let index = 0; index < count; index++) {
    const path = `${pick(directories, random)}${index}${pick(oddities, random)}`;
    await mkdir(join(root, dirname(path)), { recursive: true });
    const kind = index === 0 ? "large" : pick(["empty", "small", "small", "small", "middle", "sparse", "link"], random);
    if (kind === "link") await link(join(root, made[0] ?? ""), join(root, path));
    else await plantFile(join(root, path), sizeOf(kind, mostBytes, random), kind === "sparse" ? 500_000 : 0, random);
    made.push(path);
  }
  for (const path of await readdir(root, { recursive: true })) {
    await using file = await open(join(root, path), "r");
    const stats = await file.stat();
    if (stats.isFile()) bytes += stats.size;
  }
  return { files: count, bytes };
}

function sizeOf(kind: string, mostBytes: number, random: () => number): number {
  switch (kind) {
    case "large":
      return Math.ceil(mostBytes * (0.5 + random() / 2));
    case "middle":
      return Math.floor(random() * Math.min(mostBytes, 2_000_000));
    case "empty":
      return 0;
    default:
      return Math.floor(random() * 40_000);
  }
}

/** No two pieces of it are alike, and `hole` bytes after them are not written. */
async function plantFile(path: string, bytes: number, hole: number, random: () => number): Promise<void> {
  await using file = await open(path, "wx");
  const piece = Buffer.alloc(64 * 1024);
  for (let at = 0; at < bytes; at += piece.length) {
    piece.fill(`${at} ${random()} `);
    await file.write(piece, 0, Math.min(piece.length, bytes - at));
  }
  if (hole > 0) await file.write("end", bytes + hole);
}

function differences(
  where: string,
  wanted: Readonly<Record<string, string>>,
  found: Readonly<Record<string, string>>,
): readonly string[] {
  const paths = new Set([...Object.keys(wanted), ...Object.keys(found)]);
  return [...paths].flatMap((path) => {
    if (wanted[path] === found[path]) return [];
    const how = found[path] === undefined ? "is missing" : wanted[path] === undefined ? "is too many" : "is another";
    return [`${where}: '${path}' ${how}`];
  });
}
