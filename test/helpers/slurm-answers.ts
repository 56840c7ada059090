import type { RunResult } from "../../src/hosts/types.ts";
import { newToken, type Token } from "../../src/common/token.ts";

/** What a command left: exit code 0 and nothing printed unless said. */
export function result(more: Partial<RunResult> = {}): RunResult {
  return { exitCode: 0, signal: undefined, stdout: "", stderr: "", truncated: false, timedOut: false, ...more };
}

export interface QueueFields {
  readonly id: string;
  readonly state: string;
  readonly reason?: string;
  readonly submitted?: string;
  readonly started?: string;
  readonly ended?: string;
  readonly nodes?: string;
  readonly exit?: string;
  readonly restarts?: string;
  readonly name?: string;
  readonly comment?: string;
}

/** One row as squeue 22.05 prints it. */
export function queueLine(fields: QueueFields): string {
  const { id, state, reason = "None", submitted = "1795280218", started = "N/A", ended = "N/A", nodes = "" } = fields;
  const { exit = "0", restarts = "0", name = newToken(), comment = name } = fields;
  const values = [id, state, reason, submitted, started, ended, nodes, exit, restarts, name, comment];
  return `${values.join("\u001f")}\u001e\n`;
}

export interface AccountingFields {
  readonly id: string;
  readonly state: string;
  readonly exit?: string;
  readonly reason?: string;
  readonly submitted?: string;
  readonly started?: string;
  readonly ended?: string;
  readonly cpu?: string;
  readonly rss?: string;
  readonly name: string;
}

/** One row as sacct prints it. */
export function accountingLine(fields: AccountingFields): string {
  const { id, state, exit = "0:0", reason = "None", submitted = "1795280218", started = "1795280219" } = fields;
  const { ended = "1795280220", cpu = "00:00.010", rss = "", name } = fields;
  return `${[id, state, exit, reason, submitted, started, ended, cpu, rss, name].join("\u001f")}\n`;
}

export const token = "abcdefghijklmn0" as Token;
export const submittedAt = new Date(1795280217_000).toISOString();
