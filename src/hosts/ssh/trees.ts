/** Directories over SFTP: made with their parents, removed with all that is in them. Throws what the session throws. */
import { constants } from "node:fs";
import { dirname, join } from "node:path";
import type { FileEntryWithStats, Stats } from "ssh2";
import type { CallContext } from "../../common/context.ts";
import { quoted } from "../../common/nearest.ts";
import { SftpRefusal, type SftpSession, sftpStatus } from "./sftp.ts";

/** Entries of a directory that are removed at the same time. */
const removalsAtOnce = 16;

/** With the parents that are missing, also those of the workdir. True when the server says that it has made it for us. */
export async function makeDirectory(
  session: SftpSession,
  path: string,
  mode: number,
  context: CallContext,
): Promise<boolean> {
  const there = await session.maybe<Stats>(context, (sftp, done) => sftp.stat(path, done));
  if (there?.isDirectory()) return false;
  if (there) throw new SftpRefusal(sftpStatus.failure, "is there and no directory");
  if (dirname(path) !== path) await makeDirectory(session, dirname(path), mode, context);
  try {
    await session.call(context, (sftp, done) => sftp.mkdir(path, { mode }, done));
    return true;
  } catch (error) {
    const other = await session.maybe<Stats>(context, (sftp, done) => sftp.stat(path, done));
    if (!other?.isDirectory()) throw error; // somebody else has not made it either
    return false;
  }
}

/** What is there, itself; with all that is in it. Where a program took the right to, it is given back. */
export async function removeTree(
  session: SftpSession,
  path: string,
  directory: boolean,
  context: CallContext,
): Promise<void> {
  if (!directory) {
    await session.maybe(context, (sftp, done) => sftp.unlink(path, done));
    return;
  }
  try {
    await empty(session, path, context);
  } catch (error) {
    if (!(error instanceof SftpRefusal && error.status === sftpStatus.permissionDenied)) throw error;
    await permit(session, path, context);
    await empty(session, path, context);
  }
  await session.maybe(context, (sftp, done) => sftp.rmdir(path, done));
}

async function empty(session: SftpSession, path: string, context: CallContext): Promise<void> {
  const entries =
    (await session.maybe<readonly FileEntryWithStats[]>(context, (sftp, done) => sftp.readdir(path, done))) ?? [];
  const unsayable = entries.find(({ filename }) => filename.includes("\uFFFD"));
  if (unsayable) throw new SftpRefusal(sftpStatus.failure, `${quoted(unsayable.filename)} is no name in UTF-8`);
  const directories = entries.filter(({ attrs }) => (attrs.mode & constants.S_IFMT) === constants.S_IFDIR);
  const others = entries.filter((entry) => !directories.includes(entry));
  for (let at = 0; at < others.length; at += removalsAtOnce) {
    const some = others.slice(at, at + removalsAtOnce);
    await Promise.all(some.map(({ filename }) => removeTree(session, join(path, filename), false, context)));
  }
  for (const { filename } of directories) await removeTree(session, join(path, filename), true, context);
}

/** Programs leave directories without write permission behind. Of the name itself where the server can. */
async function permit(session: SftpSession, path: string, context: CallContext): Promise<void> {
  const mode = { mode: 0o700 };
  const done = await session.extension(context, (sftp, answer) => sftp.ext_openssh_lsetstat(path, mode, answer));
  if (!done) await session.call(context, (sftp, answer) => sftp.setstat(path, mode, answer));
}
