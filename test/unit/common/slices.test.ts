import { setTimeout as later } from "node:timers";
import { expect, it } from "vitest";
import { inSlices, isSteps, mapInSlices, type Steps } from "../../../src/common/slices.ts";

it("lets the main loop go round in a calculation that does not end before it did", async () => {
  let turned = false;
  later(() => (turned = true), 1);
  function* untilTurned(): Steps<string> {
    while (!turned) yield;
    return "done";
  }
  expect(await inSlices(untilTurned())).toBe("done");
});

it("maps in order, and hands on what is thrown", async () => {
  const items = Array.from({ length: 1000 }, (_, index) => index);
  expect(await mapInSlices(items, (item, index) => item + index)).toEqual(items.map((item) => item * 2));
  await expect(
    mapInSlices(items, (item) => {
      if (item === 700) throw new Error("seven hundred");
    }),
  ).rejects.toThrow("seven hundred");
});

it("takes nothing else for a calculation in steps", () => {
  expect([undefined, null, "text", [1], new Map(), { next: 1 }].some((value) => isSteps<unknown>(value))).toBe(false);
});
