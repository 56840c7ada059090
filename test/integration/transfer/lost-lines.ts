/** What tests of lost connections and killed movers share. */
import { join } from "node:path";
import { type Clock, systemClock } from "../../../src/common/clock.ts";
import { newToken } from "../../../src/common/token.ts";
import { cleanEnvironment } from "../../helpers/cli.ts";
import { Program } from "../../helpers/program.ts";
import type { TemporaryDirectory } from "../../helpers/temporary.ts";
import type { ChildTask } from "./crash-child.ts";
import { item } from "./setup.ts";
import type { SftpHarness } from "./sftp-harness.ts";

/** Waits shorter than `realFromMs`, those between tries and for the connection, are over at once; time limits of requests and commands stay. */
export function skipping(realFromMs: number): Clock {
  let ahead = 0;
  return {
    now: () => systemClock.now(),
    monotonic: () => systemClock.monotonic() + ahead,
    sleep: async (ms, signal) => {
      if (ms >= realFromMs) return systemClock.sleep(ms, signal);
      ahead += ms;
    },
  };
}

/** One file, `x`, here or there. */
export function childTask(far: SftpHarness, direction: "in" | "out", root: string): ChildTask {
  const [source, target] = direction === "in" ? [far.url("x"), "x"] : ["x", far.url("y")];
  return {
    token: newToken(),
    direction,
    root,
    rules: far.policy.sources,
    items: [item({ source, target })],
    ssh: far.server.settings(far.proxy && { port: far.proxy.port }),
  };
}

/** A process that moves it and may be killed. */
export function startChild(here: TemporaryDirectory, work: ChildTask, failpoints = ""): Promise<Program> {
  return Program.start(process.execPath, [join(import.meta.dirname, "crash-child.ts"), JSON.stringify(work)], {
    env: cleanEnvironment(here.path, { SITEAGENT_TEST: "1", SITEAGENT_FAILPOINTS: failpoints }),
    cwd: here.path,
    input: "",
  });
}
