import type { Site } from "../../config/types.ts";
import type { CgroupBase } from "../../runner/cgroups.ts";

export type CheckResult = "ok" | "warning" | "error" | "skipped";

/** What one check has found; the fields are stable: `-o json` prints them. */
export interface Finding {
  readonly result: CheckResult;
  /** What is so, with the value. */
  readonly found: string;
  /** Why it matters; needed for warnings and errors. */
  readonly why?: string;
  /** A command to paste, or one sentence. */
  readonly repair?: string;
}

/** What checks look at. */
export interface DoctorFacts {
  readonly siteFile: string;
  /** Undefined when the site file is missing or cannot be used. */
  readonly site: Site | undefined;
  /** Why there is no site. */
  readonly siteProblem: string | undefined;
  readonly stateDir: string;
  readonly runtimeDir: string;
  readonly env: NodeJS.ProcessEnv;
  readonly signal: AbortSignal;
  /** Tried once: where attempts could have control groups of their own. */
  readonly cgroups: () => Promise<CgroupBase | undefined>;
}

export interface Check {
  readonly id: string;
  readonly title: string;
  readonly area: "machine" | "places" | "site" | "central";
  run(facts: DoctorFacts): Promise<Finding> | Finding;
}

export interface CheckedFinding extends Finding {
  readonly id: string;
  readonly title: string;
  readonly area: Check["area"];
}

export interface DoctorReport {
  readonly siteFile: string;
  readonly checks: readonly CheckedFinding[];
  /** 0 well, 1 warnings, 2 errors. */
  readonly exit: 0 | 1 | 2;
}

export const ok = (found: string): Finding => ({ result: "ok", found });
export const skipped = (found: string): Finding => ({ result: "skipped", found });
export const warning = (found: string, why: string, repair: string): Finding => ({
  result: "warning",
  found,
  why,
  repair,
});
export const failing = (found: string, why: string, repair: string): Finding => ({
  result: "error",
  found,
  why,
  repair,
});
