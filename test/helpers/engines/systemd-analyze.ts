import { findProgram, versionOf } from "./command.ts";
import type { Engine } from "./engine.ts";

/** Checks unit files; needs no running systemd. */
export const systemdAnalyze: Engine = {
  debianPackages: ["systemd"],
  async probe() {
    const program = findProgram("systemd-analyze");
    return program ? versionOf(program) : { ok: false, reason: "systemd-analyze is not in PATH" };
  },
};
