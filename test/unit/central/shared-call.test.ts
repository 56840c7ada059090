import { expect, test } from "vitest";
import { SharedCall } from "../../../src/central/shared-call.ts";
import { systemClock } from "../../../src/common/clock.ts";
import type { CallContext } from "../../../src/common/context.ts";
import { Fault } from "../../../src/common/fault.ts";
import { silentLogger } from "../../../src/common/logger.ts";

function contextOf(signal: AbortSignal = new AbortController().signal): CallContext {
  return { clock: systemClock, log: silentLogger, signal };
}

/** Ends with what `end` says, or as cancelled when its context is aborted. */
function slowCall(end: Promise<string>, asked: CallContext[]): (context: CallContext) => Promise<string> {
  return async (context) => {
    asked.push(context);
    const { promise: aborted, reject } = Promise.withResolvers<never>();
    context.signal.addEventListener("abort", () => reject(new Fault("CANCELLED", "told to stop")));
    return await Promise.race([end, aborted]);
  };
}

test("all who ask at the same time get the answer of one call; who asks later causes another", async () => {
  const shared = new SharedCall<string>();
  const asked: CallContext[] = [];
  const { promise, resolve } = Promise.withResolvers<string>();
  const answers = Array.from({ length: 5 }, () => shared.value(contextOf(), slowCall(promise, asked)));
  resolve("a");
  expect(await Promise.all(answers)).toEqual(["a", "a", "a", "a", "a"]);
  expect(asked).toHaveLength(1);
  await shared.value(contextOf(), slowCall(promise, asked));
  expect(asked).toHaveLength(2);
});

test("a failure reaches all who wait, and is not kept", async () => {
  const shared = new SharedCall<string>();
  const asked: CallContext[] = [];
  const { promise, reject } = Promise.withResolvers<string>();
  const answers = [1, 2].map(() => shared.value(contextOf(), slowCall(promise, asked)));
  reject(new Fault("UNREACHABLE", "no"));
  const results = await Promise.allSettled(answers);
  expect(results.map(({ status }) => status)).toEqual(["rejected", "rejected"]);
  expect(await shared.value(contextOf(), slowCall(Promise.resolve("b"), asked))).toBe("b");
});

test("when askers are told to stop one after the other, the rest still get an answer", async () => {
  const shared = new SharedCall<string>();
  const asked: CallContext[] = [];
  const { promise, resolve } = Promise.withResolvers<string>();
  const stops = [new AbortController(), new AbortController()];
  const stopped = stops.map((stop) => shared.value(contextOf(stop.signal), slowCall(promise, asked)));
  const staying = shared.value(contextOf(), slowCall(promise, asked));
  for (const [index, stop] of stops.entries()) {
    stop.abort();
    await expect(stopped[index]).rejects.toMatchObject({ code: "CANCELLED" });
  }
  resolve("c");
  expect(await staying).toBe("c");
  expect(asked.at(-1)?.signal.aborted).toBe(false);
});
