/** Podman with a storage of its own, which ends with its directory. */
import { existsSync } from "node:fs";
import { mkdir, writeFile } from "node:fs/promises";
import type { TemporaryDirectory } from "../temporary.ts";

export interface PodmanHome {
  /** What to call. */
  readonly program: string;
  /** Variables that it needs besides PATH and HOME. */
  readonly environment: Readonly<Record<string, string>>;
  /** Where its images lie. */
  readonly storage: string;
}

/** Settings with which Podman runs as root and as any other account, in containers and where limits may not be raised. */
export async function podmanHome(directory: TemporaryDirectory): Promise<PodmanHome> {
  for (const name of ["home", "run"]) await mkdir(directory.join(name), { mode: 0o700 });
  const storage = directory.join("root");
  await writeFile(
    directory.join("storage.conf"),
    `[storage]\ndriver = "vfs"\ngraphroot = "${storage}"\nrunroot = "${directory.join("runroot")}"\n[storage.options.vfs]\nignore_chown_errors = "true"\n`,
  );
  // Where limits may not be raised Podman's own defaults do not work; and what watches a command in a container would stay for five minutes.
  await writeFile(
    directory.join("containers.conf"),
    `[containers]\ndefault_ulimits = ["nofile=1024:1024", "nproc=1024:1024"]\n[engine]\ncgroup_manager = "cgroupfs"\nevents_logger = "none"\nruntime = "crun"\nexit_command_delay = 1\n[network]\nnetwork_config_dir = "${directory.join("networks")}"\n`,
  );
  const environment = {
    CONTAINERS_STORAGE_CONF: directory.join("storage.conf"),
    CONTAINERS_CONF: directory.join("containers.conf"),
    XDG_RUNTIME_DIR: directory.join("run"),
  };
  return { program: await programFor(directory), environment, storage };
}

/** Where both versions of control groups are mounted crun refuses to run: it gets a name space without the second. */
async function programFor(directory: TemporaryDirectory): Promise<string> {
  if (!existsSync("/sys/fs/cgroup/unified") || process.getuid?.() !== 0) return "podman";
  const wrapper = directory.join("podman");
  const inner = 'umount /sys/fs/cgroup/unified; exec podman "$@"';
  await writeFile(wrapper, `#!/bin/sh\nexec unshare --mount sh -c '${inner}' podman "$@"\n`, { mode: 0o755 });
  return wrapper;
}
