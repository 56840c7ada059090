import { lstat, opendir, statfs } from "node:fs/promises";
import { Fault } from "../common/fault.ts";
import { formatSize } from "../common/units.ts";
import { isPartialName } from "./paths.ts";

/**
 * Throws TRANSFER (`details.errno` ENOSPC) when so many bytes cannot fit below `root`: better before the first one is copied than
 * after hours.
 */
export async function checkSpace(root: string, token: string, needed: number): Promise<void> {
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
  for await (const entry of await opendir(directory)) {
    const path = `${directory}/${entry.name}`;
    const partial = inside || isPartialName(entry.name, token);
    if (entry.isDirectory()) sum += await partialBytes(path, token, partial);
    else if (partial) sum += (await lstat(path)).size;
  }
  return sum;
}
