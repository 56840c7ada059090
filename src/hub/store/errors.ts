import { Fault } from "../../common/fault.ts";

/** True when a statement broke a unique or primary key constraint, in either engine. */
export function isUniqueViolation(error: unknown): boolean {
  if (typeof error !== "object" || error === null) return false;
  if ("code" in error && error.code === "23505") return true;
  // SQLITE_CONSTRAINT_UNIQUE, SQLITE_CONSTRAINT_PRIMARYKEY
  return "errcode" in error && (error.errcode === 2067 || error.errcode === 1555);
}

/** True for the failures after which PostgreSQL asks to run the transaction again. */
export function isRetryable(error: unknown): boolean {
  if (typeof error !== "object" || error === null || !("code" in error)) return false;
  return error.code === "40001" || error.code === "40P01";
}

/** SQLSTATE classes that mean "the database is not there now" (connection, resources, shutdown), and socket errors. */
const unavailable = /^(?:08|25P03|53|57P|58)|^E(?:CONN|PIPE|TIMEDOUT|HOSTUNREACH|NOTFOUND)/;

/** A database failure as a fault that says whether trying again helps; anything else as it is. */
export function storeFault(error: unknown): unknown {
  if (typeof error !== "object" || error === null || error instanceof Fault) return error;
  if ("code" in error && typeof error.code === "string" && unavailable.test(error.code)) {
    return new Fault("STORE", "the hub's database does not answer", { cause: error });
  }
  // query_canceled: by the time limit of the session
  if ("code" in error && error.code === "57014") {
    return new Fault("TIMEOUT", "the hub's database took too long for this request", { cause: error });
  }
  // SQLITE_BUSY 5, LOCKED 6, READONLY 8, IOERR 10, CORRUPT 11, FULL 13, CANTOPEN 14
  if (
    "errcode" in error &&
    typeof error.errcode === "number" &&
    [5, 6, 8, 10, 11, 13, 14].includes(error.errcode & 255)
  ) {
    return new Fault("STORE", "the hub's database cannot be read or written", { cause: error });
  }
  return error;
}
