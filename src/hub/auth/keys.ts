/**
 * Signing keys of access tokens (JWT, HS256). They live in the store, so every hub process accepts what another signed; the newest
 * signs, older ones verify until what they signed has expired.
 */
import { randomBytes } from "node:crypto";
import { errors, jwtVerify, SignJWT } from "jose";
import type { Clock } from "../../common/clock.ts";
import { newPlainId } from "../ids.ts";
import type { Store } from "../store/types.ts";

export interface KeySettings {
  /** How long a token lives. */
  readonly lifetimeMs: number;
  /** Age at which the signing key is replaced. */
  readonly rotateAfterMs: number;
}

export type Verification =
  | { readonly ok: true; readonly subject: string }
  | { readonly ok: false; readonly why: "expired" | "invalid" };

interface Key {
  readonly kid: string;
  readonly secret: Uint8Array;
  readonly createdAt: number;
}

/** A key that another process made or removed is noticed within this time. */
const cacheMs = 30_000;
/** Tokens whose signature was checked and that are remembered. */
const mostVerified = 1_000;

/** What a good signature proved. */
interface Verified {
  readonly kid: string;
  readonly subject: string;
  /** Seconds since 1970. */
  readonly expires: number;
}

export class TokenKeys {
  readonly #store: Store;
  readonly #clock: Clock;
  readonly #settings: KeySettings;
  #keys: readonly Key[] = [];
  #loadedAt = Number.NEGATIVE_INFINITY;
  /** By token: an agent shows the same one with each of its many calls. */
  readonly #verified = new Map<string, Verified>();

  constructor(store: Store, clock: Clock, settings: KeySettings) {
    this.#store = store;
    this.#clock = clock;
    this.#settings = settings;
  }

  get lifetimeMs(): number {
    return this.#settings.lifetimeMs;
  }

  /** A token for this subject (`user:NAME`, `client:ID`). */
  async sign(subject: string): Promise<string> {
    const key = await this.#signingKey();
    const expires = Math.floor((this.#clock.now() + this.#settings.lifetimeMs) / 1000);
    return new SignJWT()
      .setProtectedHeader({ alg: "HS256", typ: "JWT", kid: key.kid })
      .setSubject(subject)
      .setExpirationTime(expires)
      .sign(key.secret);
  }

  /** A token is good as long as its time and the key that signed it; whether it was revoked is the caller's question. */
  async verify(token: string): Promise<Verification> {
    const known = this.#verified.get(token);
    if (known && known.expires > Math.floor(this.#clock.now() / 1000) && (await this.#find(known.kid))) {
      return { ok: true, subject: known.subject };
    }
    this.#verified.delete(token);
    try {
      const { payload, protectedHeader } = await jwtVerify(
        token,
        async ({ kid }) => {
          const key = await this.#find(kid);
          if (!key) throw new errors.JWSInvalid("unknown key");
          return key.secret;
        },
        { algorithms: ["HS256"], currentDate: new Date(this.#clock.now()), requiredClaims: ["exp", "sub"] },
      );
      const { sub: subject = "", exp: expires = 0 } = payload;
      this.#remember(token, { kid: protectedHeader.kid ?? "", subject, expires });
      return { ok: true, subject };
    } catch (error) {
      if (error instanceof errors.JWTExpired) return { ok: false, why: "expired" };
      if (error instanceof errors.JOSEError) return { ok: false, why: "invalid" };
      throw error;
    }
  }

  #remember(token: string, verified: Verified): void {
    const [oldest] = this.#verified.keys();
    if (this.#verified.size >= mostVerified && oldest !== undefined) this.#verified.delete(oldest);
    this.#verified.set(token, verified);
  }

  /** Makes a new signing key now. */
  async rotate(): Promise<void> {
    const now = this.#clock.now();
    const oldest = now - this.#settings.rotateAfterMs - this.#settings.lifetimeMs;
    await this.#store.transaction(async (tx) => {
      const secret = randomBytes(32).toString("base64url");
      await tx.db.insertInto("jwt_keys").values({ kid: newPlainId(), secret, created_at: now }).execute();
      await tx.db.deleteFrom("jwt_keys").where("created_at", "<", oldest).execute();
    });
    await this.#load();
  }

  async #signingKey(): Promise<Key> {
    if (this.#clock.now() - this.#loadedAt > cacheMs) await this.#load();
    const newest = this.#keys.at(0);
    if (newest && this.#clock.now() - newest.createdAt < this.#settings.rotateAfterMs) return newest;
    await this.rotate();
    const made = this.#keys.at(0);
    if (!made) throw new Error("the signing key that was just made is gone");
    return made;
  }

  async #find(kid: string | undefined): Promise<Key | undefined> {
    const fresh = this.#clock.now() - this.#loadedAt <= cacheMs;
    const known = fresh ? this.#keys.find((key) => key.kid === kid) : undefined;
    if (known) return known;
    await this.#load();
    return this.#keys.find((key) => key.kid === kid);
  }

  async #load(): Promise<void> {
    const rows = await this.#store.db
      .selectFrom("jwt_keys")
      .selectAll()
      .orderBy("created_at", "desc")
      .orderBy("kid")
      .execute();
    this.#keys = rows.map((row) => ({
      kid: row.kid,
      secret: Buffer.from(row.secret, "base64url"),
      createdAt: row.created_at,
    }));
    this.#loadedAt = this.#clock.now();
  }
}
