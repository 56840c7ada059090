import { execFile } from "node:child_process";
import { promisify } from "node:util";
import { findProgram, versionOf } from "./command.ts";
import type { Engine, EngineProbe } from "./engine.ts";

const run = promisify(execFile);
const systemDirectories = ["/usr/sbin", "/sbin", "/usr/libexec/podman"];

/** Podman with crun and a static busybox to make an image from; as root or not. */
export const podman: Engine = {
  debianPackages: ["podman", "crun", "catatonit", "busybox-static"],
  probe: () => probeAll(["podman", "crun", "catatonit", "busybox", "unshare"], "podman", ["--mount"]),
};

/** A Docker daemon that a test starts for itself, which only root can. */
export const dockerd: Engine = {
  debianPackages: ["docker.io", "busybox-static"],
  probe: async () =>
    process.getuid?.() === 0
      ? await probeAll(["dockerd", "containerd", "runc", "docker", "busybox", "unshare"], "dockerd", ["--mount"])
      : { ok: false, reason: "a daemon of one's own needs root" },
};

/** The programs are there and namespaces can be made; a container as a test needs seconds that a look has not. */
async function probeAll(programs: readonly string[], version: string, spaces: readonly string[]): Promise<EngineProbe> {
  const missing = programs.filter((name) => findProgram(name, systemDirectories) === undefined);
  if (missing.length > 0) return { ok: false, reason: `not there: ${missing.join(", ")}` };
  try {
    const user = process.getuid?.() === 0 ? [] : ["--user", "--map-root-user"];
    await run("unshare", [...user, ...spaces, "true"], { timeout: 5_000 });
  } catch {
    return { ok: false, reason: "this machine lets nobody make namespaces" };
  }
  return await versionOf(findProgram(version, systemDirectories) ?? version);
}
