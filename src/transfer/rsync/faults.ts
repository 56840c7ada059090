import { Fault, type FaultOptions } from "../../common/fault.ts";
import { quoted } from "../../common/nearest.ts";
import { sourceChanged } from "../errors.ts";
import { fullFault } from "../sftp/faults.ts";

/** How a pair of rsyncs has ended. */
export interface RsyncEnd {
  /** Of the one on this machine; undefined: it was killed. */
  readonly exitCode: number | undefined;
  /** What it said, of the other one, too. */
  readonly words: string;
  /** Undefined: it was not started, or has not ended. */
  readonly remote: { readonly exitCode: number | undefined; readonly stderr: string } | undefined;
  /** What messages call the remote. */
  readonly label: string;
}

/** What the numbers mean, in rsync's words (rsync(1), EXIT VALUES). */
const meanings: Readonly<Record<number, string>> = {
  1: "syntax or usage error",
  2: "protocol incompatibility",
  3: "errors selecting input/output files, dirs",
  4: "requested action not supported",
  5: "error starting client-server protocol",
  10: "error in socket I/O",
  11: "error in file I/O",
  12: "error in rsync protocol data stream",
  13: "errors with program diagnostics",
  14: "error in IPC code",
  20: "ended by a signal",
  21: "some error returned by waitpid()",
  22: "error allocating core memory buffers",
  23: "partial transfer due to error",
  24: "partial transfer due to vanished source files",
  30: "timeout in data send/receive",
  35: "timeout waiting for daemon connection",
};

/** Something that no other try mends. */
const incompatible = new Set([1, 2, 4]);
const noSpace = /No space left on device|Dis[ck] quota exceeded/;
const denied =
  /Permission denied|Operation not permitted|Read-only file system|File name too long|Is a directory|Not a directory/;
const gone = /No such file or directory|file has vanished/;

export function notHere(reason: string): Fault {
  return new Fault("UNSUPPORTED", `rsync on this machine cannot be used: ${reason}`, {
    hint: "install rsync 3.1 or newer here, or have the remote moved by SFTP",
  });
}

export function notThere(label: string, reason: string): Fault {
  return new Fault("UNSUPPORTED", `rsync at '${label}' cannot be used: ${reason}`, {
    hint: "install rsync 3.1 or newer there (in /usr/local/bin or /usr/bin), or have the remote moved by SFTP",
  });
}

/** The fault for a pair that has not ended well while `what` was moved; undefined: it has. */
export function rsyncFault(end: RsyncEnd, what: string): Fault | undefined {
  const { remote, label } = end;
  // The one here does not always hear how the other one ends.
  const exitCode = end.exitCode === 0 ? (remote?.exitCode ?? 0) : end.exitCode;
  if (exitCode === 0) return undefined;
  const words = `${remote?.stderr ?? ""}\n${end.words}`;
  if (remote?.exitCode === 127) return notThere(label, quoted(remote.stderr || "it is not installed", 300));
  const said = quoted(lastWords(words), 600);
  const meaning = exitCode === undefined ? "killed" : `${exitCode}, ${meanings[exitCode] ?? "unknown to siteagent"}`;
  const options: FaultOptions = { details: { rsync: exitCode ?? null } };
  if (noSpace.test(words)) return fullFault(`${what} (${said})`, undefined);
  if (exitCode !== undefined && incompatible.has(exitCode)) {
    return new Fault("UNSUPPORTED", `${what}: rsync ends with ${meaning}: ${said}`, options);
  }
  if (exitCode === 24 || (exitCode === 23 && gone.test(words))) {
    return sourceChanged(`${what} (rsync: ${said})`);
  }
  if (denied.test(words)) {
    return new Fault("TRANSFER_REFUSED", `${what}: rsync ends with ${meaning}: ${said}`, {
      ...options,
      hint: "the account of the remote, or this one, needs the right to it",
    });
  }
  return new Fault("TRANSFER", `${what}: rsync ends with ${meaning}: ${said}`, options);
}

/** The reasons come first, what rsync makes of them last; both in few words. */
function lastWords(text: string): string {
  const lines = text.split("\n").filter((line) => line.trim() !== "");
  const [first = "it said nothing", ...rest] = lines;
  const last = rest.at(-1);
  return last === undefined ? first : `${first}; ${last}`;
}
