import type { FaultCode } from "./faults.ts";

/** What a status between 400 and 499 says where nothing says it better; undefined for those that mean something else to each side. */
export function codeOfRefusal(status: number): FaultCode | undefined {
  switch (status) {
    case 400:
      return "USAGE";
    case 401:
      return "UNAUTHENTICATED";
    case 403:
      return "FORBIDDEN";
    case 404:
      return "NOT_FOUND";
    case 409:
      return "CONFLICT";
    case 413:
      return "TOO_LARGE";
    case 416:
      return "BAD_OFFSET";
    case 422:
      return "INVALID";
    default:
      return undefined;
  }
}
