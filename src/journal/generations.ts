import { join } from "node:path";
import { failpoint } from "../common/failpoint.ts";
import { Fault } from "../common/fault.ts";
import { type Disk, writeAll } from "./disk.ts";
import {
  encodeLine,
  type Line,
  ownKinds,
  type RecordText,
  type Scan,
  scanFile,
  type ScanSink,
  schemaVersion,
} from "./format.ts";
import type { WorkerData } from "./messages.ts";
import type { JournalOpening } from "./types.ts";

/** Of one write of a file that is written anew. */
const pieceBytes = 1024 * 1024;

/** A journal file that is ready to be written to. */
export interface Opened {
  readonly generation: number;
  readonly file: number;
  readonly end: number;
  readonly headerBytes: number;
  readonly lastSeq: number;
  readonly recordCount: number;
  readonly repair: JournalOpening["repair"];
}

export type HeaderSource = Pick<WorkerData, "directory" | "agentId" | "host" | "bootId">;

export function generationPath(directory: string, generation: number): string {
  return join(directory, `journal.${String(generation).padStart(8, "0")}.log`);
}

/** Generations that have a file, oldest first. */
export function listGenerations(disk: Disk, directory: string): readonly number[] {
  const found: number[] = [];
  for (const name of disk.list(directory)) {
    const match = /^journal\.(\d{8})\.log$/.exec(name);
    if (match) found.push(Number(match[1]));
  }
  return found.sort((a, b) => a - b);
}

/** @throws Fault JOURNAL_VERSION */
export async function scanGeneration(disk: Disk, directory: string, generation: number, sink: ScanSink): Promise<Scan> {
  const path = generationPath(directory, generation);
  const scan = await scanFile(disk, path, sink);
  if (scan.version > schemaVersion) {
    throw new Fault(
      "JOURNAL_VERSION",
      `the journal '${path}' has schema version '${scan.version}'; this siteagent reads up to ${schemaVersion}`,
      {
        hint: "install the siteagent that wrote it, or a newer one; nothing was changed",
        details: { path, found: scan.version, supported: schemaVersion },
      },
    );
  }
  return scan;
}

/** What a new generation holds. */
export interface Content {
  /** Sequence number of its header. */
  readonly first: number;
  /** JSON of its snapshot. */
  readonly state: Buffer | undefined;
  /** Gives each record, oldest first; their numbers are made anew. */
  readonly lines: (take: (line: Line) => void) => Promise<void>;
}

export const noLines = async (): Promise<void> => {};

/** Writes a whole generation under a temporary name, syncs it, gives it its name and syncs the directory. */
export async function createGeneration(
  disk: Disk,
  source: HeaderSource,
  generation: number,
  at: string,
  { first, state, lines }: Content,
): Promise<Opened> {
  const header = headerLine(source, generation, first, at, state);
  let count = 0;
  const file = await placeGeneration(disk, source.directory, generation, async (append) => {
    append(header);
    await lines(({ at: time, kind, job, data }) => {
      count++;
      append(encodeLine({ seq: first + count, at: time, kind, job, data: JSON.stringify(data), left: 0 }));
    });
  });
  return {
    generation,
    file: file.descriptor,
    end: file.bytes,
    headerBytes: header.length,
    lastSeq: first + count,
    recordCount: count,
    repair: { kind: "none" },
  };
}

/** The first line of a generation; `state` is JSON of the snapshot, or undefined when there is none. */
export function headerLine(
  source: HeaderSource,
  generation: number,
  seq: number,
  at: string,
  state: string | Buffer | undefined,
): Buffer {
  const known = JSON.stringify({
    schema: schemaVersion,
    agentId: source.agentId,
    host: source.host,
    bootId: source.bootId,
    generation,
  });
  const data = state === undefined ? known : `${known.slice(0, -1)},"state":${state.toString()}}`;
  const text: RecordText = { seq, at, kind: ownKinds.header, data, left: 0 };
  return encodeLine(text);
}

/** Temp, sync, rename, directory sync; gives the open file. The temporary name is gone when that fails. */
export async function placeGeneration(
  disk: Disk,
  directory: string,
  generation: number,
  write: (append: (bytes: Buffer) => void) => Promise<void>,
): Promise<{ readonly descriptor: number; readonly bytes: number }> {
  const path = generationPath(directory, generation);
  const temporary = `${path}.tmp`;
  const descriptor = disk.open(temporary, "w+");
  const pieces = new Pieces(disk, descriptor);
  try {
    await failpoint("journal.before-snapshot-write");
    await write((bytes) => pieces.append(bytes));
    pieces.flush();
    disk.sync(descriptor);
    await failpoint("journal.before-rename");
    disk.rename(temporary, path);
  } catch (error) {
    disk.close(descriptor);
    disk.remove(temporary);
    throw error;
  }
  await failpoint("journal.after-rename");
  disk.syncDirectory(directory);
  return { descriptor, bytes: pieces.written };
}

/** Puts small pieces together to large writes. */
class Pieces {
  readonly #disk: Disk;
  readonly #file: number;
  #pieces: Buffer[] = [];
  #waiting = 0;
  written = 0;

  constructor(disk: Disk, file: number) {
    this.#disk = disk;
    this.#file = file;
  }

  append(bytes: Buffer): void {
    this.#pieces.push(bytes);
    this.#waiting += bytes.length;
    if (this.#waiting >= pieceBytes) this.flush();
  }

  flush(): void {
    const [first] = this.#pieces;
    if (first)
      writeAll(this.#disk, this.#file, this.#pieces.length === 1 ? first : Buffer.concat(this.#pieces), this.written);
    this.written += this.#waiting;
    this.#waiting = 0;
    this.#pieces = [];
  }
}
