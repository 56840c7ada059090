import { expect, it } from "vitest";
import { Follower } from "../../../src/agent/follower.ts";
import { silentLogger } from "../../../src/common/logger.ts";
import type { Token } from "../../../src/common/token.ts";
import type { AttemptStatus, Launcher } from "../../../src/launchers/types.ts";
import { VirtualClock } from "../../helpers/clocks.ts";
import { liveAttempt } from "./builders.ts";

const isEnded = (status: AttemptStatus): status is Extract<AttemptStatus, { state: "ended" }> =>
  status.state === "ended";

it("looks at once at what the launcher hints at and at nothing else, and at all when the time has come", async () => {
  const clock = new VirtualClock();
  const stop = new AbortController();
  const refs = Array.from({ length: 3 }, () => liveAttempt());
  const [first, second] = refs;
  if (!first || !second) throw new Error("no attempts");
  const over = new Set<Token>();
  const asked: (readonly Token[])[] = [];
  let hint: (token: Token) => void = () => {};
  const launcher = {
    watch(onChange: (token: Token) => void) {
      hint = onChange;
      return { [Symbol.dispose]: () => {} };
    },
    statuses: async (some: readonly { readonly token: Token }[]) => {
      asked.push(some.map(({ token }) => token));
      return some.map(({ token }): AttemptStatus => {
        if (!over.has(token)) return { state: "running", since: "" };
        const end = { cause: "exit", exit_code: 0, evidence: "rc", ended_at: "" } as const;
        return { state: "ended", end, remaining: [], tier: "group" };
      });
    },
  } as unknown as Launcher;
  const follower = new Follower(launcher, { clock, log: silentLogger, signal: stop.signal });
  const ends = refs.map((ref) => follower.wait(ref, isEnded, stop.signal));
  await clock.advance(0);
  expect(new Set(asked.flat())).toEqual(new Set(refs.map(({ token }) => token)));

  asked.length = 0;
  over.add(first.token);
  hint(first.token);
  await clock.advance(0);
  expect(asked).toEqual([[first.token]]);
  expect(await ends[0]).toMatchObject({ state: "ended" });

  // Nobody hints at this one.
  asked.length = 0;
  over.add(second.token);
  await clock.advance(250);
  expect(asked[0]).toEqual(refs.slice(1).map(({ token }) => token));
  expect(await ends[1]).toMatchObject({ state: "ended" });

  stop.abort();
  await follower.closed();
  expect(await ends[2]).toBeUndefined();
});
