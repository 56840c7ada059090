import { Fault } from "../../common/fault.ts";
import { quoted } from "../../common/nearest.ts";
import { missingSource } from "../errors.ts";

/** Status codes of draft-ietf-secsh-filexfer-02, section 7. */
export const status = { noSuchFile: 2, permissionDenied: 3, failure: 4, unsupported: 8 } as const;

/** The number of a server's refusal; undefined for any other error. */
export function statusOf(error: unknown): number | undefined {
  if (!(error instanceof Error) || error instanceof Fault || !("status" in error)) return undefined;
  return typeof error.status === "number" ? error.status : undefined;
}

/** The fault for a server's refusal while `what` (a file, quoted) was looked at or moved; other errors come back as they are. */
export function sftpFault(error: unknown, what: string): unknown {
  const number = statusOf(error);
  if (number === undefined) return error;
  const words = error instanceof Error ? quoted(error.message, 200) : "";
  switch (number) {
    case status.noSuchFile:
      return missingSource(what, error);
    case status.permissionDenied:
      return new Fault("TRANSFER_REFUSED", `${what}: the server denies it: ${words}`, {
        hint: "the account of the remote needs the right to it",
        details: { status: number },
        cause: error,
      });
    case status.unsupported:
      return new Fault("TRANSFER_REFUSED", `${what}: the server cannot do it: ${words}`, {
        details: { status: number },
        cause: error,
      });
    default:
      return new Fault("TRANSFER", `${what}: the server says ${words}`, { details: { status: number }, cause: error });
  }
}

/** The fault for a destination on a full file system; servers call it a failure without a reason. */
export function fullFault(what: string, cause: unknown): Fault {
  return new Fault("TRANSFER", `${what} could not be written: no space left there`, {
    hint: "free space there; the transfer is tried again later",
    details: { errno: "ENOSPC" },
    cause,
  });
}
