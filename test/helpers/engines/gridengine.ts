import { execFile } from "node:child_process";
import { promisify } from "node:util";
import { isExecutable } from "./command.ts";
import type { Engine } from "./engine.ts";

const run = promisify(execFile);

/** Where Debian puts daemons, commands and tools; those in PATH are slow wrappers around them. */
export const gridEnginePrograms = "/usr/lib/gridengine";
const needed = ["sge_qmaster", "sge_execd", "sge_shepherd", "spoolinit", "spooldefaults.bin", "qsub", "qacct", "qconf"];

/** Grid Engine's master, execution daemon and commands: a whole cell on this host, in a view of its own of the host's name. */
export const gridengine: Engine = {
  debianPackages: ["gridengine-master", "gridengine-exec", "gridengine-client"],
  async probe() {
    if (process.getuid?.() !== 0) return { ok: false, reason: "a cell needs root: for its namespaces and its jobs" };
    const missing = needed.filter((name) => !isExecutable(`${gridEnginePrograms}/${name}`));
    if (missing.length > 0) return { ok: false, reason: `not installed: ${missing.join(", ")}` };
    try {
      await run("unshare", ["-m", "-u", "mount", "--bind", "/etc/hosts", "/etc/hosts"], { timeout: 10_000 });
    } catch {
      return { ok: false, reason: "this account may not have namespaces of its own" };
    }
    const help = await run(`${gridEnginePrograms}/qstat`, ["-help"], { timeout: 20_000 }).catch(() => ({ stdout: "" }));
    return { ok: true, version: help.stdout.split("\n")[0] ?? "" };
  },
};
