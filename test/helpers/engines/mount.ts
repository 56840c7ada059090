import { execFile } from "node:child_process";
import { promisify } from "node:util";
import type { Engine } from "./engine.ts";

const run = promisify(execFile);

/** The right to mount in a namespace of its own (small file systems that fill up): root, unless a container forbids it. */
export const mount: Engine = {
  debianPackages: [],
  async probe() {
    const args = ["--mount", "--propagation", "private", "mount", "-t", "tmpfs", "tmpfs", "/tmp"];
    try {
      await run("unshare", args, { timeout: 10_000 });
      return { ok: true, version: "tmpfs in a mount namespace" };
    } catch {
      return { ok: false, reason: "this account may not mount" };
    }
  },
};
