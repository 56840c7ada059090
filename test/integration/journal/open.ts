import { systemClock } from "../../../src/common/clock.ts";
import { silentLogger } from "../../../src/common/logger.ts";
import { type JournalLimits, openJournal } from "../../../src/journal/journal.ts";

/** Opens a journal as an agent does, with a small ballast. */
export function open(
  directory: string,
  limits: JournalLimits = {},
  agentId = "agent-1",
): ReturnType<typeof openJournal> {
  return openJournal({
    directory,
    clock: systemClock,
    log: silentLogger,
    meta: { agentId },
    limits: { ballastBytes: 64 * 1024, ...limits },
  });
}
