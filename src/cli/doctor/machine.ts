import { execFile } from "node:child_process";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { availableParallelism, homedir, userInfo } from "node:os";
import { dirname, join } from "node:path";
import { promisify } from "node:util";
import { speaksUtf8 } from "../terminal.ts";
import { shellQuoted } from "../../common/shell.ts";
import { type Check, type DoctorFacts, failing, type Finding, ok, skipped, warning } from "./types.ts";
import { counted } from "../format/text.ts";

const run = promisify(execFile);
const toolTimeoutMs = 5_000;
const leastFiles = 1024;
const leastProcesses = 512;

/** Checks that look at the machine and the account alone. */
export const machineChecks: readonly Check[] = [
  { id: "node", title: "Node version", area: "machine", run: nodeVersion },
  { id: "account", title: "Account", area: "machine", run: account },
  { id: "kill-tier", title: "Ending process trees", area: "machine", run: killTier },
  { id: "cgroup", title: "Control groups", area: "machine", run: cgroup },
  { id: "node-pty", title: "Pseudo-terminals", area: "machine", run: pty },
  { id: "open-files", title: "Open files (ulimit -n)", area: "machine", run: openFiles },
  { id: "processes", title: "Processes (ulimit -u)", area: "machine", run: processes },
  { id: "umask", title: "Mode of new files (umask)", area: "machine", run: umask },
  { id: "proc", title: "Visibility of /proc", area: "machine", run: procVisible },
  { id: "linger", title: "Processes after log-out", area: "machine", run: linger },
  { id: "path", title: "PATH of this shell", area: "machine", run: path },
  { id: "locale", title: "Locale", area: "machine", run: locale },
];

function nodeVersion(): Finding {
  const { node } = process.versions;
  if (node.startsWith("24.")) return ok(`Node ${node} at ${process.execPath}`);
  return failing(
    `Node ${node} at ${process.execPath}`,
    "siteagent is made for Node 24 and refuses others at its start",
    "npm ci --ignore-scripts",
  );
}

function account(): Finding {
  const { username, uid } = userInfo();
  if (uid !== 0) return ok(`'${username}' (uid ${uid}), ${counted(availableParallelism(), "processor")}`);
  return warning(
    `'${username}' (uid 0), ${counted(availableParallelism(), "processor")}`,
    "jobs run as the account of the agent; a fault of an app could harm the whole machine",
    accountRepair(),
  );
}

/** Makes the account unless it is there, and looks at the machine with its eyes. */
function accountRepair(): string {
  const look = "su - siteagent -s /bin/sh -c 'siteagent doctor'";
  const known = /^siteagent:/m.test(existsSync("/etc/passwd") ? readFileSync("/etc/passwd", "utf8") : "");
  return known ? look : `useradd --system --create-home siteagent && ${look}`;
}

async function hasPerl(env: NodeJS.ProcessEnv): Promise<boolean> {
  try {
    await run("perl", ["-e", "exit 0"], { timeout: toolTimeoutMs, env: { PATH: env["PATH"] ?? "/usr/bin:/bin" } });
    return true;
  } catch {
    return false;
  }
}

async function killTier({ env, cgroups }: DoctorFacts): Promise<Finding> {
  if (await cgroups()) return ok("tier 'cgroup': nothing of an attempt can escape");
  if (await hasPerl(env)) return ok("tier 'subreaper' (perl is there): all descendants are found, also detached ones");
  return warning(
    "tier 'group': only the process group and what is seen in time",
    "a process that detaches itself could outlive the cancellation of its job",
    "apt-get install perl-base, or run the agent under systemd with Delegate=yes",
  );
}

async function cgroup({ cgroups }: DoctorFacts): Promise<Finding> {
  const base = await cgroups();
  if (base) return ok(`groups can be made and killed below ${dirname(base.directory)}`);
  return skipped("no part of a version 2 tree is ours; systemd with Delegate=yes would give one");
}

async function pty(): Promise<Finding> {
  try {
    const name = "node-pty"; // its own types name another package
    await import(name);
    return ok("node-pty loads; apps may use the runtime 'pty'");
  } catch (error) {
    return warning(
      `node-pty does not load: ${error instanceof Error ? (error.message.split("\n")[0] ?? "") : String(error)}`,
      "apps with `runtime: pty` are refused; all others work",
      "npm ci --ignore-scripts",
    );
  }
}

function softLimit(name: string): number {
  const line = readText("/proc/self/limits")
    .split("\n")
    .find((one) => one.startsWith(name));
  const value = line?.slice(name.length).trim().split(/\s+/)[0];
  return value === "unlimited" || value === undefined ? Infinity : Number(value);
}

function openFiles(): Finding {
  const limit = softLimit("Max open files");
  if (limit >= leastFiles) return ok(limit === Infinity ? "unlimited" : String(limit));
  return warning(
    `${limit}`,
    `each job and connection takes some; below ${leastFiles} starts fail under load`,
    "ulimit -n 4096 (in a unit: LimitNOFILE=4096)",
  );
}

function processes(): Finding {
  const limit = softLimit("Max processes");
  if (limit >= leastProcesses) return ok(limit === Infinity ? "unlimited" : String(limit));
  return warning(
    `${limit}`,
    "jobs count against it too; a fork that fails looks like a failing job",
    "ulimit -u 4096 (in a unit: TasksMax=4096)",
  );
}

function umask(): Finding {
  const mask = process.umask();
  const text = mask.toString(8).padStart(3, "0");
  if ((mask & 0o022) === 0o022) return ok(text);
  return warning(text, "new files could be changed by others", "umask 022 (jobs have their own: `umask` of the app)");
}

function procVisible(): Finding {
  if (readText("/proc/self/stat") === "") {
    return failing(
      "/proc cannot be read",
      "without it no process can be identified, so none may be ended",
      "mount -t proc proc /proc",
    );
  }
  const mount = readText("/proc/mounts")
    .split("\n")
    .find((line) => line.split(" ")[1] === "/proc");
  const hidepid = /hidepid=([a-z0-9]+)/.exec(mount ?? "")?.[1] ?? "0";
  if (hidepid === "0" || hidepid === "off") return ok("processes are visible");
  return ok(`hidepid=${hidepid}: those of other accounts are hidden, ours are visible`);
}

/** Does systemd-logind end what a person leaves behind? */
function linger({ env }: DoctorFacts): Finding {
  const { username, uid } = userInfo();
  if (!existsSync("/run/systemd/seats")) return skipped("no logind here");
  if (uid === 0) return ok("root is not affected");
  if (existsSync(join("/var/lib/systemd/linger", username))) return ok(`lingering is on for '${username}'`);
  const kills = logindSetting("KillUserProcesses") === "yes";
  if (!kills && env["XDG_SESSION_ID"] === undefined) return ok("not in a log-in session");
  return warning(
    kills ? "KillUserProcesses=yes, and no lingering" : `no lingering for '${username}'`,
    kills
      ? "at your log-out agent and jobs are killed"
      : "user units end at your last log-out; without a unit the agent goes on",
    `loginctl enable-linger ${shellQuoted(username)}`,
  );
}

function logindSetting(name: string): string | undefined {
  const files = ["/etc/systemd/logind.conf"];
  for (const directory of ["/usr/lib/systemd/logind.conf.d", "/etc/systemd/logind.conf.d"]) {
    if (existsSync(directory)) files.push(...readdirSync(directory).map((file) => join(directory, file)));
  }
  let value: string | undefined;
  for (const file of files) {
    for (const line of readText(file).split("\n")) {
      const [key, text] = line.split("=", 2);
      if (key?.trim() === name && text !== undefined) value = text.trim();
    }
  }
  return value;
}

function path({ env }: DoctorFacts): Finding {
  const entries = (env["PATH"] ?? "").split(":");
  const relative = entries.filter((entry) => !entry.startsWith("/"));
  if (relative.length > 0) {
    return warning(
      `holds ${relative.map((entry) => `'${entry}'`).join(", ")}`,
      "programs of the current directory could run instead of the right ones",
      "remove empty and relative entries from PATH",
    );
  }
  const inHome = entries.filter((entry) => entry.startsWith(homedir())).length;
  return ok(
    `${entries.length === 1 ? "1 entry" : `${entries.length} entries`}${inHome > 0 ? `, ${inHome} in your home` : ""}; jobs get the PATH of the site file instead`,
  );
}

function locale({ env }: DoctorFacts): Finding {
  const name = env["LC_ALL"] || env["LC_CTYPE"] || env["LANG"] || "(none)";
  if (speaksUtf8(env)) return ok(name);
  return warning(name, "symbols are ASCII here, and file names with other letters look odd", "export LANG=C.UTF-8");
}

function readText(file: string): string {
  try {
    return readFileSync(file, "utf8");
  } catch {
    return "";
  }
}
