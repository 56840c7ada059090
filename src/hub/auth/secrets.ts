/** Passwords and secrets: hashes that cost an attacker time, hashes of random tokens, random texts. */
import { argon2, createHash, randomBytes, randomInt, scrypt, type ScryptOptions, timingSafeEqual } from "node:crypto";
import { promisify } from "node:util";

/** OWASP's first choice for Argon2id: 19 MiB, two passes, one lane; about 30 ms. */
const argonMemoryKiB = 19_456;
const argonPasses = 2;
const tagBytes = 32;
/** For Node built without Argon2. */
const scryptCost = { N: 32_768, r: 8, p: 1, maxmem: 64 * 1024 * 1024 } as const;

/** At once; each takes 19 MiB and a thread of the pool. */
const hashersAtOnce = 3;
let running = 0;
const waiting: (() => void)[] = [];

/** A hash with its own salt and parameters in the text. */
export async function hashPassword(password: string): Promise<string> {
  const salt = randomBytes(16);
  const kind = typeof argon2 === "function" ? "argon2id" : "scrypt";
  const tag = await derive(kind, password, salt);
  return `${kind}$${salt.toString("base64url")}$${tag.toString("base64url")}`;
}

/** True when `hash` was made of `password`. */
export async function passwordMatches(password: string, hash: string): Promise<boolean> {
  const [kind, salt, tag] = hash.split("$");
  if ((kind !== "argon2id" && kind !== "scrypt") || salt === undefined || tag === undefined) return false;
  const expected = Buffer.from(tag, "base64url");
  const given = await derive(kind, password, Buffer.from(salt, "base64url"));
  return given.length === expected.length && timingSafeEqual(given, expected);
}

let dummy: Promise<string> | undefined;

/** As long as a real comparison takes, for names that do not exist: answers do not tell which names do. */
export async function wasteTime(password: string): Promise<void> {
  dummy ??= hashPassword("-");
  await passwordMatches(password, await dummy);
}

async function derive(kind: "argon2id" | "scrypt", password: string, salt: Buffer): Promise<Buffer> {
  if (running >= hashersAtOnce) await new Promise<void>((resolve) => void waiting.push(resolve));
  running++;
  try {
    return kind === "scrypt" ? await withScrypt(password, salt) : await withArgon(password, salt);
  } finally {
    running--;
    waiting.shift()?.();
  }
}

async function withArgon(password: string, salt: Buffer): Promise<Buffer> {
  const parameters = {
    message: password,
    nonce: salt,
    parallelism: 1,
    tagLength: tagBytes,
    memory: argonMemoryKiB,
    passes: argonPasses,
  };
  return promisify(argon2)("argon2id", parameters);
}

function withScrypt(password: string, salt: Buffer): Promise<Buffer> {
  const { promise, resolve, reject } = Promise.withResolvers<Buffer>();
  scrypt(password, salt, tagBytes, scryptCost as ScryptOptions, (error, tag) => (error ? reject(error) : resolve(tag)));
  return promise;
}

/** SHA-256 in base64url: enough for tokens that are long and random. */
export function tokenHash(token: string): string {
  return createHash("sha256").update(token).digest("base64url");
}

const letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
const digits = "0123456789";
const marks = "!@#$%^*-_+=";

/** A client secret in the contract's form: 12 characters of letters, digits and `!@#$%^*-_+=`, at least three digits. */
export function newClientSecret(): string {
  const all = letters + digits + marks;
  for (;;) {
    const text = Array.from({ length: 12 }, () => all.charAt(randomInt(all.length))).join("");
    if (text.replace(/\D/g, "").length >= 3) return text;
  }
}

/** For passwords that are made, not chosen: 24 characters, 144 bits. */
export function newPassword(): string {
  return randomBytes(18).toString("base64url");
}
