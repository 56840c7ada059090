import type { Stats } from "ssh2";
import type { Probe } from "../../common/adapter.ts";
import type { CallContext } from "../../common/context.ts";
import { asFault } from "../../common/fault.ts";
import { quoted } from "../../common/nearest.ts";
import { readUrl } from "../urls.ts";
import { RemoteDigests } from "./digests.ts";
import { sftpFault } from "./faults.ts";
import type { SftpAccess } from "./types.ts";

/** Logs in, looks for the remote's directory, and finds out how files would be compared. Never throws. */
export async function probeSftp(access: SftpAccess, url: string, context: CallContext): Promise<Probe> {
  const reading = readUrl(url);
  const path = reading.ok ? `/${reading.url.segments.join("/")}` : "/";
  try {
    const stats = await access.files.maybe<Stats>(context, (sftp, done) => sftp.stat(path, done));
    if (!stats?.isDirectory()) {
      const reason = `${quoted(path, 300)} is no directory there`;
      return { ok: false, reason, hint: "make it there, or correct 'path' of the remote" };
    }
    return { ok: true, version: `SFTP, files compared by ${await comparison(access, context)}` };
  } catch (error) {
    const { message, hint } = asFault(sftpFault(error, quoted(path, 300)));
    return { ok: false, reason: message, ...(hint === undefined ? {} : { hint }) };
  }
}

async function comparison(access: SftpAccess, context: CallContext): Promise<string> {
  if (access.settings.verify === "size") return "size alone";
  if (access.settings.verify === "sample") return "size and samples";
  const digests = new RemoteDigests();
  if (!digests.canAsk(access, context)) return "reading back";
  const empty = "/dev/null";
  const found = await digests.ofMany(access, [{ path: empty, bytes: 0 }], context);
  return found.has(empty) ? "sha256sum there" : "reading back (no sha256sum there)";
}
