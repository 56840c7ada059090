import { expect, test } from "vitest";
import { type Clock, systemClock } from "../../../src/common/clock.ts";
import { TokenKeys } from "../../../src/hub/auth/keys.ts";
import { openSqliteStore } from "../../../src/hub/store/sqlite.ts";
import type { Store } from "../../../src/hub/store/types.ts";
import { describeWithEngine } from "../../helpers/engines/index.ts";
import { temporaryDirectory } from "../../helpers/temporary.ts";
import { adminToken, ask } from "./client.ts";
import { devHub, postgresHubs } from "./hubs.ts";

const minute = 60_000;

/** Wall time that the test owns. */
class MovedClock implements Clock {
  #ahead = 0;
  now(): number {
    return systemClock.now() + this.#ahead;
  }
  monotonic(): number {
    return systemClock.monotonic() + this.#ahead;
  }
  sleep(ms: number, signal?: AbortSignal): Promise<void> {
    return systemClock.sleep(ms, signal);
  }
  pass(ms: number): void {
    this.#ahead += ms;
  }
}

function keyIdOf(token: string): unknown {
  return (JSON.parse(Buffer.from(token.split(".")[0] ?? "", "base64url").toString()) as { kid: unknown }).kid;
}

async function countKeys(store: Store): Promise<number> {
  return (await store.db.selectFrom("jwt_keys").select("kid").execute()).length;
}

test("a key that is old enough is replaced; what it signed stays good for its life, on every hub", async () => {
  await using directory = await temporaryDirectory();
  await using store = await openSqliteStore(directory.join("hub.db"));
  const clock = new MovedClock();
  const settings = { lifetimeMs: 60 * minute, rotateAfterMs: 30 * minute };
  const [one, two] = [new TokenKeys(store, clock, settings), new TokenKeys(store, clock, settings)];

  const first = await one.sign("user:a");
  expect(await two.verify(first)).toEqual({ ok: true, subject: "user:a" });
  clock.pass(29 * minute);
  const last = await two.sign("user:b");
  expect(keyIdOf(last)).toBe(keyIdOf(first));

  clock.pass(2 * minute);
  const next = await one.sign("client:c");
  expect(keyIdOf(next)).not.toBe(keyIdOf(first));
  for (const keys of [one, two]) {
    expect(await keys.verify(next)).toEqual({ ok: true, subject: "client:c" });
    expect(await keys.verify(last)).toEqual({ ok: true, subject: "user:b" });
  }
  // The other hub takes the new key over, it makes none of its own.
  expect(keyIdOf(await two.sign("user:d"))).toBe(keyIdOf(next));

  clock.pass(30 * minute);
  expect(await two.verify(first)).toEqual({ ok: false, why: "expired" });
  expect((await two.verify(last)).ok).toBe(true);
});

test("keys whose last token has expired are removed, and what they signed is refused", async () => {
  await using directory = await temporaryDirectory();
  await using store = await openSqliteStore(directory.join("hub.db"));
  const clock = new MovedClock();
  const keys = new TokenKeys(store, clock, { lifetimeMs: 60 * minute, rotateAfterMs: 30 * minute });
  const first = await keys.sign("user:a");
  for (let i = 0; i < 10; i++) {
    clock.pass(31 * minute);
    await keys.sign("user:a");
    expect(await countKeys(store)).toBeLessThanOrEqual(4);
  }
  expect(await keys.verify(first)).toEqual({ ok: false, why: "invalid" });
});

test("what was found good once is good no longer than its key, and lends nothing to what resembles it", async () => {
  await using directory = await temporaryDirectory();
  await using store = await openSqliteStore(directory.join("hub.db"));
  const clock = new MovedClock();
  const keys = new TokenKeys(store, clock, { lifetimeMs: 60 * minute, rotateAfterMs: 30 * minute });
  const good = await keys.sign("user:a");
  for (let i = 0; i < 3; i++) expect(await keys.verify(good)).toEqual({ ok: true, subject: "user:a" });
  const [head = "", , signature = ""] = good.split(".");
  const [, claims = ""] = (await keys.sign("user:b")).split(".");
  expect(await keys.verify(`${head}.${claims}.${signature}`)).toEqual({ ok: false, why: "invalid" });
  // Somebody takes the key away.
  await store.db.deleteFrom("jwt_keys").execute();
  clock.pass(minute);
  expect(await keys.verify(good)).toEqual({ ok: false, why: "invalid" });
});

test("a hub signs with a new key after the configured time, and its old tokens end with their life", async () => {
  const clock = new MovedClock();
  await using hub = await devHub({ clock, config: { tokens: { lifetime: "2h", rotate_keys_after: "1h" } } });
  const old = await adminToken(hub);
  clock.pass(61 * minute);
  const fresh = await adminToken(hub);
  expect(keyIdOf(fresh)).not.toBe(keyIdOf(old));
  expect((await ask(hub, "GET", "/users/me", { token: old })).status).toBe(200);
  clock.pass(60 * minute);
  expect((await ask(hub, "GET", "/users/me", { token: old })).status).toBe(401);
  expect((await ask(hub, "GET", "/users/me", { token: fresh })).status).toBe(200);
});

describeWithEngine("postgres", "keys of two hubs on one PostgreSQL", () => {
  test("over many changes each accepts what the other signed", async () => {
    const clock = new MovedClock();
    await using place = await postgresHubs(2, {
      clock,
      config: { tokens: { lifetime: "2h", rotate_keys_after: "1h" } },
    });
    const [one, two] = place.hubs;
    if (!one || !two) throw new Error("no hubs");
    const seen = new Set<unknown>();
    let before: string | undefined;
    for (const [signer, reader] of [
      [one, two],
      [two, one],
      [one, two],
      [two, one],
    ] as const) {
      const token = await adminToken(signer);
      seen.add(keyIdOf(token));
      for (const signed of before === undefined ? [token] : [token, before])
        expect((await ask(reader, "GET", "/users/me", { token: signed })).status).toBe(200);
      before = token;
      clock.pass(61 * minute);
    }
    expect(seen.size).toBe(4);
    expect(await countKeys(one.ctx.store)).toBeLessThanOrEqual(4);
  });

  test("when both change the key at the same moment, the tokens of both are good", async () => {
    const clock = new MovedClock();
    await using place = await postgresHubs(2, { clock });
    const [one, two] = place.hubs;
    if (!one || !two) throw new Error("no hubs");
    await adminToken(one);
    clock.pass(31 * 24 * 60 * minute);
    const tokens = await Promise.all([adminToken(one), adminToken(two)]);
    for (const hub of [one, two])
      for (const token of tokens) expect((await ask(hub, "GET", "/users/me", { token })).status).toBe(200);
  });
});
