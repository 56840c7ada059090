import type { Probe } from "../../common/adapter.ts";
import type { CallContext } from "../../common/context.ts";
import { asFault } from "../../common/fault.ts";
import { probeSftp } from "../sftp/probe.ts";
import type { SftpAccess } from "../sftp/types.ts";
import { RsyncVersions } from "./versions.ts";

/** As for SFTP, by which directories are listed, and whether there is an rsync at both ends. Never throws. */
export async function probeRsync(access: SftpAccess, url: string, context: CallContext): Promise<Probe> {
  const files = await probeSftp(access, url, context);
  if (!files.ok) return files;
  try {
    const versions = new RsyncVersions();
    const here = await versions.here();
    const there = await versions.there(access, context);
    return { ...files, version: `rsync ${there.text} there and ${here.text} here; ${files.version}` };
  } catch (error) {
    const { message, hint } = asFault(error);
    return { ok: false, reason: message, ...(hint === undefined ? {} : { hint }) };
  }
}
