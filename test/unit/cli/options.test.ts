import { describe, expect, test } from "vitest";
import { keyValue, Options } from "../../../src/cli/options.ts";
import { isFault } from "../../../src/common/fault.ts";

const now = Date.parse("2026-11-20T12:00:00Z");

function usage(call: () => unknown): string {
  try {
    call();
  } catch (error) {
    if (isFault(error, "USAGE")) return error.message;
    throw error;
  }
  throw new Error("no fault was thrown");
}

describe("options", () => {
  const options = new Options({
    idempotencyKey: "k",
    tag: ["a", "b"],
    wait: true,
    header: false,
    limit: "12",
    since: "6h",
  });

  test("are read by their long name", () => {
    expect(options.text("idempotency-key")).toBe("k");
    expect(options.list("tag")).toEqual(["a", "b"]);
    expect([options.flag("wait"), options.flag("yes")]).toEqual([true, false]);
    expect([options.notRefused("header"), options.notRefused("doctor")]).toEqual([false, true]);
  });

  test("are whole numbers within limits, or name themselves", () => {
    expect(options.integer("limit", 1, 100)).toBe(12);
    expect(usage(() => options.integer("limit", 1, 10))).toBe("--limit '12' is not a whole number from 1 to 10");
    expect(usage(() => new Options({ limit: "1.5" }).integer("limit", 1, 10))).toContain("'1.5'");
  });

  test.each([
    ["6h", "2026-11-20T06:00:00.000Z"],
    ["2026-11-01T08:00Z", "2026-11-01T08:00:00.000Z"],
    ["2026-11-01", "2026-11-01T00:00:00.000Z"],
  ])("a moment %s is %s", (text, expected) => {
    expect(new Options({ since: text }).moment("since", now)).toBe(expected);
  });

  test("a moment can lie ahead, and must be one", () => {
    expect(new Options({ until: "2h" }).moment("until", now, true)).toBe("2026-11-20T14:00:00.000Z");
    expect(usage(() => new Options({ since: "yesterday" }).moment("since", now))).toContain("'yesterday'");
    expect(usage(() => new Options({ timeout: "soon" }).durationMs("timeout"))).toContain("'soon'");
  });

  test("key=value splits at the first equal sign", () => {
    expect(keyValue("param", "a=b=c")).toEqual(["a", "b=c"]);
    expect(usage(() => keyValue("param", "=x"))).toContain("'=x'");
  });
});
