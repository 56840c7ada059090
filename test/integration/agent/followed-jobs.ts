import { writeFile } from "node:fs/promises";
import { record } from "../../../src/agent/records.ts";
import { handleOf, type SimulatedLauncher } from "../../helpers/simulated-launcher.ts";
import type { TemporaryDirectory } from "../../helpers/temporary.ts";
import { heldJobOf, liveAttempt } from "../../unit/agent/builders.ts";
import { openLedger } from "./ledger.ts";

/** Makes the journal of an agent that follows an attempt of each of these jobs, each with five reports that were applied. */
export async function fillWithRunning(
  ids: readonly string[],
  directory: TemporaryDirectory,
  launcher: SimulatedLauncher,
): Promise<void> {
  await writeFile(directory.join("state", "agent-id"), "agent-1\n");
  await using ledger = await openLedger(directory.join("state"));
  const entries = ids.map((id) => {
    const attempt = liveAttempt();
    launcher.adopt(attempt.token);
    const attempts = [{ ...attempt, handle: handleOf(attempt.token) }];
    const job = heldJobOf(id, { state: "RUNNING", phase: "started", attempt: 1, attempts, seq: 5 });
    return record("job.held", { job }, id);
  });
  await ledger.commit(entries, "report");
}
