import { createRequire } from "node:module";
import type { Engine, EngineProbe } from "./engine.ts";

const answerWithinMs = 5_000;
const expectedCode = 7;

/** A pseudo-terminal through node-pty: the binary loads and the machine gives a terminal (a bare chroot has no /dev/pts). */
export const pty: Engine = {
  debianPackages: [],
  async probe() {
    try {
      // By require: the package is an alias, and its types name it differently.
      const nodePty = createRequire(import.meta.url)("node-pty") as NodePty;
      return await openOne(() => nodePty.spawn("/bin/sh", ["-c", `exit ${expectedCode}`], {}));
    } catch (error) {
      return {
        ok: false,
        reason: `node-pty cannot be used: ${error instanceof Error ? error.message : String(error)}`,
      };
    }
  },
};

interface NodePty {
  spawn(file: string, args: readonly string[], options: object): Terminal;
}

interface Terminal {
  onExit(listener: (end: { exitCode: number }) => void): unknown;
  kill(signal?: string): void;
}

function openOne(start: () => Terminal): Promise<EngineProbe> {
  const { promise, resolve } = Promise.withResolvers<EngineProbe>();
  const terminal = start();
  const timer = setTimeout(() => {
    terminal.kill("SIGKILL");
    resolve({ ok: false, reason: "a shell in a pseudo-terminal did not end" });
  }, answerWithinMs);
  terminal.onExit(({ exitCode }) => {
    clearTimeout(timer);
    if (exitCode === expectedCode) resolve({ ok: true, version: "node-pty" });
    else resolve({ ok: false, reason: `a shell in a pseudo-terminal ended with ${exitCode}, not ${expectedCode}` });
  });
  return promise;
}
