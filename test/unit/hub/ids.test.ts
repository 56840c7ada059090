import { expect, test } from "vitest";
import { checkDigits, newId, newPid, newPlainId } from "../../../src/hub/ids.ts";

const alphabet = "0123456789abcdefghjkmnpqrstvwxyz";

test("ids have the contract's form, with valid check digits", () => {
  for (let i = 0; i < 200; i++) {
    const match = /^nmdc:sys0([0-9a-hjkmnp-tv-z]{10})(\d\d)$/.exec(newId());
    if (!match) throw new Error("not the form");
    const [, text = "", digits = ""] = match;
    let number = 0n;
    for (const letter of text) number = number * 32n + BigInt(alphabet.indexOf(letter));
    expect((number * 100n + BigInt(digits)) % 97n).toBe(1n);
  }
  expect(newPlainId()).toMatch(/^sys0[0-9a-z]{12}$/);
  expect(newPid("wfmgas")).toMatch(/^nmdc:wfmgas-11-[0-9a-hjkmnp-tv-z]{8}$/);
});

test("check digits of known texts", () => {
  // 16 → 1600 mod 97 = 48 → 98 - 48 = 50
  expect(checkDigits("g")).toBe("50");
  expect(checkDigits("0")).toBe("98");
});

test("ids do not repeat", () => {
  expect(new Set(Array.from({ length: 5_000 }, newId)).size).toBe(5_000);
});
