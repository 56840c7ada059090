import { findProgram, versionOf } from "./command.ts";
import type { Engine } from "./engine.ts";
import { sshd } from "./sshd.ts";

/** rsync and the server that it is reached by: both ends are this machine. */
export const rsync: Engine = {
  debianPackages: ["rsync", ...sshd.debianPackages],
  async probe() {
    const program = findProgram("rsync");
    if (program === undefined) return { ok: false, reason: "rsync is not in PATH" };
    const server = await sshd.probe();
    return server.ok ? versionOf(program) : server;
  },
};
