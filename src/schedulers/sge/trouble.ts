import type { RunResult } from "../../hosts/types.ts";

/**
 * Nobody could be asked. All commands end with the same exit status whatever is wrong, so that their words decide: the master is down or does
 * not answer, this host may not ask, the installation is not there.
 */
const words =
  /unable to (?:send message to|contact) qmaster|commlib error|got (?:send|read|select) error|(?:doesn't|does not) exist: .*act_qmaster|SGE_(?:ROOT|CELL)|can't (?:resolve|get) (?:host|own host)|sge_qmaster is not running|timeout|timed out|neither submit nor admin host|not a submit host|certificate|credentials|getservbyname|communication (?:error|library)|out of memory|internal error/i;

export function isTrouble({ exitCode, signal, stdout, stderr, timedOut, truncated }: RunResult): boolean {
  if (timedOut || truncated || signal !== undefined || exitCode === undefined) return true;
  return words.test(stderr) || (exitCode !== 0 && words.test(stdout));
}
