import { asFault } from "../common/fault.ts";
import { failpoint } from "../common/failpoint.ts";
import { backoffMs } from "../common/retry.ts";
import type { AgentCore } from "./core.ts";
import { isJournalDead } from "./ledger.ts";

/** An exception that nobody foresaw may pass, or come at once again. */
const restartBackoff = { baseMs: 1_000, capMs: 60_000 };
/** A loop that turned for so long is well again. */
const steadyMs = 60_000;

/**
 * Runs one loop of the agent until it ends. One that throws stops no other: it is begun again after 1 s … 60 s, random, and status says
 * so until it has turned for a minute.
 * @throws Fault JOURNAL when the journal cannot be written any more: then the agent has to end.
 */
export async function supervise(
  core: Pick<AgentCore, "clock" | "log" | "problems" | "stopping">,
  name: string,
  run: () => Promise<void>,
): Promise<void> {
  const key = `loop:${name}`;
  for (let failures = 0; !core.stopping.aborted;) {
    const ended = new AbortController();
    void core.clock.sleep(steadyMs, ended.signal).then(() => {
      if (ended.signal.aborted) return;
      failures = 0;
      core.problems.clear(key);
    });
    try {
      await failpoint("loop.before-run");
      await run();
      core.problems.clear(key);
      return;
    } catch (error) {
      if (core.stopping.aborted) return;
      const fault = asFault(error);
      if (isJournalDead(fault)) throw fault;
      failures++;
      core.log.error({ err: fault, loop: name, failures }, "a loop of the agent broke off; it is begun again");
      core.problems.set(key, `the loop '${name}' broke off and is begun again: ${fault.message}`, "report it as a bug");
    } finally {
      ended.abort();
    }
    await core.clock.sleep(backoffMs(restartBackoff, failures), core.stopping);
  }
}
