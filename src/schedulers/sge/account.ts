import type { RunResult } from "../../hosts/types.ts";
import { queryTimeoutMs, type SchedulerCommand, smallOutputBytes } from "../command.ts";
import { whyOf } from "../words.ts";

export type AccountAnswer = { readonly ok: true; readonly name: string } | { readonly ok: false; readonly why: string };

/** Whose jobs are asked for. Older versions of qstat list everybody's jobs without it. */
export function accountName(): SchedulerCommand<AccountAnswer> {
  return { argv: ["id", "-un"], timeoutMs: queryTimeoutMs, maxOutputBytes: smallOutputBytes, parse };
}

function parse(result: RunResult): AccountAnswer {
  const name = /^[^\s*?[\],=@-][^\s*?[\],=@]*$/m.exec(result.stdout)?.[0];
  if (name === undefined || result.exitCode !== 0) return { ok: false, why: whyOf("id -un", result) };
  return { ok: true, name };
}
