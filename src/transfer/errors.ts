import { Fault, errnoOf, isFault } from "../common/fault.ts";

const fullErrnos = new Set(["ENOSPC", "EDQUOT"]);
const refusedErrnos = new Set([
  "EACCES",
  "EPERM",
  "EROFS",
  "ENAMETOOLONG",
  "EISDIR",
  "ENOTDIR",
  "EFBIG",
  "EEXIST",
  "ENOTEMPTY",
]);

/**
 * The fault for whatever went wrong while `what` (a file) was moved. System errors get a type here: nothing there or not
 * allowed → TRANSFER_REFUSED, a full disk and everything that may pass → TRANSFER (`details.errno`).
 */
export function transferFault(error: unknown, what: string): Fault {
  if (error instanceof Fault) return error;
  const errno = errnoOf(error);
  const reason = error instanceof Error ? error.message : String(error);
  const details = errno === undefined ? {} : { errno };
  if (errno === "ENOENT") return missingSource(what, error);
  if (errno !== undefined && fullErrnos.has(errno)) {
    return new Fault(
      "TRANSFER",
      `${what} could not be written: ${errno === "EDQUOT" ? "the quota is used up" : "no space left on the device"}`,
      {
        hint: "free space there; the transfer is tried again later",
        details,
        cause: error,
      },
    );
  }
  if (errno !== undefined && refusedErrnos.has(errno)) {
    return new Fault("TRANSFER_REFUSED", `${what} cannot be moved: ${reason}`, { details, cause: error });
  }
  return new Fault("TRANSFER", `${what} could not be moved: ${reason}`, { details, cause: error });
}

export function missingSource(what: string, cause?: unknown): Fault {
  return new Fault("TRANSFER_REFUSED", `${what} does not exist`, {
    details: { missing: true },
    ...(cause === undefined ? {} : { cause }),
  });
}

/** True when the fault says that there is nothing at the source; an optional item may then be left out. */
export function isMissing(error: unknown): boolean {
  return isFault(error, "TRANSFER_REFUSED") && error.details?.["missing"] === true;
}

/** Refuses `what` with more files than `mostFiles`; to be called as they are listed. */
export function refuseTooMany(what: string, files: number, mostFiles: number): void {
  if (files <= mostFiles) return;
  throw new Fault("TRANSFER_REFUSED", `more than ${mostFiles} files: ${what}`, {
    hint: "so many are not moved one by one: pack them into archives, and unpack those in the job",
    details: { max_files: mostFiles },
  });
}

export function sourceChanged(what: string): Fault {
  return new Fault("TRANSFER", `${what} changed while it was copied`, { details: { source_changed: true } });
}

export function isSourceChanged(error: unknown): boolean {
  return isFault(error, "TRANSFER") && error.details?.["source_changed"] === true;
}

/** True for a full disk or quota: trying again at once is useless, and what was written is in the way. */
export function isFull(error: unknown): boolean {
  const errno = isFault(error) ? error.details?.["errno"] : undefined;
  return typeof errno === "string" && fullErrnos.has(errno);
}

/** True for a host that waits for a person: its key, our login or our settings. Another try now would only be counted there. */
export function needsPerson(error: unknown): boolean {
  const why = isFault(error, "UNREACHABLE") ? error.details?.["why"] : undefined;
  return typeof why === "string" && ["host-key", "login", "stopped", "configuration"].includes(why);
}

const unansweredErrnos = new Set([
  "ECONNREFUSED",
  "ECONNRESET",
  "ECONNABORTED",
  "EPIPE",
  "ETIMEDOUT",
  "EHOSTUNREACH",
  "EHOSTDOWN",
  "ENETUNREACH",
  "ENETDOWN",
  "EAI_AGAIN",
  "UND_ERR_CONNECT_TIMEOUT",
  "UND_ERR_HEADERS_TIMEOUT",
  "UND_ERR_BODY_TIMEOUT",
  "UND_ERR_SOCKET",
]);

/** True for a remote that could not be reached, broke off or said nothing in time; an unknown name is a mistake and waits for nobody. */
export function isUnanswered(error: unknown): boolean {
  if (!isFault(error) || needsPerson(error)) return false;
  const errno = error.details?.["errno"];
  if (typeof errno === "string" && unansweredErrnos.has(errno)) return true;
  return error.code === "UNREACHABLE" || error.code === "TIMEOUT";
}

/** True when a try that failed brought so much further that the next one goes on from there. */
export function hasAdvanced(error: unknown): boolean {
  return isFault(error) && error.details?.["advanced"] === true;
}

/** The same fault, with the word that its try brought further. */
export function advanced(fault: Fault): Fault {
  return new Fault(fault.code, fault.message, {
    ...(fault.hint === undefined ? {} : { hint: fault.hint }),
    details: { ...fault.details, advanced: true },
    cause: fault,
  });
}

export function digestMismatch(what: string, expected: string, actual: string): Fault {
  return new Fault("DIGEST_MISMATCH", `${what} has sha256 '${actual}', promised was '${expected}'`, {
    hint: "the source is not what was promised, or something on the way altered it",
    details: { expected, actual },
  });
}

/** Throws CANCELLED when the signal is aborted. */
export function throwIfStopped(signal: AbortSignal): void {
  if (!signal.aborted) return;
  if (signal.reason instanceof Fault) throw signal.reason;
  throw new Fault("CANCELLED", "the transfer was stopped", { cause: signal.reason });
}
