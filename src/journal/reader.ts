import type { ScanSink } from "./format.ts";
import type { HeaderSource } from "./generations.ts";

/** Takes what the journal holds while it is read. Buffers are valid during the call only. */
export interface Reader {
  /** Comes before all records: JSON of the newest snapshot's state, if there is one. Once more: what came before does not count. */
  begin(state: Buffer | undefined): void;
  /** JSON of a record of the agent. */
  record(json: Buffer): void;
  /** The rest is read when it has resolved. */
  pause(): Promise<void> | undefined;
}

/** What a generation that begins with a header of ours holds; of any other nothing. */
export function readOwn(source: HeaderSource, reader: Reader): ScanSink {
  const all = readAll(reader);
  let isOurs = false;
  return {
    header(header) {
      isOurs = header.data["agentId"] === source.agentId;
      if (isOurs) reader.begin(header.state);
    },
    record(json, envelope) {
      if (isOurs) all.record(json, envelope);
    },
    pause: () => reader.pause(),
  };
}

/** Whatever the header says. */
export function readAll(reader: Reader): ScanSink {
  return {
    record(json, { kind }) {
      if (!kind.startsWith("journal.")) reader.record(json);
    },
    pause: () => reader.pause(),
  };
}
