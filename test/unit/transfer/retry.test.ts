import { describe, expect, test } from "vitest";
import { systemClock } from "../../../src/common/clock.ts";
import type { CallContext } from "../../../src/common/context.ts";
import { Fault, isFault } from "../../../src/common/fault.ts";
import { silentLogger } from "../../../src/common/logger.ts";
import { defaultRetry, withRetries } from "../../../src/transfer/retry.ts";

interface Tried {
  readonly tries: number;
  readonly waits: readonly number[];
  readonly end: unknown;
}

/** Runs an attempt that fails with `faults` one after the other and then succeeds. */
async function tryWith(faults: readonly unknown[], signal: AbortSignal = new AbortController().signal): Promise<Tried> {
  const waits: number[] = [];
  const clock = {
    ...systemClock,
    sleep: async (ms: number) => {
      waits.push(ms);
    },
  };
  const context: CallContext = { signal, log: silentLogger, clock };
  let tries = 0;
  const attempt = async (): Promise<string> => {
    const fault = faults[tries++];
    if (fault !== undefined) throw fault;
    return "moved";
  };
  const options = { ...defaultRetry, random: () => 0.5 };
  const end = await withRetries("input 'x'", context, options, attempt).catch((error: unknown) => error);
  return { tries, waits, end };
}

const broken = new Fault("TRANSFER", "the line broke");

describe("tries", () => {
  test("again with growing waits, then succeeds", async () => {
    expect(await tryWith([broken, broken, broken])).toEqual({ tries: 4, waits: [250, 500, 1000], end: "moved" });
  });

  test("ends after five with the last fault as cause", async () => {
    const { tries, end } = await tryWith(Array.from({ length: 9 }, () => broken));
    expect(tries).toBe(5);
    expect(end).toMatchObject({ code: "TRANSFER", cause: broken, details: { tries: 5, last: "TRANSFER" } });
    expect(isFault(end) && end.message).toBe("input 'x' could not be moved in 5 tries: the line broke");
  });

  test.each(["TRANSFER_REFUSED", "POLICY", "UNSAFE_PATH", "CANCELLED", "JOURNAL"] as const)(
    "%s ends at once",
    async (code) => {
      const fault = new Fault(code, "no");
      expect(await tryWith([fault])).toMatchObject({ tries: 1, waits: [], end: fault });
    },
  );

  test("a wrong digest is redone once", async () => {
    const wrong = new Fault("DIGEST_MISMATCH", "differs");
    expect(await tryWith([wrong])).toMatchObject({ tries: 2, end: "moved" });
    expect(await tryWith([wrong, broken, wrong])).toMatchObject({ tries: 3, end: wrong });
  });

  test("an adapter's own passing faults count as TRANSFER in the end", async () => {
    const { end } = await tryWith(Array.from({ length: 9 }, () => new Fault("UNREACHABLE", "no answer")));
    expect(end).toMatchObject({ code: "TRANSFER", details: { last: "UNREACHABLE" } });
  });

  test("system errors get a type", async () => {
    const full = Object.assign(new Error("ENOSPC: no space left on device, write"), { code: "ENOSPC" });
    expect(await tryWith([full])).toMatchObject({ tries: 1, end: { code: "TRANSFER", details: { errno: "ENOSPC" } } });
    const denied = Object.assign(new Error("EACCES: permission denied"), { code: "EACCES" });
    expect(await tryWith([denied])).toMatchObject({ tries: 1, end: { code: "TRANSFER_REFUSED" } });
    const stale = Object.assign(new Error("ESTALE"), { code: "ESTALE" });
    expect(await tryWith([stale])).toMatchObject({ tries: 2, end: "moved" });
  });
});

describe("waits", () => {
  test("as long as the server asks, and a tenth more", async () => {
    const busy = new Fault("TRANSFER", "busy", { details: { retry_after_ms: 20_000 } });
    expect((await tryWith([busy])).waits).toEqual([22_000]);
  });

  test("not at all when the server asks for longer than a slot may be held", async () => {
    const busy = new Fault("TRANSFER", "busy", { details: { retry_after_ms: 900_000 } });
    const { tries, waits, end } = await tryWith([busy]);
    expect({ tries, waits }).toEqual({ tries: 1, waits: [] });
    expect(end).toMatchObject({ code: "TRANSFER", details: { retry_after_ms: 900_000 } });
    expect(isFault(end) && end.message).toContain("the server asks for 15m");
  });

  test("an abort wins over everything", async () => {
    expect(await tryWith([broken], AbortSignal.abort())).toMatchObject({ tries: 0, end: { code: "CANCELLED" } });
    const reason = new Fault("TIMEOUT", "too late");
    expect(await tryWith([broken], AbortSignal.abort(reason))).toMatchObject({ tries: 0, end: reason });
  });
});
