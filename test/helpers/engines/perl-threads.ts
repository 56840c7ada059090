import { findProgram, versionOf } from "./command.ts";
import type { Engine } from "./engine.ts";

/** A perl with threads: small programs that no shell can be. */
export const perlThreads: Engine = {
  debianPackages: ["perl"],
  async probe() {
    const program = findProgram("perl");
    return program
      ? versionOf(program, ["-Mthreads", "-e", 'print "perl $^V\\n"'])
      : { ok: false, reason: "perl is not in PATH" };
  },
};
