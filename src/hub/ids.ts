/**
 * Ids as the NMDC Runtime makes them: `sys0`, base32 text (Crockford, lower case: no i, l, o, u), two check digits
 * (ISO 7064 MOD 97-10). Ten characters, 50 bits of chance: the length for the largest collections, so ids never grow.
 */
import { randomBytes } from "node:crypto";

const alphabet = "0123456789abcdefghjkmnpqrstvwxyz";
const characters = 10;

/** Asking the system costs more than an id: it is asked for many at a time. */
const drawn = { bytes: Buffer.alloc(0), used: 0 };
const drawBytes = 4_096;

function randomBase32(length: number): string {
  if (drawn.used + length > drawn.bytes.length) Object.assign(drawn, { bytes: randomBytes(drawBytes), used: 0 });
  let text = "";
  for (const byte of drawn.bytes.subarray(drawn.used, drawn.used + length)) text += alphabet.charAt(byte & 31);
  drawn.used += length;
  return text;
}

/** Two check digits of base32 text, such that number × 100 + digits ≡ 1 (mod 97). */
export function checkDigits(base32: string): string {
  let rest = 0;
  for (const letter of base32) rest = (rest * 32 + alphabet.indexOf(letter)) % 97;
  return String(98 - ((rest * 100) % 97)).padStart(2, "0");
}

/** Without prefix, for objects and site clients (HTTP Basic splits at a colon). */
export function newPlainId(): string {
  const text = randomBase32(characters);
  return `sys0${text}${checkDigits(text)}`;
}

/** For jobs, operations, page tokens, orders and the like. */
export function newId(): string {
  return `nmdc:${newPlainId()}`;
}

/** A minted persistent id: `nmdc:wfmgas-11-4t0hzy63`. */
export function newPid(typecode: string): string {
  return `nmdc:${typecode}-11-${randomBase32(8)}`;
}
