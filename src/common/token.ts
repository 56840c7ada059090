import { randomBytes } from "./crypto.ts";

/**
 * The key of a job's directory or of one attempt, stored by the outside world (scheduler job name, unit, directory).
 * 15 characters `[a-z][a-z0-9]{14}`: fits the 15 characters that PBS allows for a job name. About 77 bits of chance.
 */
export type Token = string & { readonly __token: unique symbol };

const pattern = /^[a-z][a-z0-9]{14}$/;
const letters = "abcdefghijklmnopqrstuvwxyz";
const alphabet = `${letters}0123456789`;

export function newToken(): Token {
  const bytes = randomBytes(30);
  let text = letters.charAt(bytes.readUInt16BE(0) % letters.length);
  for (let i = 1; i < 15; i++) text += alphabet.charAt(bytes.readUInt16BE(i * 2) % alphabet.length);
  return text as Token;
}

export function isToken(text: string): text is Token {
  return pattern.test(text);
}
