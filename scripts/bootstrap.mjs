// Plain JavaScript for the machine's own Node (18 or newer): installs what package-lock.json names when it is missing,
// then goes on under the Node 24 that came with it. No install scripts, no compiler, no system packages.
import { spawn, spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { constants } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { ensureInstalled } from "./bootstrap/install.mjs";

const root = dirname(dirname(fileURLToPath(import.meta.url)));

function fail(code, message) {
  process.stderr.write(`siteagent: ${message}\n`);
  process.exit(code);
}

function node24() {
  const bundled = join(root, "node_modules", `node-linux-${process.arch}`, "bin", "node");
  for (const candidate of [bundled, process.execPath]) {
    if (!existsSync(candidate)) continue;
    const version = spawnSync(candidate, ["--version"], { encoding: "utf8" }).stdout?.trim() ?? "";
    if (/^v24\./.test(version)) return candidate;
  }
  return fail(
    78,
    `Node 24 is needed; none that runs at ${bundled}, and this is ${process.version} on ${process.platform}-${process.arch}`,
  );
}

/** Runs the task in the foreground and ends as it ends; signals to this process go on to it. */
function runTask(node, args) {
  // Tools that find `node` by PATH must find the same one.
  const env = { ...process.env, PATH: `${dirname(node)}:${process.env.PATH ?? ""}` };
  const child = spawn(node, args, { stdio: "inherit", env });
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"]) {
    process.on(signal, () => {
      // What is typed at the terminal reaches the child by itself; a second copy would mean "at once".
      if (signal !== "SIGINT" || !process.stdin.isTTY) child.kill(signal);
    });
  }
  child.on("error", (error) => fail(69, `cannot run ${node}: ${error.message}`));
  child.on("exit", (code, signal) => process.exit(code ?? 128 + (constants.signals[signal] ?? 15)));
}

const script = (name) => join(root, "scripts", name);
const tool = (name) => join(root, "node_modules", name);
const tasks = {
  demo: [script("demo.ts")],
  cli: [join(root, "src/main.ts")],
  test: [script("test.ts")],
  coverage: ["--disable-warning=ExperimentalWarning", script("coverage.ts")],
  check: [script("check.ts")],
  generate: [script("generate.ts")],
  prove: [script("prove/prove.ts")],
  bench: [join(root, "bench/run.ts")],
  build: [script("build.ts")],
  typecheck: [tool("typescript/bin/tsc"), "-p", root],
  lint: [tool("oxlint/bin/oxlint"), "--type-aware"],
  format: [tool("oxfmt/bin/oxfmt")],
};

const [task = "help", ...rest] = process.argv.slice(2);
const chosen = Object.hasOwn(tasks, task) ? tasks[task] : undefined;
if (!chosen) fail(64, `unknown task '${task}'; one of ${Object.keys(tasks).join(", ")}`);
const major = Number(process.versions.node.split(".")[0]);
if (major < 18) fail(78, `Node 18 or newer is needed to begin, this is ${process.version}`);
const problem = await ensureInstalled(root);
if (problem) fail(69, problem);
runTask(node24(), [...chosen, ...rest]);
