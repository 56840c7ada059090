import type { JsonObject } from "./json.ts";
import { type FaultCode, type FaultRow, faults } from "./faults.ts";

export interface FaultOptions {
  /** Advice for the person who has to repair it; one sentence, may hold a command to paste. */
  readonly hint?: string;
  /** Data for programs; never secrets. */
  readonly details?: JsonObject;
  readonly cause?: unknown;
}

/**
 * The one error class. `code` selects a row of `faults`; control flow reads the row, never the message.
 * Messages: what failed, the value in single quotes, what was expected.
 */
export class Fault extends Error {
  override readonly name = "Fault";
  readonly code: FaultCode;
  readonly hint: string | undefined;
  readonly details: JsonObject | undefined;

  constructor(code: FaultCode, message: string, options: FaultOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.code = code;
    this.hint = options.hint;
    this.details = options.details;
  }

  get row(): FaultRow {
    return faults[this.code];
  }
}

/** The fault itself, or anything else wrapped as `DEFECT` (or as `code`) with its message kept. */
export function asFault(error: unknown, code: FaultCode = "DEFECT"): Fault {
  if (error instanceof Fault) return error;
  return new Fault(code, messageOf(error), { cause: error });
}

/** What was thrown, in words. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/** True when `error` is a fault of one of these codes. */
export function isFault(error: unknown, ...codes: readonly FaultCode[]): error is Fault {
  return error instanceof Fault && (codes.length === 0 || codes.includes(error.code));
}

/** The `code` of a Node system error (`ENOENT`, `EEXIST`…), if it is one. */
export function errnoOf(error: unknown): string | undefined {
  if (typeof error !== "object" || error === null || !("code" in error)) return undefined;
  return typeof error.code === "string" ? error.code : undefined;
}
