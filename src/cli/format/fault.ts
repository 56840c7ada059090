import type { Fault } from "../../common/fault.ts";
import type { JsonObject } from "../../common/json.ts";
import { faults } from "../../common/faults.ts";
import type { Terminal } from "../terminal.ts";
import { manyLines } from "./text.ts";

/** How a fault looks to programs; the fields are stable. */
export function faultData(fault: Fault): JsonObject {
  return {
    error: {
      code: fault.code,
      message: fault.message,
      hint: fault.hint ?? null,
      retry: fault.row.retry,
      exit_code: fault.row.exit,
      details: fault.details ?? {},
    },
  };
}

/** How a fault looks to people. */
export function faultText(fault: Fault, terminal: Terminal, debug: boolean): string {
  const lines = [`${terminal.style(["red", "bold"], "siteagent:")} ${manyLines(fault.message)}`];
  if (fault.hint !== undefined) lines.push(`${terminal.style("cyan", "     hint:")} ${manyLines(fault.hint)}`);
  if (fault.code === "DEFECT") {
    lines.push(`           ${faults.DEFECT.meaning}; SITEAGENT_DEBUG=1 shows where`);
  }
  if (debug && fault.stack !== undefined) lines.push(manyLines(stackOf(fault)));
  return `${lines.join("\n")}\n`;
}

function stackOf(error: Error): string {
  const cause = error.cause instanceof Error ? `\ncaused by: ${stackOf(error.cause)}` : "";
  return `${error.stack ?? error.message}${cause}`;
}
