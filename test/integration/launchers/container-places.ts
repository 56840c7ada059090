/** Container engines for one test file: storage of their own, one image made of this machine's busybox, no network. */
import { execFile, spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { mkdir, symlink, writeFile } from "node:fs/promises";
import { promisify } from "node:util";
import type { z } from "zod";
import { ownAccount } from "../../../src/common/account.ts";
import type { appSchema } from "../../../src/jobs/app.ts";
import type { PlanInput } from "../../../src/launchers/command.ts";
import { findProgram } from "../../helpers/engines/command.ts";
import { isAlive } from "../../helpers/processes.ts";
import { temporaryDirectory, type TemporaryDirectory } from "../../helpers/temporary.ts";
import { waitFor } from "../../helpers/wait.ts";

const run = promisify(execFile);
const image = "localhost/sa-test:1";
const basic = { PATH: "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", LC_ALL: "C" };

export interface ContainerPlace extends AsyncDisposable {
  /** Root may do what our account may; without root inside, files are ours all the same. */
  readonly runtime: NonNullable<z.input<typeof appSchema>["runtime"]>;
  /** What the agent would hand on to the engine's program. */
  readonly change: Pick<PlanInput, "inherited" | "settings" | "account">;
  /** Variables that the engine's program needs. */
  readonly environment: Readonly<Record<string, string>>;
  /** Names of all containers that the engine knows. */
  containers(): Promise<readonly string[]>;
}

export async function podmanPlace(): Promise<ContainerPlace> {
  const directory = await temporaryDirectory("sa-podman-");
  for (const name of ["home", "run"]) await mkdir(directory.join(name), { mode: 0o700 });
  await writeFile(
    directory.join("storage.conf"),
    `[storage]\ndriver = "vfs"\ngraphroot = "${directory.join("root")}"\nrunroot = "${directory.join("runroot")}"\n[storage.options.vfs]\nignore_chown_errors = "true"\n`,
  );
  // Where limits may not be raised Podman's own defaults do not work.
  await writeFile(
    directory.join("containers.conf"),
    `[containers]\ndefault_ulimits = ["nofile=1024:1024", "nproc=1024:1024"]\n[engine]\ncgroup_manager = "cgroupfs"\nevents_logger = "none"\nruntime = "crun"\n`,
  );
  const environment = {
    CONTAINERS_STORAGE_CONF: directory.join("storage.conf"),
    CONTAINERS_CONF: directory.join("containers.conf"),
    XDG_RUNTIME_DIR: directory.join("run"),
  };
  const program = await podmanProgram(directory);
  const env = { ...basic, ...environment, HOME: directory.join("home") };
  await run(program, ["import", await busyboxTar(directory), image], { env });
  const root = process.getuid?.() === 0;
  return {
    runtime: { podman: { image, program, pull: "never", ...(root ? {} : { user: "root" as const }) } },
    environment,
    change: changeOf(environment, directory.join("home")),
    containers: async () => lines((await run(program, ["ps", "--all", "--format", "{{.Names}}"], { env })).stdout),
    async [Symbol.asyncDispose]() {
      // Files of other ids in its storage are only Podman's to remove.
      await run(program, ["unshare", "rm", "-rf", directory.join("root")], { env }).catch(() => undefined);
      // Without root it keeps a process that holds its namespaces; this ends it.
      if (!root) await run(program, ["system", "migrate"], { env }).catch(() => undefined);
      await directory[Symbol.asyncDispose]();
    },
  };
}

/** Where both versions of control groups are mounted crun refuses to run: it gets a name space without the second. */
async function podmanProgram(directory: TemporaryDirectory): Promise<string> {
  if (!existsSync("/sys/fs/cgroup/unified") || process.getuid?.() !== 0) return "podman";
  const wrapper = directory.join("podman");
  const inner = 'umount /sys/fs/cgroup/unified; exec podman "$@"';
  await writeFile(wrapper, `#!/bin/sh\nexec unshare --mount sh -c '${inner}' podman "$@"\n`, { mode: 0o755 });
  return wrapper;
}

export async function dockerPlace(): Promise<ContainerPlace> {
  const directory = await temporaryDirectory("sa-docker-");
  const address = `unix://${directory.join("sock")}`;
  const env = { ...basic, DOCKER_HOST: address, HOME: directory.path };
  const places = ["--data-root", directory.join("data"), "--exec-root", directory.join("exec")];
  const plain = ["--iptables=false", "--ip6tables=false", "--bridge=none", "--storage-driver=vfs"];
  const options = [...plain, "--exec-opt", "native.cgroupdriver=cgroupfs", "--log-level=error"];
  // Its mounts end with it.
  const daemon = spawn(
    "unshare",
    ["--mount", "dockerd", ...places, "--pidfile", directory.join("pid"), "-H", address, ...options],
    { env, stdio: "ignore" },
  );
  const { pid } = daemon;
  if (pid === undefined) throw new Error("dockerd was not started");
  await waitFor(async () => await run("docker", ["info"], { env }).catch(() => undefined), {
    what: "a Docker daemon that answers",
    timeoutMs: 60_000,
    intervalMs: 200,
  });
  await run("docker", ["import", await busyboxTar(directory), image], { env });
  return {
    runtime: { docker: { image, pull: "never" } },
    environment: { DOCKER_HOST: address },
    change: changeOf({ DOCKER_HOST: address }, directory.path),
    containers: async () => lines((await run("docker", ["ps", "--all", "--format", "{{.Names}}"], { env })).stdout),
    async [Symbol.asyncDispose]() {
      daemon.kill("SIGTERM");
      await waitFor(() => !isAlive(pid), { what: "the end of dockerd", timeoutMs: 60_000 });
      await directory[Symbol.asyncDispose]();
    },
  };
}

function changeOf(environment: Readonly<Record<string, string>>, home: string): ContainerPlace["change"] {
  return {
    inherited: environment,
    settings: { path: basic.PATH, environment: Object.keys(environment) },
    account: { ...ownAccount(), home },
  };
}

/** A root file system of one static program and links to it. */
async function busyboxTar(directory: TemporaryDirectory): Promise<string> {
  const root = directory.join("rootfs");
  for (const name of ["bin", "tmp", "proc", "dev", "sys", "etc"]) await mkdir(`${root}/${name}`, { recursive: true });
  await run("cp", [findProgram("busybox") ?? "/bin/busybox", `${root}/bin/busybox`]);
  for (const name of ["sh", "cat", "id", "sleep", "ls", "env"]) await symlink("busybox", `${root}/bin/${name}`);
  await run("tar", ["-C", root, "-cf", directory.join("rootfs.tar"), "."]);
  return directory.join("rootfs.tar");
}

function lines(text: string): readonly string[] {
  return text.split("\n").filter((line) => line !== "");
}
