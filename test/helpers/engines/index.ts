import { describe, inject } from "vitest";
import type { EngineName } from "./registry.ts";

declare module "vitest" {
  interface TaskMeta {
    /** Why it was skipped: the engines that this machine lacks. */
    missingEngines?: readonly EngineName[];
  }
}

/**
 * `describe` for tests that need a real engine (or several). Where one is missing they are skipped, and the end of
 * `npm test` says so by name; `TEST_REQUIRE` makes its absence a failure. The only permitted way to skip a test.
 */
export function describeWithEngine(needed: EngineName | readonly EngineName[], title: string, tests: () => void): void {
  const missing = missingEngines(needed);
  if (missing.length === 0) describe(title, tests);
  else describe(title, { skip: true, meta: { missingEngines: missing } }, tests);
}

/** Which of these engines this machine lacks. */
export function missingEngines(needed: EngineName | readonly EngineName[]): readonly EngineName[] {
  const found = inject("engines");
  return [needed].flat().filter((name) => !found[name].ok);
}
