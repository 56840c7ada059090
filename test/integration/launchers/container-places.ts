/** Container engines for one test file: storage of their own, one image made of this machine's busybox, no network. */
import { execFile, spawn } from "node:child_process";
import { mkdir, symlink } from "node:fs/promises";
import { promisify } from "node:util";
import type { z } from "zod";
import { ownAccount } from "../../../src/common/account.ts";
import type { appSchema } from "../../../src/jobs/app.ts";
import type { PlanInput } from "../../../src/launchers/command.ts";
import { findProgram } from "../../helpers/engines/command.ts";
import { podmanHome } from "../../helpers/engines/podman-home.ts";
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
  const { program, environment, storage } = await podmanHome(directory);
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
      await run(program, ["unshare", "rm", "-rf", storage], { env }).catch(() => undefined);
      // Without root it keeps a process that holds its namespaces; this ends it.
      if (!root) await run(program, ["system", "migrate"], { env }).catch(() => undefined);
      await directory[Symbol.asyncDispose]();
    },
  };
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
