import { describe, expect, it } from "vitest";
import { Fault } from "../../../src/common/fault.ts";
import { backoffMs, reportBackoff, syncBackoff, waitAfterMs } from "../../../src/common/retry.ts";
import { seeded } from "../../helpers/random.ts";

const agents = 1_000;
const unavailable = new Fault("UNREACHABLE", "the API answers with status '503'");

/**
 * The calls of many agents: each asks every `intervalMs` ± 15 %, central answers 503 from 0 to `outageMs`. Times of the calls after the
 * return, milliseconds since it.
 */
function callsAfter(outageMs: number, intervalMs: number, asked: number | undefined): number[] {
  const random = seeded(outageMs);
  const fault =
    asked === undefined
      ? () => unavailable
      : () => new Fault("UNREACHABLE", "503", { details: { retry_after_ms: asked * (1 + 0.2 * random()) } });
  const calls: number[] = [];
  for (let agent = 0; agent < agents; agent++) {
    let at = random() * intervalMs;
    for (let failures = 1; at < outageMs; failures++) at += waitAfterMs(fault(), syncBackoff, failures, random);
    for (; at < outageMs + 3 * intervalMs; at += intervalMs * (0.85 + 0.3 * random())) calls.push(at - outageMs);
  }
  return calls;
}

describe("503 for all agents, then the return", () => {
  it.each([
    [10_000, 15_000, undefined],
    [60_000, 15_000, undefined],
    [3_600_000, 15_000, undefined],
    [86_400_000, 15_000, undefined],
    [3_600_000, 50_000, undefined],
    [3_600_000, 15_000, 30_000],
  ])(
    "A7: after %i ms the first interval of %i ms brings at most twice the normal rate (Retry-After %s)",
    (outageMs, intervalMs, asked) => {
      const calls = callsAfter(outageMs, intervalMs, asked);
      const first = calls.filter((at) => at < intervalMs).length;
      expect(first).toBeLessThanOrEqual(2 * agents);
      expect(first).toBeGreaterThan(0.1 * agents);
      // Nor do they come as one: no tenth of the interval brings more than half of them.
      for (let part = 0; part < 10; part++) {
        const within = calls.filter((at) => at >= (part * intervalMs) / 10 && at < ((part + 1) * intervalMs) / 10);
        expect(within.length).toBeLessThan(0.5 * agents);
      }
    },
  );
});

describe("the wait after a failure", () => {
  it("BAL-14: is drawn from the whole range, grows with each failure, and has a limit", () => {
    for (const policy of [syncBackoff, reportBackoff]) {
      for (let failures = 1; failures <= 2_000; failures += 7) {
        const ceiling = Math.min(policy.capMs, policy.baseMs * 2 ** (failures - 1));
        expect(backoffMs(policy, failures, () => 0)).toBe(100);
        expect(backoffMs(policy, failures, () => 0.5)).toBe(Math.round(ceiling / 2));
        expect(backoffMs(policy, failures, () => 0.999_999)).toBeLessThanOrEqual(policy.capMs);
      }
    }
  });

  it("BAL-14: is what the server asked for, and at least a second after a refusal that names none", () => {
    const asked = new Fault("RATE_LIMITED", "slow", { details: { retry_after_ms: 120_000 } });
    expect(waitAfterMs(asked, syncBackoff, 1, () => 0)).toBe(120_000);
    const refused = new Fault("RATE_LIMITED", "slow");
    expect(waitAfterMs(refused, syncBackoff, 1, () => 0)).toBe(1_000);
    expect(waitAfterMs(refused, syncBackoff, 6, () => 0.5)).toBe(16_000);
    expect(waitAfterMs(unavailable, syncBackoff, 1, () => 0)).toBe(100);
  });
});
