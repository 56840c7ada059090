/** What a journal's file holds as one value: the product reads it piece by piece. */
import type { JsonObject } from "../../../src/common/json.ts";
import type { Disk } from "../../../src/journal/disk.ts";
import { decodeJson, type Line, type Scan, scanBytes, type ScanSink } from "../../../src/journal/format.ts";
import type { HeaderSource, Opened } from "../../../src/journal/generations.ts";
import { openFiles } from "../../../src/journal/opening.ts";

/** A sink that keeps all records. */
export function keeping(): ScanSink & { readonly lines: Line[] } {
  const lines: Line[] = [];
  return { lines, record: (json) => void lines.push(decodeJson(json) as Line) };
}

export function scanWhole(bytes: Buffer): Scan & { readonly lines: readonly Line[] } {
  const sink = keeping();
  return { ...scanBytes(bytes, sink), lines: sink.lines };
}

export async function openWhole(
  disk: Disk,
  source: HeaderSource,
  at: string,
): Promise<Opened & { readonly snapshot: JsonObject | undefined; readonly lines: readonly Line[] }> {
  let snapshot: JsonObject | undefined;
  let lines: Line[] = [];
  const opened = await openFiles(disk, source, at, {
    begin(state) {
      snapshot = state && (JSON.parse(state.toString()) as JsonObject);
      lines = [];
    },
    record: (json) => void lines.push(decodeJson(json) as Line),
    pause: () => undefined,
  });
  return { ...opened, snapshot, lines };
}
