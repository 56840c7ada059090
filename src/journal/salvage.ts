import { failpoint } from "../common/failpoint.ts";
import type { Disk } from "./disk.ts";
import { decodeJson, type Header, type Line, ownKinds, type Scan, scanFile } from "./format.ts";
import { createGeneration, generationPath, type HeaderSource, type Opened, scanGeneration } from "./generations.ts";
import { readAll, type Reader } from "./reader.ts";

/** A generation of which a salvage takes what is intact. */
interface Source {
  readonly generation: number;
  readonly scan: Scan;
}

/**
 * Rebuilds from the newest intact snapshot and every intact record after it, in a new generation; only then the damaged
 * files are moved aside.
 */
export async function salvage(
  disk: Disk,
  source: HeaderSource,
  at: string,
  found: { readonly generations: readonly number[]; readonly newest: Scan; readonly reader: Reader },
): Promise<Opened> {
  const { generations, reader } = found;
  const newest: Source = { generation: generations.at(-1) ?? 0, scan: found.newest };
  const path = generationPath(source.directory, newest.generation);
  const stranger = newest.scan.header !== undefined && newest.scan.header.data["agentId"] !== source.agentId;
  const sources = stranger ? [] : await intactSources(disk, source, generations, newest, reader);
  const damaged = stranger
    ? generations
    : [...sources.filter((one) => one !== newest && one.scan.state === "damaged"), newest].map((one) => one.generation);
  const aside = `${path}.damaged-${at.replaceAll(":", "")}`;
  const problem = stranger
    ? `it belongs to agent '${agentOf(newest.scan)}', not to '${source.agentId}'`
    : newest.scan.problem;
  const kept = sources.reduce((sum, { scan }) => sum + scan.records, 0);
  const message = `the journal '${path}' cannot be used as it is: ${problem}; ${kept} intact records were kept`;
  const told: Line = { v: 1, seq: 0, at, kind: ownKinds.salvaged, data: { message, keptAside: aside } };
  const opened = await createGeneration(disk, source, newest.generation + 1, at, {
    first: 1 + Math.max(0, ...sources.map(({ scan }) => scan.highestSeq)),
    state: await stateOf(disk, source.directory, sources[0]),
    async lines(take) {
      for (const one of sources) await linesOf(disk, generationPath(source.directory, one.generation), take);
      take(told);
    },
  });
  await failpoint("journal.before-move-aside");
  for (const generation of damaged) {
    const from = generationPath(source.directory, generation);
    disk.rename(from, generation === newest.generation ? aside : `${from}.damaged-${at.replaceAll(":", "")}`);
  }
  disk.syncDirectory(source.directory);
  await failpoint("journal.after-move-aside");
  return { ...opened, repair: { kind: "salvage", message, keptAside: aside } };
}

/** The files of a salvage, oldest first: the newest alone where it begins with its snapshot. The reader has got what they hold. */
async function intactSources(
  disk: Disk,
  source: HeaderSource,
  generations: readonly number[],
  newest: Source,
  reader: Reader,
): Promise<readonly Source[]> {
  if (newest.scan.header !== undefined) return [newest];
  const sources: Source[] = [];
  const older = generations.at(-2);
  reader.begin(undefined);
  if (older !== undefined) {
    const sink = readAll(reader);
    let isForeign = false;
    const scan = await scanGeneration(disk, source.directory, older, {
      header({ data, state }) {
        isForeign = data["agentId"] !== source.agentId;
        if (!isForeign) reader.begin(state);
      },
      record(json, envelope) {
        if (!isForeign) sink.record(json, envelope);
      },
      pause: () => reader.pause(),
    });
    if (!isForeign) sources.push({ generation: older, scan });
  }
  await scanGeneration(disk, source.directory, newest.generation, readAll(reader));
  return [...sources, newest];
}

/** JSON of the snapshot with which a file begins. */
async function stateOf(disk: Disk, directory: string, source: Source | undefined): Promise<Buffer | undefined> {
  if (source?.scan.header === undefined) return undefined;
  let state: Buffer | undefined;
  await scanFile(disk, generationPath(directory, source.generation), {
    header(header: Header) {
      state = header.state && Buffer.from(header.state);
    },
    record() {},
  });
  return state;
}

/** Every intact record of a file. */
async function linesOf(disk: Disk, path: string, take: (line: Line) => void): Promise<void> {
  await scanFile(disk, path, {
    record(json) {
      const line = decodeJson(json);
      if (line) take(line);
    },
  });
}

function agentOf(scan: Scan): string {
  const agent = scan.header?.data["agentId"];
  return typeof agent === "string" ? agent : "";
}
