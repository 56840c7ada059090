/** Removes what a job that is over has left in a directory of a remote. */
import { posix } from "node:path";
import type { FileEntryWithStats, Stats } from "ssh2";
import type { CallContext } from "../../common/context.ts";
import { Fault } from "../../common/fault.ts";
import type { Token } from "../../common/token.ts";
import { isPartialName } from "../paths.ts";
import { destinationDirectory } from "./destination.ts";
import type { Place } from "./place.ts";
import type { SftpAccess } from "./types.ts";
import { someEntries } from "./walk.ts";

const commandMs = 15_000;

/** Partial files of `token` in the directory of a destination, and directories of that name. */
export async function sweepDirectory(place: Place, token: Token, context: CallContext): Promise<void> {
  const { access } = place;
  const there = posix.dirname(place.path);
  const stats = await access.files.maybe<Stats>(context, (sftp, done) => sftp.stat(there, done));
  if (!stats?.isDirectory()) return;
  const real = await destinationDirectory(place, context);
  for (const { filename, attrs } of await partialsIn(access, real, token, context)) {
    const path = `${real === "/" ? "" : real}/${filename}`;
    if (attrs.isDirectory()) await removeTree(access, path, context);
    else await access.files.maybe(context, (sftp, done) => sftp.unlink(path, done));
  }
}

async function partialsIn(
  { files }: SftpAccess,
  real: string,
  token: Token,
  context: CallContext,
): Promise<readonly FileEntryWithStats[]> {
  const handle = await files.call<Buffer>(context, (sftp, done) => sftp.opendir(real, done));
  const found: FileEntryWithStats[] = [];
  try {
    for (;;) {
      const some = await someEntries(files, handle, context);
      if (!some) return found;
      for (const entry of some) if (isPartialName(entry.filename, token)) found.push(entry);
    }
  } finally {
    await files.call(context, (sftp, done) => sftp.close(handle, done)).catch(() => undefined);
  }
}

/** Those that a command has made. */
async function removeTree(access: SftpAccess, path: string, context: CallContext): Promise<void> {
  const command = {
    argv: ["rm", "-rf", "--", path],
    cwd: "/",
    environment: { PATH: "/usr/bin:/bin:/usr/local/bin" },
    timeoutMs: commandMs,
    maxOutputBytes: 4_096,
  } as const;
  const { exitCode, stderr } = await access.run(command, context);
  if (exitCode !== 0)
    throw new Fault("TRANSFER", `'${path}' could not be removed there: ${stderr.trim().slice(0, 300)}`);
}
