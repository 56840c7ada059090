/** Where a file goes to at a remote: its directory, what lies at its name, and how it gets that name. */
import type { Stats } from "ssh2";
import type { CallContext } from "../../common/context.ts";
import { Fault } from "../../common/fault.ts";
import { shellQuoted } from "../../common/shell.ts";
import { unsafe } from "../paths.ts";
import { isWithin } from "../tree.ts";
import { destinationOf, type Place } from "./place.ts";
import type { SftpCalls } from "./types.ts";

/**
 * Real path of the directory that the file goes to; made below the rule's directory if it is not there.
 * @throws Fault UNSAFE_PATH when links lead it out of that, TRANSFER_REFUSED when that is not there.
 */
export async function destinationDirectory(place: Place, context: CallContext): Promise<string> {
  const { files } = place.access;
  const { root, below } = destinationOf(place);
  const [realRoot, stats] = await Promise.all([
    files.maybe<string>(context, (sftp, done) => sftp.realpath(root, done)),
    files.maybe<Stats>(context, (sftp, done) => sftp.stat(root, done)),
  ]);
  if (realRoot === undefined || !stats?.isDirectory()) {
    throw new Fault("TRANSFER_REFUSED", `directory '${root}' of policy.destinations is not there on the remote`, {
      hint: `there, as the remote's account: mkdir -p ${shellQuoted(root)}`,
    });
  }
  const wanted = [root === "/" ? "" : root, ...below].join("/") || "/";
  const there = await realDirectory(place, wanted, realRoot, context);
  if (there !== undefined) return there;
  // Step by step: a link on the way must not have a directory made behind it.
  let real = realRoot;
  let path = root === "/" ? "" : root;
  for (const name of below) {
    path = `${path}/${name}`;
    const next =
      (await realDirectory(place, path, realRoot, context)) ?? (await makeDirectory(place, path, realRoot, context));
    if (next === undefined) throw new Fault("TRANSFER", `${place.what}: directory '${path}' could not be made`);
    real = next;
  }
  return real;
}

/** Where a directory really is; undefined: not there. */
async function realDirectory(
  place: Place,
  path: string,
  root: string,
  context: CallContext,
): Promise<string | undefined> {
  const { files } = place.access;
  const [stats, real] = await Promise.all([
    files.maybe<Stats>(context, (sftp, done) => sftp.stat(path, done)),
    files.maybe<string>(context, (sftp, done) => sftp.realpath(path, done)),
  ]);
  if (!stats || real === undefined) return undefined;
  if (!isWithin(real, root))
    throw unsafe("destination", place.what.slice(1, -1), "links on its way leave the rule's directory");
  if (!stats.isDirectory()) throw unsafe("destination", place.what.slice(1, -1), `'${path}' is no directory`);
  return real;
}

/** Of several files that need it at the same time one makes it. */
async function makeDirectory(
  place: Place,
  path: string,
  root: string,
  context: CallContext,
): Promise<string | undefined> {
  try {
    await place.access.files.call(context, (sftp, done) => sftp.mkdir(path, done));
  } catch (error) {
    const there = await realDirectory(place, path, root, context);
    if (there === undefined) throw error;
    return there;
  }
  return realDirectory(place, path, root, context);
}

/** What lies at the final name, if it may be replaced; undefined: nothing. @throws Fault if it may not. */
export async function replaceable(place: Place, context: CallContext): Promise<Stats | undefined> {
  const { access, path, what } = place;
  const there = await access.files.maybe<Stats>(context, (sftp, done) => sftp.lstat(path, done));
  if (there?.isDirectory()) throw unsafe("destination", what.slice(1, -1), "a directory has that name");
  return there;
}

/** @throws Fault when something lies at the final name that may not be replaced. */
export async function refuseExisting(place: Place, context: CallContext): Promise<void> {
  const there = await replaceable(place, context);
  if (there && place.access.settings.existing === "refuse") throw existingFault(place);
}

export function existingFault({ what }: Place): Fault {
  return new Fault("TRANSFER_REFUSED", `${what} is there with another content`, {
    hint: "give outputs names of their own, or set 'existing: replace' on the remote",
  });
}

/** Over what is there; in one step where the server can. */
export async function renameOver(files: SftpCalls, from: string, to: string, context: CallContext): Promise<void> {
  const atOnce = await files.extension(context, (sftp, done) => sftp.ext_openssh_rename(from, to, done));
  if (atOnce) return;
  await files.maybe(context, (sftp, done) => sftp.unlink(to, done));
  await files.call(context, (sftp, done) => sftp.rename(from, to, done));
}
