import { isAlive } from "./processes.ts";
import { waitFor } from "./wait.ts";

/** `npm run coverage`: V8 writes what a process did when it ends, and nothing when it is killed. */
export const counted: boolean = process.env["NODE_V8_COVERAGE"] !== undefined;

/** Asks processes that a test is done with to end by themselves, for at most `timeoutMs`. */
export async function endInOrder(pids: readonly number[], timeoutMs = 5_000): Promise<void> {
  for (const pid of pids) {
    try {
      process.kill(pid, "SIGTERM");
    } catch {
      // it ended meanwhile
    }
  }
  await waitFor(() => !pids.some(isAlive), { what: "their end", timeoutMs }).catch(() => {});
}
