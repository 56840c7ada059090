import { constants } from "node:os";
import { secondsOf } from "../directive-words.ts";
import type { Verdict } from "../types.ts";
import type { AccountingRecord } from "./qacct.ts";

/** `failed` of an accounting record (`execution_states.h`): where it went wrong, apart from what the script returned. */
const rescheduled = new Set([24, 25]);
/** The script ran and its exit status counts; what came after it went wrong. */
const afterwards = new Set([12, 13, 14, 15, 16]);
const limitEnforced = 37;
const applicationError = 30;
const nodes = new Set([18, 19, 20, 21, 22, 23]);

/** Another record follows when the job has run again. */
export function isRescheduling(record: AccountingRecord): boolean {
  return rescheduled.has(record.failed);
}

/** `deleted`: somebody is known to have deleted it; Grid Engine itself tells a deletion no different from any KILL. */
export function verdictOf(record: AccountingRecord, deleted: boolean): Verdict {
  return {
    ...meaningOf(record, deleted),
    by: record.deletedBy,
    raw: rawOf(record),
    source: "accounting",
    startedAt: record.startedAt,
    endedAt: record.endedAt,
    usage: { cpuSeconds: record.cpuSeconds },
  };
}

type Meaning = Pick<Verdict, "kind" | "exitCode" | "signal">;

function meaningOf(record: AccountingRecord, deleted: boolean): Meaning {
  const { failed, exitStatus } = record;
  if (deleted || record.deletedBy !== undefined) return { kind: "cancelled", ...endOf(record) };
  if (failed === limitEnforced || (failed === 100 && usedItsTime(record)))
    return { kind: limitOf(record), ...endOf(record) };
  if (failed === 0 || afterwards.has(failed))
    return { kind: exitStatus === 0 ? "completed" : "failed", exitCode: exitStatus };
  if (nodes.has(failed)) return { kind: "node" };
  if (failed === 17 || failed === 100 || failed === applicationError) return { kind: "failed", ...endOf(record) };
  if (rescheduled.has(failed)) return { kind: "cancelled" };
  return { kind: "launch" };
}

/** 128 + n: signal n ended it, where something went wrong beside; a script may return such a number by itself. */
function endOf({ failed, exitStatus }: AccountingRecord): Pick<Verdict, "exitCode" | "signal"> {
  const name = Object.entries(constants.signals).find(([, number]) => number === exitStatus - 128)?.[0];
  return failed !== 0 && name !== undefined ? { exitCode: exitStatus, signal: name } : { exitCode: exitStatus };
}

/** The limits that were asked for stand in the category of newer versions. */
function limitOf(record: AccountingRecord): Verdict["kind"] {
  if (usedItsTime(record)) return "timeout";
  const memory = bytesOf(requested(record, "h_vmem"));
  if (memory !== undefined && record.maxVmemBytes !== undefined && record.maxVmemBytes >= memory * 0.9) return "oom";
  return "limit";
}

function usedItsTime(record: AccountingRecord): boolean {
  const limit = secondsOf(requested(record, "h_rt"));
  return limit !== undefined && record.wallclockSeconds !== undefined && record.wallclockSeconds >= limit;
}

function requested({ category }: AccountingRecord, name: string): string | undefined {
  return new RegExp(`[ ,]${name}=([^ ,]+)`).exec(category ?? "")?.[1];
}

/** Capital letters count 1024, small ones 1000. */
const factors: Readonly<Record<string, number>> = {
  "": 1,
  K: 1024,
  M: 1024 ** 2,
  G: 1024 ** 3,
  T: 1024 ** 4,
  k: 1000,
  m: 1000 ** 2,
  g: 1000 ** 3,
  t: 1000 ** 4,
};

export function bytesOf(text: string | undefined): number | undefined {
  const parts = /^(\d+(?:\.\d+)?)([KMGTkmgt]?)B?$/.exec(text ?? "");
  const factor = factors[parts?.[2] ?? "?"];
  return parts && factor !== undefined ? Number(parts[1]) * factor : undefined;
}

function rawOf({ failed, failedWords, exitStatus }: AccountingRecord): string {
  return `failed ${failed}${failedWords === "" ? "" : ` (${failedWords})`}, exit_status ${exitStatus}`;
}
