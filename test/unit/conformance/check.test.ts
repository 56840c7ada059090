import { describe, expect, it } from "vitest";
import { contains, differs, equal, holds, lacks, like, NotKept, rejects } from "../../../src/conformance/check.ts";
import { Fault } from "../../../src/common/fault.ts";

/** A check that passes, and the same one where it must not. */
const pairs: readonly (readonly [string, () => void, () => void])[] = [
  ["equal", () => equal({ a: [1, { b: "x" }] }, { a: [1, { b: "x" }] }), () => equal({ a: [1] }, { a: [1, 2] })],
  [
    "equal, members without value",
    () => equal({ a: 1, b: undefined }, { a: 1 }),
    () => equal({ a: 1, b: null }, { a: 1 }),
  ],
  [
    "equal, bytes",
    () => equal(Buffer.from("ab"), Buffer.from("ab")),
    () => equal(Buffer.from("ab"), Buffer.from("ac")),
  ],
  ["equal, nothing", () => equal(undefined, undefined), () => equal(undefined, null)],
  ["differs", () => differs("a", "b"), () => differs(["a"], ["a"])],
  ["like, part of an object", () => like({ a: 1, b: 2 }, { a: 1 }), () => like({ b: 2 }, { a: 1 })],
  ["like, deeper", () => like({ a: { b: 1, c: 2 } }, { a: { b: 1 } }), () => like({ a: { b: 2 } }, { a: { b: 1 } })],
  ["like, undefined", () => like({ a: undefined }, { a: undefined }), () => like({ a: 1 }, { a: undefined })],
  ["like, all of a list", () => like([1, 2], [1, 2]), () => like([1, 2, 3], [1, 2])],
  ["like, an expression", () => like({ a: "word 7" }, { a: /\d/ }), () => like({ a: 7 }, { a: /\d/ })],
  [
    "like, a function",
    () => like([1], [(value: unknown) => value === 1]),
    () => like([2], [(value: unknown) => value === 1]),
  ],
  ["like, nothing there", () => like(null, null), () => like(undefined, { a: 1 })],
  ["contains, a text", () => contains("abc", "b"), () => contains("abc", "d")],
  ["contains, a list", () => contains([{ a: 1 }], { a: 1 }), () => contains([{ a: 1 }], { a: 2 })],
  ["lacks", () => lacks("abc", "d"), () => lacks(["a"], "a")],
  ["holds", () => holds(true, "so"), () => holds(false, "so")],
];

describe("checks of the suites", () => {
  it.each(pairs)("%s", (_what, good, bad) => {
    good();
    expect(bad).toThrow(NotKept);
  });

  it("say what was expected and what was found", () => {
    expect(() => equal({ state: "ended" }, { state: "absent" }, "the job")).toThrow(
      "the job: expected { state: 'absent' }, got { state: 'ended' }",
    );
  });

  it("want the right error, not any, and not none", async () => {
    const policy = () => Promise.reject(new Fault("POLICY", "not allowed"));
    await rejects(policy(), { name: "Fault", code: "POLICY", message: /allowed/ });
    await expect(rejects(policy(), { code: "TRANSFER" })).rejects.toThrow(NotKept);
    await expect(rejects(Promise.resolve(7), {})).rejects.toThrow("got 7");
  });
});
