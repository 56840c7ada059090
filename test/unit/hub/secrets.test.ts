import { expect, test } from "vitest";
import {
  hashPassword,
  newClientSecret,
  newPassword,
  passwordMatches,
  tokenHash,
} from "../../../src/hub/auth/secrets.ts";

test("a hash fits its password only, and is another each time", async () => {
  const [one, two] = await Promise.all([hashPassword("päss"), hashPassword("päss")]);
  expect(one).not.toBe(two);
  expect(await passwordMatches("päss", one)).toBe(true);
  expect(await passwordMatches("pass", one)).toBe(false);
  expect(await passwordMatches("päss", "")).toBe(false);
  // Not the last letter: of its bits only some belong to the hash.
  const [kind, salt, tag = ""] = one.split("$");
  const other = `${kind}$${salt}$${tag.startsWith("A") ? "B" : "A"}${tag.slice(1)}`;
  expect(await passwordMatches("päss", other)).toBe(false);
});

test("a hash by scrypt is understood", async () => {
  const hash = "scrypt$AAAAAAAAAAAAAAAAAAAAAA$";
  expect(await passwordMatches("x", hash)).toBe(false);
});

test("made secrets have the contract's form", () => {
  for (let i = 0; i < 200; i++) {
    const secret = newClientSecret();
    expect(secret).toMatch(/^[A-Za-z0-9!@#$%^*\-_+=]{12}$/);
    expect(secret.replace(/\D/g, "").length).toBeGreaterThanOrEqual(3);
  }
  expect(newPassword()).toMatch(/^[\w-]{24}$/);
  expect(tokenHash("a")).not.toBe(tokenHash("b"));
});

test("more hashes at once than threads all come out right", async () => {
  const hashes = await Promise.all(Array.from({ length: 8 }, (_, i) => hashPassword(`p${i}`)));
  const matches = await Promise.all(hashes.map((hash, i) => passwordMatches(`p${i}`, hash)));
  expect(matches).toEqual(Array.from({ length: 8 }, () => true));
});
