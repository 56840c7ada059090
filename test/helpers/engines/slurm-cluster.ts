import { execFile } from "node:child_process";
import { randomBytes } from "node:crypto";
import { chmod, mkdir, readFile, rmdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import { Daemon } from "../daemon.ts";
import { freePort } from "../free-port.ts";
import { isAlive, killIfThere, listProcesses } from "../processes.ts";
import { type TemporaryDirectory, temporaryDirectory } from "../temporary.ts";
import { waitFor } from "../wait.ts";
import { startMariaDb } from "./mariadb.ts";
import { slurmProgram } from "./slurm.ts";
import { cgroupConf, slurmConf, slurmdbdConf, type SlurmOptions, type SlurmPlace } from "./slurm-config.ts";

const run = promisify(execFile);
const path = "/usr/local/bin:/usr/bin:/bin:/usr/local/sbin:/usr/sbin:/sbin";
const readyWithinMs = 60_000;

/**
 * A private Slurm on this host: own directory, ports and munge, daemons in the foreground, nothing but loopback. Its partitions are
 * `main`, `short` (one minute), `urgent` (goes before `main`) and `closed` (down).
 */
export class SlurmCluster implements AsyncDisposable {
  readonly directory: string;
  /** What finds it, for daemons and commands. */
  readonly environment: Readonly<Record<string, string>>;
  readonly #place: SlurmPlace;
  readonly #options: SlurmOptions;
  readonly #temporary: TemporaryDirectory;
  /** In the order of their start. */
  readonly #daemons = new Map<string, Daemon>();

  /** About 0.5 s; with accounting 3 s. */
  static async start(options: SlurmOptions = {}): Promise<SlurmCluster> {
    const temporary = await temporaryDirectory("sa-slurm-");
    // Names of nodes are names of control groups: unlike those of any other cluster that runs now.
    const word = randomBytes(3).toString("hex");
    const names = Array.from({ length: options.nodes ?? 2 }, (_, index) => `sa${word}n${index + 1}`);
    const nodes = [];
    for (const name of names) nodes.push({ name, port: await freePort() });
    const [controllerPort, accountingPort] = [await freePort(), await freePort()];
    const cluster = new SlurmCluster(
      temporary,
      { directory: temporary.path, controllerPort, accountingPort, nodes },
      options,
    );
    try {
      await cluster.#startAll();
      return cluster;
    } catch (error) {
      await cluster[Symbol.asyncDispose]();
      throw error;
    }
  }

  private constructor(temporary: TemporaryDirectory, place: SlurmPlace, options: SlurmOptions) {
    this.#temporary = temporary;
    this.#place = place;
    this.#options = options;
    this.directory = temporary.path;
    this.environment = { PATH: path, SLURM_CONF: temporary.join("etc/slurm.conf") };
  }

  get nodes(): readonly string[] {
    return this.#place.nodes.map(({ name }) => name);
  }

  /** Runs a command of Slurm as its administrator; resolves with its output. */
  async run(name: string, ...args: readonly string[]): Promise<string> {
    const { stdout } = await run(slurmProgram(name), args, { env: this.environment, cwd: "/", timeout: 60_000 });
    return stdout;
  }

  /** The daemon of a name: `munged`, `mariadbd`, `slurmdbd`, `slurmctld` or a node. */
  daemon(name: string): Daemon {
    const daemon = this.#daemons.get(name);
    if (!daemon) throw new Error(`no daemon '${name}'`);
    return daemon;
  }

  /** Stopped in order, or by `signal`. */
  async stop(name: string, signal: NodeJS.Signals = "SIGTERM"): Promise<void> {
    await this.daemon(name).stop(signal);
    this.#daemons.delete(name);
  }

  async startController(): Promise<void> {
    const daemon = await this.#start("slurmctld", ["slurmctld", "-D", "-i"]);
    const up = async (): Promise<boolean> => (await this.run("scontrol", "ping")).includes("UP");
    await daemon.until(up, "a controller that answers", readyWithinMs);
  }

  async startAccounting(): Promise<void> {
    const daemon = await this.#start("slurmdbd", ["slurmdbd", "-D"]);
    const up = async (): Promise<boolean> => (await this.run("sacctmgr", "-n", "list", "cluster")) !== undefined;
    await daemon.until(up, "accounting that answers", readyWithinMs);
  }

  async startNode(name: string): Promise<void> {
    await this.#start(name, ["slurmd", "-D", "-N", name]);
  }

  /** Waits until all nodes take jobs. */
  async nodesReady(): Promise<void> {
    const idle = async (): Promise<boolean> => {
      const states = (await this.run("sinfo", "-h", "-N", "-p", "main", "-o", "%T")).trim().split("\n");
      return states.every((state) => /^(?:idle|allocated|mixed)$/.test(state));
    };
    await this.daemon("slurmctld").until(idle, "nodes that take jobs", readyWithinMs);
  }

  async #startAll(): Promise<void> {
    const { directory } = this;
    await chmod(directory, 0o755);
    for (const name of ["munge", "etc", "state", "spool", "log", "db"]) {
      await mkdir(join(directory, name), { mode: 0o755 });
    }
    await writeFile(join(directory, "etc/slurm.conf"), slurmConf(this.#place, this.#options));
    await writeFile(join(directory, "etc/cgroup.conf"), cgroupConf);
    await this.#startMunge();
    if (this.#options.accounting === true) {
      await writeFile(join(directory, "etc/slurmdbd.conf"), slurmdbdConf(this.#place), { mode: 0o600 });
      this.#daemons.set("mariadbd", await startMariaDb(join(directory, "db"), join(directory, "log/mariadbd")));
      await this.startAccounting();
      await this.run("sacctmgr", "-i", "add", "cluster", "siteagent");
    }
    await this.startController();
    for (const { name } of this.#place.nodes) await this.startNode(name);
    await this.nodesReady();
  }

  async #startMunge(): Promise<void> {
    const place = join(this.directory, "munge");
    await writeFile(join(place, "key"), randomBytes(128), { mode: 0o400 });
    const files = { key: "key", socket: "s", pid: "pid", log: "log", seed: "seed" };
    const args = ["key", "pid", "log", "seed"].map((name) => `--${name}-file=${join(place, name)}`);
    args.push(`--socket=${join(place, files.socket)}`);
    const daemon = await this.#start("munged", ["munged", "--foreground", "--force", ...args]);
    await daemon.until(
      async () => (await run(slurmProgram("munge"), ["-S", join(place, "s"), "-n"])).stdout !== "",
      "munge that answers",
      readyWithinMs,
    );
  }

  async #start(name: string, [program, ...args]: readonly [string, ...string[]]): Promise<Daemon> {
    const daemon = await Daemon.start({
      argv: [slurmProgram(program), ...args],
      environment: { ...this.environment, MYSQL_UNIX_PORT: join(this.directory, "db/s") },
      cwd: this.directory,
      log: join(this.directory, "log", name),
    });
    this.#daemons.set(name, daemon);
    return daemon;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    try {
      if (this.#daemons.has("slurmctld")) await this.#endJobs();
    } finally {
      // Nodes first: without a controller they need seconds to end.
      const rank = ["slurmctld", "slurmdbd", "munged", "mariadbd"];
      const order = [...this.#daemons].toSorted(([one], [other]) => rank.indexOf(one) - rank.indexOf(other));
      for (const [, daemon] of order) await daemon.stop();
      await this.#killStragglers();
      await this.#removeCgroups();
      await this.#temporary[Symbol.asyncDispose]();
    }
  }

  async #endJobs(): Promise<void> {
    await this.run("scancel", "--me").catch(() => "");
    const none = async (): Promise<boolean> => (await this.run("squeue", "-h", "-t", "R,CG")).trim() === "";
    await waitFor(none, { what: "the end of all jobs", timeoutMs: 5_000, intervalMs: 100 }).catch(() => {});
  }

  /** Processes of jobs whose node was killed under them, known by the configuration in their environment. */
  async #killStragglers(): Promise<void> {
    const mine = `SLURM_CONF=${this.environment["SLURM_CONF"]}`;
    const found: number[] = [];
    for (const { pid } of listProcesses()) {
      const environment = await readFile(`/proc/${pid}/environ`, "latin1").catch(() => "");
      if (environment.split("\0").includes(mine) && pid !== process.pid) found.push(pid);
    }
    for (const pid of found) killIfThere(pid);
    await waitFor(() => !found.some(isAlive), { what: `the end of ${found.join(", ")}` });
  }

  async #removeCgroups(): Promise<void> {
    if (this.#options.cgroup !== true) return;
    for (const controller of ["memory", "freezer", "cpuset", "cpuacct", "devices"]) {
      for (const name of this.nodes) {
        await rmdir(`/sys/fs/cgroup/${controller}/slurm_${name}`).catch(() => {});
      }
    }
  }
}
