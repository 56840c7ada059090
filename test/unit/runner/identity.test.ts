import { spawn } from "node:child_process";
import { once } from "node:events";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { identityOf, nodeIdentity, parseIdentity, verdictOf } from "../../../src/runner/identity.ts";

const line =
  "1 4711 12345 d48156a6-4ee6-469d-84a6-0e14bdb5b6c3 4026531836 3d1219c7c4c5404aaa1f6d2a48adfda4 1795173422244 perl\n";

describe("identity lines", () => {
  test("are read whole", () => {
    expect(parseIdentity(line)).toEqual({
      pid: 4711,
      startTicks: 12345,
      bootId: "d48156a6-4ee6-469d-84a6-0e14bdb5b6c3",
      pidNamespace: "4026531836",
      machineId: "3d1219c7c4c5404aaa1f6d2a48adfda4",
      atMs: 1795173422244,
      mode: "perl",
    });
  });

  test.each([
    "",
    "\n",
    "2 1 1 b n m 1",
    "1 0 5 b n m 1",
    "1 1 5 b n m 1",
    "1 -7 5 b n m 1",
    "1 7.5 5 b n m 1",
    "1 x 5 b n m 1",
  ])("damaged or dangerous ones are refused: '%s'", (text) => expect(parseIdentity(text)).toBeUndefined());

  test("cut anywhere, they never name another process", () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: line.length }), (length) => {
        const read = parseIdentity(line.slice(0, length));
        expect(read === undefined || (read.pid === 4711 && read.startTicks === 12345)).toBe(true);
      }),
    );
  });
});

describe("verdicts", () => {
  const own = identityOf(process.pid);
  if (!own) throw new Error("no identity of our own");

  test("of ourselves: the same", () => expect(verdictOf(own)).toBe("same"));
  test("same number, other start: different", () => expect(verdictOf({ ...own, startTicks: 1 })).toBe("different"));
  test("other boot: it ended with the machine", () => expect(verdictOf({ ...own, bootId: "other" })).toBe("rebooted"));
  test.each([{ machineId: "other" }, { pidNamespace: "other" }, { machineId: "other", bootId: "other" }])(
    "elsewhere (%o): uncertain",
    (change) => expect(verdictOf({ ...own, ...change })).toBe("uncertain"),
  );

  test("a process that ended: gone, also while nobody has taken its end", async () => {
    const child = spawn("sleep", ["60"]);
    const identity = identityOf(child.pid ?? 0);
    if (!identity) throw new Error("no identity of the child");
    expect(verdictOf(identity)).toBe("same");
    const exit = once(child, "exit");
    child.kill("SIGKILL");
    await exit;
    expect(verdictOf(identity)).toBe("gone");
    expect(identityOf(identity.pid)).toBeUndefined();
  });

  test("this machine is known", () => {
    expect(nodeIdentity()).toMatchObject({
      bootId: expect.stringMatching(/^[0-9a-f-]{36}$/),
      pidNamespace: expect.stringMatching(/^\d+$/),
    });
  });
});
