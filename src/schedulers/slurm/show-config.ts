import type { RunResult } from "../../hosts/types.ts";
import { queryTimeoutMs, type SchedulerCommand, smallOutputBytes } from "../command.ts";
import { noAnswer } from "./trouble.ts";

/** What the controller says of itself. */
export interface SlurmFacts {
  /** `22.05.8` */
  readonly version: string;
  readonly cluster: string;
  /** Accounting in slurmdbd. */
  readonly accounting: boolean;
  /** How long ended jobs stay in the queue at least, seconds; Infinity = for ever. */
  readonly minJobAgeS: number;
  /** 0: no arrays. */
  readonly mostTasks: number;
}

export type FactsAnswer =
  | { readonly state: "answered"; readonly facts: SlurmFacts }
  | { readonly state: "unknown"; readonly why: string };

export function showConfig(cluster: string | undefined): SchedulerCommand<FactsAnswer> {
  return {
    argv: ["scontrol", ...(cluster === undefined ? [] : ["-M", cluster]), "show", "config"],
    timeoutMs: queryTimeoutMs,
    maxOutputBytes: smallOutputBytes,
    parse: parseConfig,
  };
}

export function parseConfig(result: RunResult): FactsAnswer {
  const why = noAnswer("scontrol", result);
  if (why !== undefined) return { state: "unknown", why };
  const values = new Map<string, string>();
  for (const line of result.stdout.split("\n")) {
    const [, key, value] = /^(\w+)\s*= (.*)$/.exec(line) ?? [];
    if (key !== undefined && value !== undefined && !values.has(key)) values.set(key, value.trim());
  }
  const version = /\d+\.\d+[.\w-]*/.exec(values.get("SLURM_VERSION") ?? "")?.[0];
  if (version === undefined) return { state: "unknown", why: "scontrol show config names no version" };
  const minJobAge = number(values.get("MinJobAge"), 300);
  return {
    state: "answered",
    facts: {
      version,
      cluster: values.get("ClusterName") ?? "",
      accounting: values.get("AccountingStorageType") === "accounting_storage/slurmdbd",
      minJobAgeS: minJobAge === 0 ? Infinity : minJobAge,
      mostTasks: mostTasks(values),
    },
  };
}

/** The highest index is one less than MaxArraySize, and ours begin at 0. */
function mostTasks(values: ReadonlyMap<string, string>): number {
  const size = number(values.get("MaxArraySize"), 1001);
  const [, cap] = /(?:^|,)max_array_tasks=(\d+)/.exec(values.get("SchedulerParameters") ?? "") ?? [];
  return Math.min(size, number(cap, size));
}

function number(text: string | undefined, otherwise: number): number {
  const [digits] = /^\d+/.exec(text ?? "") ?? [];
  return digits === undefined ? otherwise : Number(digits);
}

/** The first version that knows `sbatch --export=NIL`. */
export const exportsNothing = [23, 2, 3] as const;
/** The first whose sacct does not take 128 from exit codes from 128 on: 129 looks like 1, and 128 like none. */
export const tellsCodesAsTheyAre = [25, 11] as const;

/** Is `version` (`22.05.8`, `23.11.0-0rc1`) at least these numbers? */
export function atLeast(version: string, ...wanted: readonly [number, ...number[]]): boolean {
  const numbers = version.split(/[.-]/).map((part) => Number.parseInt(part, 10) || 0);
  for (const [index, want] of wanted.entries()) {
    const have = numbers[index] ?? 0;
    if (have !== want) return have > want;
  }
  return true;
}
