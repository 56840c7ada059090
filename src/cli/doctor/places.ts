import { randomUUID } from "node:crypto";
import { existsSync } from "node:fs";
import { open, rm, stat, statfs } from "node:fs/promises";
import { userInfo } from "node:os";
import { dirname, join } from "node:path";
import { errnoOf, isFault } from "../../common/fault.ts";
import { formatSize } from "../../common/units.ts";
import { ControlClient } from "../control-client.ts";
import { directoryProblem } from "../../transfer/cache/directory.ts";
import { shellQuoted } from "../../common/shell.ts";
import { type Check, type DoctorFacts, failing, type Finding, ok, skipped, warning } from "./types.ts";

const leastInodes = 10_000;
const slowSyncMs = 50;
const syncs = 8;
const longestSocketBytes = 107;

/** Checks of directories: where jobs run, where the journal lies, where the socket is. */
export const placeChecks: readonly Check[] = [
  { id: "workdir", title: "Work directory", area: "places", run: workDirectories },
  {
    id: "state-dir",
    title: "State directory",
    area: "places",
    run: (facts) => ownDirectory(facts.stateDir, "the journal"),
  },
  {
    id: "runtime-dir",
    title: "Runtime directory",
    area: "places",
    run: (facts) => ownDirectory(facts.runtimeDir, "the control socket"),
  },
  { id: "state-fs", title: "File system of the state directory", area: "places", run: stateFileSystem },
  { id: "fsync", title: "Speed of durable writes", area: "places", run: syncSpeed },
  { id: "space", title: "Free space and inodes", area: "places", run: freeSpace },
  { id: "input-cache", title: "Cache of inputs", area: "places", run: inputCache },
  { id: "socket", title: "Length of the socket path", area: "places", run: socketLength },
  { id: "instance", title: "Agents on this state directory", area: "places", run: instances },
];

/** Names of the magic numbers that matter here (statfs(2)). */
const fileSystems: Readonly<Record<number, string>> = {
  0x6969: "NFS",
  0xff534d42: "CIFS",
  0xfe534d42: "SMB2",
  0x0bd00bd0: "Lustre",
  0x47504653: "GPFS",
  0x19830326: "BeeGFS",
  0x65735546: "FUSE",
  0x01021994: "tmpfs",
  0xef53: "ext4",
  0x58465342: "XFS",
  0x9123683e: "Btrfs",
  0x2fc12fc1: "ZFS",
  0x794c7630: "overlayfs",
};
const shared = new Set(["NFS", "CIFS", "SMB2", "Lustre", "GPFS", "BeeGFS", "FUSE"]);

/** Of a directory, or of the nearest one above that exists. */
async function fileSystemOf(directory: string): Promise<{ readonly name: string; readonly at: string }> {
  const at = nearestExisting(directory);
  const { type } = await statfs(at);
  return { name: fileSystems[type >>> 0] ?? `type 0x${(type >>> 0).toString(16)}`, at };
}

function nearestExisting(directory: string): string {
  let at = directory;
  while (!existsSync(at) && dirname(at) !== at) at = dirname(at);
  return at;
}

function workdirs({ site }: Pick<DoctorFacts, "site">): readonly string[] {
  return site ? Object.values(site.hosts).flatMap(({ kind, workdir }) => (kind === "local" ? [workdir] : [])) : [];
}

async function workDirectories(facts: DoctorFacts): Promise<Finding> {
  const found: string[] = [];
  for (const directory of workdirs(facts)) {
    const at = nearestExisting(directory);
    const problem = await writeProblem(at);
    if (problem !== undefined) {
      return failing(`${directory} cannot be written: ${problem}`, "jobs run below it", makeCommand(directory));
    }
    found.push(`${directory} (${(await fileSystemOf(at)).name}${at === directory ? "" : ", made at the first start"})`);
  }
  return found.length === 0 ? skipped("no site file") : ok(found.join(", "));
}

/** Another account than root cannot make it itself: that was just tried. */
function makeCommand(directory: string): string {
  const { uid, username } = userInfo();
  const sudo = uid === 0 ? "" : "sudo ";
  return `${sudo}install -d -m 700 -o ${shellQuoted(username)} ${shellQuoted(directory)}`;
}

async function writeProblem(directory: string): Promise<string | undefined> {
  const probe = join(directory, `.siteagent-doctor-${randomUUID()}`);
  try {
    const file = await open(probe, "wx", 0o600);
    await file.close();
    await rm(probe);
    return undefined;
  } catch (error) {
    return errnoOf(error) ?? String(error);
  }
}

async function ownDirectory(directory: string, holds: string): Promise<Finding> {
  if (!existsSync(directory)) {
    const above = nearestExisting(directory);
    const problem = await writeProblem(above);
    if (problem === undefined) return ok(`${directory} will be made at the first start`);
    return failing(
      `${directory} is missing and cannot be made in ${above}: ${problem}`,
      `it holds ${holds}`,
      makeCommand(directory),
    );
  }
  const { mode, uid } = await stat(directory);
  const text = (mode & 0o7777).toString(8).padStart(4, "0");
  const own = process.getuid?.() ?? 0;
  if (uid !== own) {
    return failing(
      `${directory} belongs to uid ${uid}, this is ${own}`,
      `it holds ${holds}`,
      `chown ${own} ${shellQuoted(directory)}`,
    );
  }
  if ((mode & 0o077) === 0) return ok(`${directory} (${text})`);
  return warning(
    `${directory} has mode ${text}`,
    `it holds ${holds}; nobody else should look into it`,
    `chmod 700 ${shellQuoted(directory)}`,
  );
}

async function stateFileSystem({ stateDir }: DoctorFacts): Promise<Finding> {
  const { name } = await fileSystemOf(stateDir);
  if (shared.has(name)) {
    return warning(
      `${name}`,
      "the journal works there with one writer, but slower, and an outage of the server stops the agent",
      "set agent.state_dir to a directory on a local disk",
    );
  }
  if (name === "tmpfs") {
    return warning(
      "tmpfs",
      "the journal is gone after a restart of the machine",
      "set agent.state_dir to a directory on a disk",
    );
  }
  return ok(name);
}

async function syncSpeed({ stateDir }: DoctorFacts): Promise<Finding> {
  const at = nearestExisting(stateDir);
  const path = join(at, `.siteagent-doctor-${randomUUID()}`);
  const times: number[] = [];
  try {
    const file = await open(path, "wx", 0o600);
    try {
      for (let count = 0; count < syncs; count++) {
        await file.write(Buffer.alloc(4096, count));
        const begin = performance.now();
        await file.datasync();
        times.push(performance.now() - begin);
      }
    } finally {
      await file.close();
      await rm(path, { force: true });
    }
  } catch (error) {
    return skipped(`cannot be measured in ${at}: ${errnoOf(error) ?? String(error)}`);
  }
  const median = times.toSorted((a, b) => a - b)[Math.floor(times.length / 2)] ?? 0;
  const text = `${median.toFixed(1)} ms (median of ${syncs}) in ${at}`;
  if (median < slowSyncMs) return ok(text);
  return warning(
    text,
    "each step of a job waits for one or two of them",
    "set agent.state_dir to a directory on a faster local disk",
  );
}

async function freeSpace(facts: DoctorFacts): Promise<Finding> {
  const least = facts.site?.agent.minFreeSpaceBytes ?? 1024 ** 3;
  const found: string[] = [];
  for (const directory of new Set([facts.stateDir, ...workdirs(facts)])) {
    const at = nearestExisting(directory);
    const { bavail, bsize, ffree, files } = await statfs(at);
    const free = bavail * bsize;
    const text = `${formatSize(free)} free for ${directory}`;
    if (free < least) {
      return warning(
        text,
        `below ${formatSize(least)} (agent.min_free_space) nothing new is claimed`,
        `make room below ${at}, or set agent.min_free_space`,
      );
    }
    if (files > 0 && ffree < leastInodes) {
      return warning(`${ffree} inodes left for ${directory}`, "every job makes some files", `remove files below ${at}`);
    }
    found.push(text);
  }
  return ok(found.join(", "));
}

async function inputCache({ site }: DoctorFacts): Promise<Finding> {
  if (!site?.cache) return skipped(site ? "the site file has none" : "no site file");
  const { directory, maxBytes, placing } = site.cache;
  const at = nearestExisting(directory);
  const problem = at === directory ? await directoryProblem(directory, undefined) : undefined;
  if (problem) return failing(`${directory}: ${problem.what}`, "jobs run without it", problem.hint);
  const write = await writeProblem(at);
  if (write !== undefined) {
    return failing(`${directory} cannot be written: ${write}`, "jobs run without it", makeCommand(directory));
  }
  const { bavail, blocks, bsize } = await statfs(at);
  const text = `${directory}, at most ${formatSize(maxBytes)}, ${formatSize(bavail * bsize)} free`;
  if (maxBytes > blocks * bsize) {
    const why = "it will give way when less than agent.min_free_space is left, and never reach its limit";
    return warning(`${text}, more than its file system has`, why, "set a smaller cache.max_size");
  }
  const { dev } = await stat(at);
  for (const workdir of workdirs({ site })) {
    if ((await stat(nearestExisting(workdir))).dev === dev) continue;
    const why = placing === "link" ? "there are no links between the two: files are copied" : "no blocks can be shared";
    return warning(`${text}; on another file system than ${workdir}`, why, "set cache.directory to one beside it");
  }
  return ok(text);
}

function socketLength({ runtimeDir }: DoctorFacts): Finding {
  const path = join(runtimeDir, "agent.sock");
  const bytes = Buffer.byteLength(path);
  if (bytes <= longestSocketBytes) return ok(`${bytes} of at most ${longestSocketBytes} bytes`);
  return failing(
    `${bytes} bytes: ${path}`,
    `the kernel allows ${longestSocketBytes}`,
    "set agent.runtime_dir to a shorter directory",
  );
}

async function instances({ runtimeDir, signal }: DoctorFacts): Promise<Finding> {
  const socket = join(runtimeDir, "agent.sock");
  if (!existsSync(socket)) return ok("none runs");
  await using client = new ControlClient(socket, signal);
  try {
    const status = await client.status();
    return ok(`one runs: pid ${status.pid}, ${status.mode}; a second one would be refused`);
  } catch (error) {
    if (!isFault(error)) throw error;
    if (error.code === "FORBIDDEN") {
      return warning(error.message, "orders to the agent need its own account", "run this as the account of the agent");
    }
    return ok(`none runs (the socket is left from an agent that ended; the next one replaces it)`);
  }
}
