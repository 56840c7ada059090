// Plain JavaScript for the machine's own Node (18 or newer): installs what package-lock.json names when it is missing,
// then goes on under the Node 24 that came with it. No install scripts, no compiler, no system packages.
import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const root = dirname(dirname(fileURLToPath(import.meta.url)));

function fail(code, message) {
  process.stderr.write(`siteagent: ${message}\n`);
  process.exit(code);
}

/** Runs a command in the foreground; ends this process with its exit code when `last`. */
function run(file, args, { last = false, env = process.env } = {}) {
  const done = spawnSync(file, args, { cwd: last ? process.cwd() : root, stdio: "inherit", env });
  if (done.error) fail(69, `cannot run ${file}: ${done.error.message}`);
  const code = done.status ?? 128 + (done.signal === "SIGINT" ? 2 : 15);
  if (last) process.exit(code);
  return code;
}

function ensureInstalled() {
  const lock = createHash("sha256")
    .update(readFileSync(join(root, "package-lock.json")))
    .digest("hex");
  const stamp = join(root, "node_modules", ".siteagent-lock");
  if (existsSync(stamp) && readFileSync(stamp, "utf8").trim() === lock) return;
  process.stderr.write("siteagent: installing dependencies from npm (once, about a minute)\n");
  const code = run("npm", ["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]);
  if (code !== 0) fail(69, `npm ci ended with ${code}: is the npm registry reachable?`);
  writeFileSync(stamp, `${lock}\n`);
}

function node24() {
  const arch = { x64: "x64", arm64: "arm64" }[process.arch];
  const bundled = join(root, "node_modules", `node-linux-${arch}`, "bin", "node");
  for (const candidate of [bundled, process.execPath]) {
    if (!existsSync(candidate)) continue;
    const version = spawnSync(candidate, ["--version"], { encoding: "utf8" }).stdout?.trim() ?? "";
    if (/^v24\./.test(version)) return candidate;
  }
  return fail(
    78,
    `Node 24 is needed; none found at ${bundled}, and this is ${process.version} on ${process.platform}-${process.arch}`,
  );
}

const [task = "help", ...rest] = process.argv.slice(2);
ensureInstalled();
const node = node24();
// Tools that find `node` by PATH must find the same one.
const env = { ...process.env, PATH: `${dirname(node)}:${process.env.PATH ?? ""}` };
const bin = (name) => join(root, "node_modules", name);
const script = (name) => join(root, "scripts", name);
const tasks = {
  demo: [join(root, "src/main.ts"), "demo"],
  cli: [join(root, "src/main.ts")],
  test: [script("test.ts")],
  check: [script("check.ts")],
  generate: [script("generate.ts")],
  build: [script("build.ts")],
  typecheck: [bin("typescript/bin/tsc"), "-p", root],
  lint: [bin("oxlint/bin/oxlint"), "--type-aware"],
  format: [bin("oxfmt/bin/oxfmt")],
};
const chosen = tasks[task];
if (!chosen) fail(64, `unknown task '${task}'; one of ${Object.keys(tasks).join(", ")}`);
run(node, [...chosen, ...rest], { last: true, env });
