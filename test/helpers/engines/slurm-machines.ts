/** A Slurm on machines of its own: a controller, a login node behind sshd and three nodes, each a container, in one network. */
import { closeSync, openSync } from "node:fs";
import { chmod, mkdir, readFile, writeFile } from "node:fs/promises";
import { execFile } from "node:child_process";
import { randomBytes, randomInt } from "node:crypto";
import { networkInterfaces } from "node:os";
import { promisify } from "node:util";
import { GenericContainer, getContainerRuntimeClient, type StartedTestContainer } from "testcontainers";
import { type TemporaryDirectory, temporaryDirectory } from "../temporary.ts";
import { waitFor } from "../wait.ts";
import { containerService } from "./container.ts";
import { findProgram } from "./command.ts";
import { slurmConf } from "./slurm-config.ts";
import { makeKey } from "./ssh-server.ts";

const run = promisify(execFile);
type Client = Awaited<ReturnType<typeof getContainerRuntimeClient>>;
type Docker = Client["container"]["dockerode"];

const nodes = ["n1", "n2", "n3"] as const;
const machines = ["controller", "login", ...nodes] as const;
type Machine = (typeof machines)[number];
const readyWithinMs = 120_000;
const path = "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin";
const mungeSocket = "/run/munge/s";

/** A machine with a fixed address and network card, so that it has the same after a restart and nobody has to notice another. */
class Addressed extends GenericContainer {
  at(network: string, address: string): this {
    const card = address.split(".").map((part) => Number(part).toString(16).padStart(2, "0"));
    this.createOpts.NetworkingConfig = {
      EndpointsConfig: {
        [network]: { IPAMConfig: { IPv4Address: address }, MacAddress: `02:42:${card.join(":")}` },
      },
    };
    return this.withNetworkMode(network);
  }
}

/**
 * What each machine runs first. The machine ends when nobody holds the pipe `alive` open any more: with the process of the tests, by whatever
 * cause. `wait` collects whatever ends in it.
 */
function bootScript(directory: string): string {
  return `#!/bin/sh
umask 022
mkdir -p -m 755 /run/munge /run/sshd /var/log
munged --force --num-threads=1 --key-file=${directory}/munge.key --socket=${mungeSocket} \\
  --pid-file=/run/munge/pid --log-file=/var/log/munged --seed-file=/run/munge/seed
export SLURM_CONF=${directory}/etc/slurm.conf
case $(cat /proc/sys/kernel/hostname) in
  controller) slurmctld -D -i >>${directory}/log/slurmctld 2>&1 & ;;
  login) "$(command -v sshd)" -D -f ${directory}/ssh/sshd_config -E ${directory}/log/sshd & ;;
  *) slurmd -D >>${directory}/log/$(cat /proc/sys/kernel/hostname) 2>&1 & ;;
esac
cat ${directory}/alive &
wait $!
`;
}

export class SlurmMachines implements AsyncDisposable {
  /** Seen by all machines and by this one under the same path. */
  readonly directory: TemporaryDirectory;
  readonly #resources: AsyncDisposableStack;
  readonly #docker: Docker;
  readonly #addresses: ReadonlyMap<Machine, string>;
  readonly #started = new Map<Machine, StartedTestContainer>();

  static async start(): Promise<SlurmMachines> {
    await using resources = new AsyncDisposableStack();
    const directory = resources.use(await temporaryDirectory("sa-slurm-"));
    const service = resources.use(await containerService());
    process.env["DOCKER_HOST"] = service.url;
    // Its image would have to be pulled, and the machines end by themselves.
    process.env["TESTCONTAINERS_RYUK_DISABLED"] = "true";
    const docker = (await getContainerRuntimeClient()).container.dockerode;
    const word = randomBytes(3).toString("hex");
    const image = `localhost/sa-slurm-${word}:latest`;
    await importImage(docker, directory, image);
    resources.defer(() => docker.getImage(image).remove({ force: true }));
    const network = await makeNetwork(docker, `sa-slurm-${word}`);
    resources.defer(() => docker.getNetwork(network.name).remove());
    const started = new SlurmMachines(directory, docker, network.addresses, resources.move());
    try {
      await started.#prepare();
      await started.#boot(image, network.name);
      await started.nodesReady();
      return started;
    } catch (error) {
      await started[Symbol.asyncDispose]();
      throw error;
    }
  }

  private constructor(
    directory: TemporaryDirectory,
    docker: Docker,
    addresses: ReadonlyMap<Machine, string>,
    resources: AsyncDisposableStack,
  ) {
    this.directory = directory;
    this.#docker = docker;
    this.#addresses = addresses;
    this.#resources = resources;
  }

  get nodes(): readonly string[] {
    return nodes;
  }

  /** Of a host in the site file: how an agent outside reaches the login node, and where Slurm's commands are there. */
  get host(): Readonly<Record<string, unknown>> {
    return {
      path,
      environment: { SLURM_CONF: this.directory.join("etc/slurm.conf") },
      ssh: {
        host: this.#address("login"),
        user: "root",
        key: { file: this.directory.join("ssh/user_key") },
        known_hosts: this.directory.join("ssh/known_hosts"),
        config: false,
        keepalive: "1s",
      },
    };
  }

  /** Runs a command of Slurm as its administrator, on the controller; resolves with its output. */
  async run(...command: readonly string[]): Promise<string> {
    const container = this.#container("controller");
    const answer = await container.exec([...command], {
      env: { SLURM_CONF: this.directory.join("etc/slurm.conf"), PATH: path },
    });
    if (answer.exitCode !== 0) throw new Error(`'${command.join(" ")}' fails: ${answer.output}`);
    return answer.stdout;
  }

  /** At one blow, as a machine without power. */
  async kill(machine: Machine): Promise<void> {
    await this.#docker.getContainer(this.#container(machine).getId()).kill();
  }

  async powerOn(machine: Machine): Promise<void> {
    await this.#docker.getContainer(this.#container(machine).getId()).start();
  }

  /** Waits until all nodes take jobs. */
  async nodesReady(): Promise<void> {
    let last = "";
    const idle = async (): Promise<boolean> => {
      last = await this.run("sinfo", "-h", "-N", "-p", "main", "-o", "%N %T");
      const states = last.trim().split("\n");
      return states.length === nodes.length && states.every((line) => / (?:idle|allocated|mixed)$/.test(line));
    };
    const what = (): string => `nodes that take jobs; last: ${last}`;
    await waitFor(idle, { what, timeoutMs: readyWithinMs, intervalMs: 100 });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all([...this.#started.values()].map((one) => one.stop({ remove: true, timeout: 0 })));
    await this.#resources.disposeAsync();
  }

  #container(machine: Machine): StartedTestContainer {
    const container = this.#started.get(machine);
    if (!container) throw new Error(`the machine '${machine}' was not started`);
    return container;
  }

  #address(machine: Machine): string {
    return this.#addresses.get(machine) ?? "";
  }

  async #prepare(): Promise<void> {
    const { directory } = this;
    await chmod(directory.path, 0o755);
    for (const name of ["etc", "state", "spool", "log", "ssh"]) await mkdir(directory.join(name), { mode: 0o755 });
    await run("mkfifo", [directory.join("alive")]);
    const alive = openSync(directory.join("alive"), "r+"); // for reading, too: opening does not wait for a reader then
    this.#resources.defer(() => closeSync(alive));
    await writeFile(directory.join("boot"), bootScript(directory.path), { mode: 0o755 });
    await writeFile(directory.join("munge.key"), randomBytes(128), { mode: 0o400 });
    const place = {
      directory: directory.path,
      controllerPort: 6817,
      accountingPort: 6819,
      controller: { name: "controller", address: this.#address("controller") },
      nodes: nodes.map((name) => ({ name, port: 6818, address: this.#address(name) })),
    };
    // No node is given up by time: a test says which one is down.
    const settings = { AuthInfo: `socket=${mungeSocket}`, SlurmdTimeout: "300", SlurmdPidFile: "/run/slurmd.pid" };
    await writeFile(directory.join("etc/slurm.conf"), slurmConf(place, { settings }));
    await this.#prepareLogin();
  }

  async #prepareLogin(): Promise<void> {
    const file = (name: string): string => this.directory.join("ssh", name);
    for (const name of ["user_key", "host_key"]) await makeKey(file(name));
    await writeFile(file("authorized_keys"), await readFile(file("user_key.pub")));
    const [type, key] = (await readFile(file("host_key.pub"), "utf8")).split(" ");
    await writeFile(file("known_hosts"), `${this.#address("login")} ${type} ${key}\n`);
    const lines = [
      `HostKey ${file("host_key")}`,
      `AuthorizedKeysFile ${file("authorized_keys")}`,
      "Subsystem sftp internal-sftp",
      "PermitRootLogin yes",
      "PasswordAuthentication no",
      "StrictModes no",
      "UsePAM no",
      "UseDNS no",
      "PidFile none",
    ];
    await writeFile(file("sshd_config"), `${lines.join("\n")}\n`);
  }

  async #boot(image: string, network: string): Promise<void> {
    await Promise.all(
      machines.map(async (name) => {
        const machine = new Addressed(image)
          .at(network, this.#address(name))
          .withHostname(name)
          .withEnvironment({ PATH: path })
          .withBindMounts([
            { source: "/usr", target: "/usr", mode: "ro" },
            // Where links of /usr lead to.
            { source: "/etc/alternatives", target: "/etc/alternatives", mode: "ro" },
            { source: this.directory.path, target: this.directory.path, mode: "rw" },
          ])
          .withAutoCleanup(false)
          .withCommand(["/bin/sh", this.directory.join("boot")]);
        this.#started.set(name, await machine.start());
      }),
    );
  }
}

/**
 * The system of the machines is this one's: links to /usr, which they see as it is. So it needs no registry, no packages and no time, and has
 * the programs that the other tests have.
 */
async function importImage(docker: Docker, directory: TemporaryDirectory, image: string): Promise<void> {
  const root = directory.join("image");
  for (const name of ["usr", "etc/alternatives", "tmp", "proc", "dev", "sys", "run", "var", "root"])
    await mkdir(`${root}/${name}`, { recursive: true });
  for (const name of ["bin", "sbin", "lib", "lib64"]) await run("ln", ["-s", `usr/${name}`, `${root}/${name}`]);
  const accounts = ["root:x:0:0::/root:/bin/sh", "sshd:x:100:65534::/run/sshd:/usr/sbin/nologin"];
  await writeFile(`${root}/etc/passwd`, `${accounts.join("\n")}\n`);
  await writeFile(`${root}/etc/group`, "root:x:0:\nnogroup:x:65534:\n");
  const archive = directory.join("image.tar");
  await run(findProgram("tar") ?? "tar", ["--owner=0", "--group=0", "-C", root, "-cf", archive, "."]);
  const [repo, tag] = image.split(":");
  const answer = await docker.importImage(archive, { repo, tag });
  await new Promise<void>((resolve, reject) => {
    answer.on("end", resolve).on("error", reject).resume();
  });
}

/** A network of sixteen addresses that this machine does not use yet, and who has which. */
async function makeNetwork(
  docker: Docker,
  name: string,
): Promise<{ readonly name: string; readonly addresses: ReadonlyMap<Machine, string> }> {
  const used = Object.values(networkInterfaces()).flatMap((entries) => (entries ?? []).map(({ address }) => address));
  let prefix = "";
  do prefix = `10.${randomInt(200, 250)}.${randomInt(0, 255)}.`;
  while (used.some((address) => address.startsWith(prefix)));
  await docker.createNetwork({ Name: name, Driver: "bridge", IPAM: { Config: [{ Subnet: `${prefix}0/28` }] } });
  return { name, addresses: new Map(machines.map((machine, index) => [machine, `${prefix}${index + 2}`])) };
}
