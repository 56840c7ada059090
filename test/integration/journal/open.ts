import type { JsonObject } from "../../../src/common/json.ts";
import { systemClock } from "../../../src/common/clock.ts";
import { silentLogger } from "../../../src/common/logger.ts";
import { type JournalLimits, openJournal } from "../../../src/journal/journal.ts";
import type { Journal, JournalOpening, StoredRecord } from "../../../src/journal/types.ts";

/** What an opening told, all of it. */
export interface WholeOpening extends JournalOpening {
  readonly snapshot: JsonObject | undefined;
  readonly records: readonly StoredRecord[];
}

/** Opens a journal as an agent does, with a small ballast. */
export async function open(
  directory: string,
  limits: JournalLimits = {},
  agentId = "agent-1",
): Promise<{ readonly journal: Journal; readonly opening: WholeOpening }> {
  let snapshot: JsonObject | undefined;
  let records: StoredRecord[] = [];
  const { journal, opening } = await openJournal({
    directory,
    clock: systemClock,
    log: silentLogger,
    meta: { agentId },
    limits: { ballastBytes: 64 * 1024, ...limits },
    reader: {
      begin(state) {
        snapshot = state;
        records = [];
      },
      record: (record) => void records.push(record),
    },
  });
  return { journal, opening: { ...opening, snapshot, records } };
}
