import { execFile } from "node:child_process";
import { chmod, mkdir, readFile, rm, symlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import { Daemon } from "../daemon.ts";
import { freePort } from "../free-port.ts";
import { isAlive, killIfThere, listProcesses } from "../processes.ts";
import { type TemporaryDirectory, temporaryDirectory } from "../temporary.ts";
import { waitFor } from "../wait.ts";
import { gridEnginePrograms as programs } from "./gridengine.ts";
import {
  bootstrap,
  type CellPlace,
  configuration,
  parallelEnvironment,
  queue,
  quickScheduler,
  replaced,
} from "./gridengine-config.ts";

const run = promisify(execFile);
const shared = "/usr/share/gridengine";
const host = "sgehost";
const readyWithinMs = 60_000;
const commands = ["qsub", "qstat", "qdel", "qhold", "qrls", "qacct", "qconf", "qmod"] as const;
/** A view in which the host's name leads to loopback and back: Grid Engine refuses anything else. $0: the hosts file. */
const inView = `mount --bind "$0" /etc/hosts && hostname ${host} && exec "$@"`;

/** A private Grid Engine on this host: own directory, ports and host name; one host, one queue (`all.q`), jobs run as root. */
export class GridEngineCell implements AsyncDisposable {
  readonly directory: string;
  /** What finds it, for commands. */
  readonly environment: Readonly<Record<string, string>>;
  readonly #temporary: TemporaryDirectory;
  readonly #place: CellPlace;
  #master: Daemon | undefined;
  #executor: Daemon | undefined;

  /** About 1 s. */
  static async start(): Promise<GridEngineCell> {
    const temporary = await temporaryDirectory("sa-sge-");
    const arch = (await run("sh", [join(shared, "util/arch")])).stdout.trim();
    const cell = new GridEngineCell(temporary, arch, [await freePort(), await freePort()]);
    try {
      await cell.#prepare(arch);
      await cell.startMaster();
      await cell.#configure();
      return cell;
    } catch (error) {
      await cell[Symbol.asyncDispose]();
      throw error;
    }
  }

  private constructor(temporary: TemporaryDirectory, arch: string, [master, executor]: readonly [number, number]) {
    this.#temporary = temporary;
    this.directory = temporary.path;
    this.#place = { directory: temporary.path, common: temporary.join("root/default/common"), host };
    this.environment = {
      PATH: `${temporary.join("bin")}:/usr/local/bin:/usr/bin:/bin`,
      SGE_ROOT: temporary.join("root"),
      SGE_CELL: "default",
      SGE_ARCH: arch,
      SGE_QMASTER_PORT: String(master),
      SGE_EXECD_PORT: String(executor),
    };
  }

  /** Runs a command of Grid Engine as its administrator; resolves with its output. */
  async run(name: (typeof commands)[number], ...args: readonly string[]): Promise<string> {
    const program = this.#temporary.join("bin", name);
    const { stdout } = await run(program, args, {
      env: { ...this.environment, LC_ALL: "C" },
      cwd: "/",
      timeout: 60_000,
    });
    return stdout;
  }

  async startMaster(): Promise<void> {
    this.#master = await this.#daemon("sge_qmaster");
    const answers = async (): Promise<boolean> => (await this.run("qconf", "-sh")).includes(host);
    await this.#master.until(answers, "a master that answers", readyWithinMs);
  }

  /** Without ceremony, as a crash; running jobs go on. */
  async killMaster(): Promise<void> {
    await this.#master?.stop("SIGKILL");
    this.#master = undefined;
  }

  /** Commands cannot reach the master until disposed; it and the jobs go on. */
  async cutOff(): Promise<AsyncDisposable> {
    const mark = join(this.directory, "cut");
    await writeFile(mark, "");
    return { [Symbol.asyncDispose]: () => rm(mark, { force: true }) };
  }

  async #prepare(arch: string): Promise<void> {
    const { directory } = this;
    const { common } = this.#place;
    await chmod(directory, 0o755);
    for (const name of ["bin", "root/bin", "root/utilbin", "qmaster/job_scripts", "execd", "tmp"]) {
      await mkdir(join(directory, name), { recursive: true });
    }
    await mkdir(common, { recursive: true });
    await symlink(programs, join(directory, "root/bin", arch));
    await symlink(programs, join(directory, "root/utilbin", arch));
    await symlink(join(shared, "util"), join(directory, "root/util"));
    await writeFile(join(directory, "hosts"), `127.0.0.1 ${host} localhost\n`);
    await writeFile(join(common, "act_qmaster"), `${host}\n`);
    await writeFile(join(common, "bootstrap"), bootstrap(this.#place));
    const packaged = await readFile(join(shared, "default-configuration"), "utf8");
    await writeFile(join(directory, "configuration"), configuration(packaged, this.#place));
    for (const name of commands) {
      const cut = `test -e '${join(directory, "cut")}' && export SGE_QMASTER_PORT=1`;
      const line = `exec unshare -m -u sh -c '${inView}' '${join(directory, "hosts")}' '${programs}/${name}' "$@"`;
      await writeFile(join(directory, "bin", name), `#!/bin/sh\n${cut}\n${line}\n`, { mode: 0o755 });
    }
    await run("chown", ["-R", "sgeadmin:", directory]);
    await this.#initialise();
  }

  /** The master's own database: its configuration, the attributes of resources, sets of users, managers. */
  async #initialise(): Promise<void> {
    const { common } = this.#place;
    const resources = join(shared, "util/resources");
    const defaults = `${programs}/spooldefaults.bin`;
    const script = `set -e
cd ${programs}
./spoolinit classic libspoolc '${common};${this.directory}/qmaster' init
${defaults} configuration '${this.directory}/configuration'
${defaults} complexes ${resources}/centry
${defaults} usersets ${resources}/usersets
${defaults} managers sgeadmin root`;
    const asAdministrator = ["setpriv", "--reuid=sgeadmin", "--regid=sgeadmin", "--init-groups", "sh", "-c", script];
    const env = { ...this.environment, LD_LIBRARY_PATH: programs };
    await run("unshare", ["-m", "-u", "sh", "-c", inView, join(this.directory, "hosts"), ...asAdministrator], { env });
  }

  async #configure(): Promise<void> {
    await this.run("qconf", "-as", host);
    await this.change("-ssconf", "-Msconf", "scheduler", quickScheduler);
    await writeFile(join(this.directory, "pe"), parallelEnvironment);
    await this.run("qconf", "-Ap", join(this.directory, "pe"));
    this.#executor = await this.#daemon("sge_execd");
    const known = async (): Promise<boolean> => (await this.run("qconf", "-sel")).includes(host);
    await this.#executor.until(known, "a host that takes jobs", readyWithinMs);
    await this.change("-sq", "-Aq", "queue", queue(this.#place));
    const ready = async (): Promise<boolean> =>
      new RegExp(`^all\\.q@${host} .* ${this.environment["SGE_ARCH"]} *$`, "m").test(await this.run("qstat", "-f"));
    await this.#executor.until(ready, "a queue without a state", readyWithinMs);
  }

  /** What qconf shows, with other values, given back to qconf. The name of the file is that of the object. */
  async change(show: string, set: string, name: string, values: Readonly<Record<string, string>>): Promise<void> {
    const file = join(this.directory, name);
    await writeFile(file, replaced(await this.run("qconf", show), values));
    await this.run("qconf", set, file);
  }

  async #daemon(name: string): Promise<Daemon> {
    return await Daemon.start({
      argv: ["unshare", "-m", "-u", "sh", "-c", inView, join(this.directory, "hosts"), `${programs}/${name}`],
      // In the foreground.
      environment: { ...this.environment, PATH: "/usr/sbin:/usr/bin:/sbin:/bin", SGE_ND: "1" },
      cwd: this.directory,
      log: join(this.directory, `${name}.log`),
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    try {
      if (this.#master && this.#executor) await this.#endJobs();
    } finally {
      await this.#executor?.stop("SIGKILL");
      await this.#master?.stop("SIGKILL");
      await this.#killStragglers();
      await this.#temporary[Symbol.asyncDispose]();
    }
  }

  async #endJobs(): Promise<void> {
    await this.run("qdel", "-u", "*").catch(() => "");
    const none = async (): Promise<boolean> => (await this.run("qstat", "-u", "*")).trim() === "";
    await waitFor(none, { what: "the end of all jobs", timeoutMs: 5_000, intervalMs: 100 }).catch(() => {});
  }

  /** Shepherds and jobs outlive the daemon that started them; they are known by the root in their environment. */
  async #killStragglers(): Promise<void> {
    const mine = `SGE_ROOT=${this.environment["SGE_ROOT"]}`;
    const found: number[] = [];
    for (const { pid } of listProcesses()) {
      const environment = await readFile(`/proc/${pid}/environ`, "latin1").catch(() => "");
      if (pid !== process.pid && environment.split("\0").includes(mine)) found.push(pid);
    }
    for (const pid of found) killIfThere(pid);
    await waitFor(() => !found.some(isAlive), { what: `the end of ${found.join(", ")}` });
  }
}
