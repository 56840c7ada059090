import { join } from "node:path";
import { BookReader, Ledger, type LedgerLimits } from "../../../src/agent/ledger.ts";
import { KeyedMutex } from "../../../src/agent/mutex.ts";
import { Notifier } from "../../../src/agent/notifier.ts";
import type { TransitionDeps } from "../../../src/agent/transition.ts";
import { systemClock } from "../../../src/common/clock.ts";
import { silentLogger } from "../../../src/common/logger.ts";
import { openJournal } from "../../../src/journal/journal.ts";

/** A ledger over a real journal, as the agent opens it. */
export async function openLedger(directory: string, limits?: LedgerLimits): Promise<Ledger & AsyncDisposable> {
  const reader = new BookReader();
  const { journal } = await openJournal({
    directory: join(directory, "journal"),
    clock: systemClock,
    log: silentLogger,
    meta: { agentId: "agent-1" },
    limits: { ballastBytes: 0 },
    reader,
  });
  const ledger = new Ledger(journal, reader.book, limits);
  return Object.assign(ledger, { [Symbol.asyncDispose]: () => ledger.close() });
}

export function transitionDeps(ledger: Ledger): TransitionDeps {
  return {
    ledger,
    clock: systemClock,
    log: silentLogger,
    outboxWork: new Notifier(),
    changed: new Notifier(),
    jobLock: new KeyedMutex(),
    reportDetail: () => "full",
    outputsAtOnce: () => 3,
  };
}
