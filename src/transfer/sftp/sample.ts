/** Some ranges of a file at a remote, read back and compared with what was sent. */
import type { FileHandle } from "node:fs/promises";
import type { CallContext } from "../../common/context.ts";
import { readThrough, readWhole } from "./flow.ts";
import type { SftpCalls } from "./types.ts";

const ranges = 16;
const rangeBytes = 64 * 1024;
/** A file that is not longer is read back whole. */
export const wholeBytes = ranges * rangeBytes;

export interface Range {
  readonly offset: number;
  /** Of the byte after it. */
  readonly end: number;
}

/** The beginning, the end, and a range at a random place of each part between them; `bytes` is more than `wholeBytes`. */
export function sampleOf(bytes: number, random: () => number): readonly Range[] {
  const part = bytes / ranges;
  return Array.from({ length: ranges }, (_, index) => {
    const first = Math.ceil(index * part);
    const last = Math.floor((index + 1) * part) - rangeBytes;
    const chosen = first + Math.floor(random() * (last - first + 1));
    const offset = index === 0 ? 0 : index === ranges - 1 ? bytes - rangeBytes : chosen;
    return { offset, end: offset + rangeBytes };
  });
}

/** The first range of an open file of `bytes` bytes there that is not as in `source`; undefined: all are. */
export async function differingRange(
  calls: SftpCalls,
  handle: Buffer,
  source: FileHandle,
  bytes: number,
  context: CallContext,
): Promise<Range | undefined> {
  const sample = sampleOf(bytes, Math.random);
  const same = await Promise.all(sample.map((range) => isSame(calls, handle, source, range, context)));
  return sample.find((_, index) => !same[index]);
}

async function isSame(
  calls: SftpCalls,
  handle: Buffer,
  source: FileHandle,
  { offset, end }: Range,
  context: CallContext,
): Promise<boolean> {
  const expected = Buffer.allocUnsafe(end - offset);
  if ((await readWhole(source, expected, offset, expected.byteLength)) < expected.byteLength) return false;
  let at = 0;
  for await (const chunk of readThrough(calls, handle, { offset, size: end }, context)) {
    if (expected.compare(chunk, 0, chunk.byteLength, at, at + chunk.byteLength) !== 0) return false;
    at += chunk.byteLength;
  }
  return at === expected.byteLength;
}
