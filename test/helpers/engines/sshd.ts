import { findProgram, versionOf } from "./command.ts";
import type { Engine } from "./engine.ts";

/** sshd wants to be called by its absolute path. */
export function sshdPath(): string | undefined {
  return findProgram("sshd", ["/usr/sbin", "/usr/local/sbin", "/sbin"]);
}

/** OpenSSH's server, client and key generator; a server of one's own account needs no root. */
export const sshd: Engine = {
  debianPackages: ["openssh-server", "openssh-client"],
  async probe() {
    if (sshdPath() === undefined) return { ok: false, reason: "sshd is not in PATH or /usr/sbin" };
    const client = findProgram("ssh");
    if (!client || !findProgram("ssh-keygen")) return { ok: false, reason: "ssh or ssh-keygen is not in PATH" };
    return versionOf(client, ["-V"]);
  },
};
