import { describe, expect, it } from "vitest";
import { Fault } from "../../../src/common/fault.ts";
import { Crowd, fewFiles } from "../../../src/transfer/crowd.ts";
import { nextTurn } from "../../helpers/clocks.ts";

const never = new AbortController().signal;

describe("F16: jobs of many files at the same time", () => {
  it("F16: wait for their turn in order when they are too many together; small ones never do", async () => {
    const crowd = new Crowd(20_000);
    const first = crowd.tryEnter(15_000);
    expect(crowd.tryEnter(6_000)).toBeUndefined();
    const entered: string[] = [];
    const second = crowd.enter(10_000, never).then((place) => (entered.push("second"), place));
    const third = crowd.enter(5_000, never).then((place) => (entered.push("third"), place));
    await nextTurn();
    // There would be room for the third: but then the second might wait for ever.
    expect([entered, crowd.tryEnter(fewFiles - 1) === undefined]).toEqual([[], false]);
    first?.[Symbol.dispose]();
    first?.[Symbol.dispose](); // counts once
    const places = await Promise.all([second, third]);
    expect(entered).toEqual(["second", "third"]);
    expect(crowd.tryEnter(6_000)).toBeUndefined();
    for (const place of places) place[Symbol.dispose]();
    expect(crowd.tryEnter(20_000)).toBeDefined();
  });

  it("F16: one that has more than all may have moves alone", () => {
    const crowd = new Crowd(10_000);
    using alone = crowd.tryEnter(50_000);
    expect(alone).toBeDefined();
    expect(crowd.tryEnter(5_000)).toBeUndefined();
  });

  it("who is stopped while he waits lets the next one pass", async () => {
    const crowd = new Crowd(20_000);
    using _first = crowd.tryEnter(10_000);
    const stopped = new AbortController();
    const second = crowd.enter(15_000, stopped.signal);
    const third = crowd.enter(10_000, never);
    stopped.abort(new Fault("CANCELLED", "enough"));
    await expect(second).rejects.toMatchObject({ code: "CANCELLED" });
    (await third)[Symbol.dispose]();
    await expect(crowd.enter(15_000, stopped.signal)).rejects.toMatchObject({ code: "CANCELLED" });
  });
});
