import { systemClock } from "../common/clock.ts";
import { asFault } from "../common/fault.ts";
import { applies, lackOf, type Suite } from "./suite.ts";

export interface CaseResult {
  readonly group: string;
  readonly name: string;
  readonly state: "passed" | "failed" | "not-applicable";
  /** Why it failed, or which ability the adapter lacks (or has). */
  readonly reason?: string;
  readonly seconds: number;
}

/** One after the other, as they end; `wanted` leaves out the others. What `make` throws is thrown: nothing was tried. */
export async function* runSuite<Harness extends AsyncDisposable>(
  suite: Suite<Harness>,
  make: () => Promise<Harness>,
  wanted: (title: string) => boolean = () => true,
): AsyncGenerator<CaseResult, void> {
  const all = Object.entries(suite.groups).flatMap(([group, cases]) => cases.map((one) => ({ group, one })));
  await using first = await make();
  const lacking = suite.lacking(first);
  for (const { group, one } of all) {
    const { name } = one;
    if (!wanted(`${group}: ${name}`)) continue;
    if (!applies(one, lacking)) {
      const lack = lackOf(one, lacking);
      const reason = lack === undefined ? `it has ${one.without}` : `it has no ${lack}`;
      yield { group, name, state: "not-applicable", reason, seconds: 0 };
      continue;
    }
    const begin = systemClock.monotonic();
    const reason = await failureOf(suite.timeoutMs, async () => {
      if (suite.shared) return one.run(first);
      await using own = await make();
      await one.run(own);
    });
    const seconds = Math.round(systemClock.monotonic() - begin) / 1000;
    yield { group, name, seconds, ...(reason === undefined ? { state: "passed" } : { state: "failed", reason }) };
  }
}

async function failureOf(timeoutMs: number, run: () => Promise<void>): Promise<string | undefined> {
  const over = new AbortController();
  const late = systemClock.sleep(timeoutMs, over.signal).then(() => `it took more than ${timeoutMs / 1000} s`);
  const tried = run().then(
    () => undefined,
    (error: unknown) => asFault(error).message,
  );
  try {
    return await Promise.race([tried, late]);
  } finally {
    over.abort();
    await late.catch(() => undefined);
  }
}
