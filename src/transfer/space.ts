import { lstat, readdir, statfs } from "node:fs/promises";
import { Fault } from "../common/fault.ts";
import { formatSize } from "../common/units.ts";
import { isPartialName } from "./paths.ts";
import type { PlannedFile } from "./plan.ts";

/**
 * Throws TRANSFER (`details.errno` ENOSPC) when the files to be copied cannot fit below `root`: better before the first byte
 * than after hours. Files of unknown size count as nothing.
 */
export async function checkSpace(root: string, token: string, files: readonly PlannedFile[]): Promise<void> {
  const copied = files.filter((file) => file.item.mode === "copy");
  const needed = copied.reduce((sum, file) => sum + (file.bytes ?? 0), 0);
  if (needed === 0) return;
  const { bavail, bsize } = await statfs(root);
  const free = bavail * bsize;
  if (needed <= free || needed <= free + (await partialBytes(root, token))) return;
  throw new Fault(
    "TRANSFER",
    `the inputs need ${formatSize(needed)} and the job's directory has ${formatSize(free)} left`,
    {
      hint: "free space there; the transfer is tried again later",
      details: { errno: "ENOSPC", needed, free },
    },
  );
}

/** What earlier tries of this job already wrote. */
async function partialBytes(directory: string, token: string, inside = false): Promise<number> {
  let sum = 0;
  for (const entry of await readdir(directory, { withFileTypes: true })) {
    const path = `${directory}/${entry.name}`;
    const partial = inside || isPartialName(entry.name, token);
    if (entry.isDirectory()) sum += await partialBytes(path, token, partial);
    else if (partial) sum += (await lstat(path)).size;
  }
  return sum;
}
