// Plain JavaScript for Node 18. One process at a time; the others wait and say so.
import { mkdirSync, readFileSync, rmdirSync, rmSync, writeFileSync } from "node:fs";
import { hostname } from "node:os";

const lookEveryMs = 250;
/** A lock of another machine (shared directory) cannot be looked into: after this long it counts as left behind. */
const foreignLockMs = 15 * 60_000;

/** Runs `work` while this process holds the file `path`; a lock whose owner is gone is taken over. */
export async function withLock(path, say, work) {
  let told = false;
  while (!take(path)) {
    if (!told) say(`waiting for another process that is installing (${path})`);
    told = true;
    await new Promise((resolve) => setTimeout(resolve, lookEveryMs));
  }
  const release = () => rmSync(path, { force: true });
  process.on("exit", release);
  try {
    return await work();
  } finally {
    process.off("exit", release);
    release();
  }
}

function take(path) {
  if (create(path)) return true;
  if (!isAbandoned(path)) return false;
  // Only one may remove what is left behind, or it could remove the lock that another has just made.
  const guard = `${path}.takeover`;
  try {
    mkdirSync(guard);
  } catch {
    return false;
  }
  try {
    if (isAbandoned(path)) rmSync(path, { force: true });
    return create(path);
  } finally {
    rmdirSync(guard);
  }
}

function create(path) {
  try {
    const owner = { pid: process.pid, start: startOf(process.pid), host: hostname(), at: Date.now() };
    writeFileSync(path, JSON.stringify(owner), { flag: "wx" });
    return true;
  } catch (error) {
    if (error.code === "EEXIST") return false;
    throw error;
  }
}

function isAbandoned(path) {
  let owner;
  try {
    owner = JSON.parse(readFileSync(path, "utf8"));
  } catch (error) {
    // Gone meanwhile, or being written this moment; an empty one is looked at again at the next turn.
    return error.code === undefined && isOld(path);
  }
  if (owner.host !== hostname()) return Date.now() - owner.at > foreignLockMs;
  return startOf(owner.pid) !== owner.start;
}

const firstSeen = new Map();

/** An unreadable lock was left by a process that died while writing it, if it stays so for some seconds. */
function isOld(path) {
  const since = firstSeen.get(path) ?? Date.now();
  firstSeen.set(path, since);
  return Date.now() - since > 5_000;
}

/** When the process began (clock ticks since boot), or undefined when there is none: a reused pid differs. */
function startOf(pid) {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
    return stat.slice(stat.lastIndexOf(")") + 2).split(" ")[19];
  } catch {
    return undefined;
  }
}
