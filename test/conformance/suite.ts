import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { applies, type Case, type Suite } from "../../src/conformance/suite.ts";
import type { TriedAdapter } from "./adapters.ts";

/** Runs the cases of a suite on one adapter; it must be able to do what the list of adapters says, no less and no more. */
export function describeSuite<Harness extends AsyncDisposable>(
  suite: Suite<Harness>,
  name: string,
  tried: TriedAdapter,
  make: () => Promise<Harness>,
): void {
  const timeout = suite.timeoutMs;
  describe(`${suite.type} contract: ${name}`, { timeout }, () => {
    let shared: Harness | undefined;
    if (suite.shared) {
      beforeAll(async () => {
        shared = await make();
      }, timeout);
      afterAll(async () => {
        await shared?.[Symbol.asyncDispose]();
      }, timeout);
    }
    const withHarness = async (use: (harness: Harness) => Promise<void>): Promise<void> => {
      if (shared !== undefined) return use(shared);
      await using own = await make();
      await use(own);
    };
    const run = (one: Case<Harness>) => withHarness((harness) => one.run(harness));

    for (const [group, cases] of Object.entries(suite.groups)) {
      const fitting = cases.filter((one) => applies(one, tried.lacks));
      if (fitting.length > 0) describe(group, () => fitting.forEach((one) => test(one.name, () => run(one))));
    }

    test("lacks what docs/conformance.md says", async () => {
      await withHarness(async (harness) => expect(suite.lacking(harness)).toEqual(tried.lacks));
    });
  });
}
