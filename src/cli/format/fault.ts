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
      hint: hintOf(fault) ?? null,
      retry: fault.row.retry,
      exit_code: fault.row.exit,
      details: fault.details ?? {},
    },
  };
}

/** How a fault looks to people. */
export function faultText(fault: Fault, terminal: Terminal, debug: boolean): string {
  const lines = [`${terminal.style(["red", "bold"], "siteagent:")} ${manyLines(fault.message)}`];
  const hint = hintOf(fault);
  if (hint !== undefined) lines.push(`${terminal.style("cyan", "     hint:")} ${manyLines(hint)}`);
  if (fault.code === "DEFECT") {
    lines.push(`           ${faults.DEFECT.meaning}; SITEAGENT_DEBUG=1 shows where`);
  }
  if (debug && fault.stack !== undefined) lines.push(manyLines(stackOf(fault)));
  return `${lines.join("\n")}\n`;
}

/** Its own, or what helps whoever has this kind of fault at a command line. */
function hintOf(fault: Fault): string | undefined {
  if (fault.hint !== undefined) return fault.hint;
  if (fault.code === "UNAUTHENTICATED") return "log in with: siteagent login (or set SITEAGENT_TOKEN)";
  if (fault.code === "UNREACHABLE") return "is the address right, and the hub running? see: siteagent help environment";
  return undefined;
}

function stackOf(error: Error): string {
  const cause = error.cause instanceof Error ? `\ncaused by: ${stackOf(error.cause)}` : "";
  return `${error.stack ?? error.message}${cause}`;
}
