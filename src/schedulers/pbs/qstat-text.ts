import type { Steps } from "../../common/slices.ts";
import type { JobRecord } from "./record.ts";

/**
 * The jobs in the text of `qstat -f`: `Job Id: 1.server`, then one attribute a line (`    name = value`); a line that begins with a tab goes on with
 * the value before it. What comes after the last line's end is incomplete: the record it belongs to is left out.
 */
export function* jobsOfText(text: string): Steps<readonly JobRecord[]> {
  const blocks = text.split(/^Job Id:[ \t]*/m).slice(1);
  if (blocks.length > 0 && !text.endsWith("\n")) blocks.pop();
  const records: JobRecord[] = [];
  for (const block of blocks) {
    records.push(recordOfBlock(block));
    yield;
  }
  return records;
}

function recordOfBlock(block: string): JobRecord {
  const [first = "", ...lines] = block.split("\n");
  const attributes = new Map<string, string>();
  let last: string | undefined;
  for (const line of lines) {
    const parts = /^ {4}([A-Za-z_][\w.-]*) = ?(.*)$/.exec(line);
    if (parts?.[1] !== undefined) attributes.set((last = parts[1]), parts[2] ?? "");
    else if (line.startsWith("\t") && last !== undefined)
      attributes.set(last, `${attributes.get(last)}${line.slice(1)}`);
    else last = undefined;
  }
  return { id: first.trim(), attributes };
}
