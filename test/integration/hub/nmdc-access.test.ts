import { createHmac } from "node:crypto";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { systemClock } from "../../../src/common/clock.ts";
import { tokenHash } from "../../../src/hub/auth/secrets.ts";
import { describeWithEngine } from "../../helpers/engines/index.ts";
import { adminToken, ask, newSite, newUser, type SiteLogin, userToken } from "./client.ts";
import { hubOn, type TestHub } from "./hubs.ts";

const day = 86_400_000;

/** Tokens, accounts, objects, refusals beyond what was recorded (§1, §4, §5 of the contract). */
function access(kind: "sqlite" | "postgres"): void {
  let hub: TestHub;
  let site: SiteLogin;
  let alice: string;
  let skewMs = 0;
  beforeAll(async () => {
    hub = await hubOn(kind, { clock: { ...systemClock, now: () => Date.now() + skewMs } });
    site = await newSite(hub, "lab-a");
    alice = await newUser(hub, "alice", "alice-pass-1");
  });
  afterAll(() => hub[Symbol.asyncDispose]());

  const claim = (token: string) => ask(hub, "POST", "/jobs/nmdc:none:claim", { token });
  const detail = (answer: { status: number; json: { detail: string } }) => [answer.status, answer.json.detail];

  test("bad tokens get the contract's words", async () => {
    const invalid = [401, "Access token is invalid. Please log in again."];
    expect(detail(await claim("garbage"))).toEqual(invalid);
    const [head = "", claims = "", signature = ""] = site.token.split(".");
    const flipped = signature.startsWith("A") ? `B${signature.slice(1)}` : `A${signature.slice(1)}`;
    expect(detail(await claim(`${head}.${claims}.${flipped}`))).toEqual(invalid);
    const none = Buffer.from('{"alg":"none"}').toString("base64url");
    expect(detail(await claim(`${none}.${claims}.`))).toEqual(invalid);
    const forged = `${head}.${claims}`;
    expect(detail(await claim(`${forged}.${createHmac("sha256", "").update(forged).digest("base64url")}`))).toEqual(
      invalid,
    );
    expect(detail(await claim(alice))).toEqual([401, "Access token is invalid. Please log in as a site client."]);
    const basic = await ask(hub, "GET", "/users/me", { headers: { authorization: `Basic ${alice}` } });
    expect(detail(basic)).toEqual([401, "Access token is invalid or missing. Please log in again."]);
    expect(basic.headers["www-authenticate"]).toBe("Bearer");
    expect((await ask(hub, "GET", "/users/me", { headers: { authorization: `bEaReR ${alice}` } })).status).toBe(200);
  });

  test("an expired, a revoked and an orphaned token are told apart", async () => {
    const gone = await newSite(hub, "gone");
    expect((await ask(hub, "GET", "/users/me", { token: gone.token })).status).toBe(200);
    await hub.ctx.store.db.deleteFrom("site_clients").where("id", "=", gone.clientId).execute();
    expect(detail(await claim(gone.token))).toEqual([401, "Access token is invalid. Please log in as a site client."]);
    expect(detail(await ask(hub, "GET", "/users/me", { token: gone.token }))).toEqual([
      401,
      "Could not validate credentials",
    ]);
    const revoked = await newSite(hub, "revoked");
    await hub.ctx.store.db
      .insertInto("revoked_tokens")
      .values({ token_hash: tokenHash(revoked.token), revoked_at: 0 })
      .execute();
    expect(detail(await claim(revoked.token))).toEqual([
      401,
      "Access token has been invalidated. Please log in again.",
    ]);
    skewMs = day + 60_000;
    expect(detail(await claim(site.token))).toEqual([401, "Access token has expired. Please log in again."]);
    skewMs = 0;
    expect((await claim(site.token)).status).toBe(404);
  });

  test("old tokens outlive a change of the signing key", async () => {
    await hub.ctx.keys.rotate();
    const fresh = await userToken(hub, "alice", "alice-pass-1");
    const kid = (token: string) =>
      (JSON.parse(Buffer.from(token.split(".")[0] ?? "", "base64url").toString()) as { kid: string }).kid;
    expect(kid(fresh)).not.toBe(kid(alice));
    for (const token of [alice, fresh]) expect((await ask(hub, "GET", "/users/me", { token })).status).toBe(200);
    expect(JSON.parse(Buffer.from(fresh.split(".")[1] ?? "", "base64url").toString())).toEqual({
      sub: "user:alice",
      exp: expect.any(Number),
    });
  });

  test("no password or secret is stored as it is", async () => {
    const { db } = hub.ctx.store;
    const users = await db.selectFrom("users").select("password_hash").execute();
    const clients = await db.selectFrom("site_clients").select("secret_hash").execute();
    for (const hash of [...users.map((row) => row.password_hash), ...clients.map((row) => row.secret_hash)]) {
      expect(hash).toMatch(/^(argon2id|scrypt)\$[\w-]{22}\$[\w-]{43}$/);
    }
  });

  test("a client's secret is changed by those who may", async () => {
    const admin = await adminToken(hub);
    const path = `/admin/site_clients/${site.clientId}`;
    const patch = (token: string, json: object, at = path) => ask(hub, "PATCH", at, { token, json });
    expect(detail(await patch(alice, { secret: "12345678" }))).toEqual([
      403,
      "You are not allowed to update site clients.",
    ]);
    expect((await patch(admin, { secret: "short" })).json.detail[0]).toMatchObject({
      type: "string_too_short",
      loc: ["body", "secret"],
    });
    expect((await patch(admin, { colour: "blue" })).json.detail[0]).toMatchObject({
      type: "extra_forbidden",
      loc: ["body", "colour"],
    });
    expect((await patch(admin, {})).status).toBe(204);
    expect(detail(await patch(admin, { secret: "12345678" }, "/admin/site_clients/none"))).toEqual([
      404,
      "The specified site client does not exist.",
    ]);
    const done = await patch(admin, { secret: "new-secret-1" });
    expect([done.status, done.text]).toEqual([200, `Site client '${site.clientId}' has been updated.`]);
    expect(done.headers["content-type"]).toMatch(/^text\/plain/);
    const form = { grant_type: "client_credentials", client_id: site.clientId, client_secret: "new-secret-1" };
    expect((await ask(hub, "POST", "/token", { form })).status).toBe(200);
  });

  test("the password grant says what is missing and what is wrong", async () => {
    const token = (form: Record<string, string>) => ask(hub, "POST", "/token", { form });
    expect(detail(await token({ grant_type: "password", username: "alice" }))).toEqual([
      400,
      "grant_type password requires username and password",
    ]);
    expect(detail(await token({ grant_type: "password", username: "alice", password: "no" }))).toEqual([
      401,
      "Incorrect username or password",
    ]);
    expect(detail(await token({ grant_type: "password", username: "nobody", password: "no" }))).toEqual([
      401,
      "Incorrect username or password",
    ]);
  });

  test("objects are changed by their site only, and the change stays", async () => {
    const object = {
      checksums: [{ type: "md5", checksum: "c1" }],
      created_time: "2026-03-01T10:00:00Z",
      size: 1,
      access_methods: [{ access_id: "x:1" }],
    };
    const id = (await ask(hub, "POST", "/objects", { token: site.token, json: object })).json.id as string;
    const other = await newSite(hub, "lab-o");
    const path = `/objects/${id}`;
    expect(detail(await ask(hub, "PATCH", path, { token: other.token, json: object }))).toEqual([
      403,
      "client authorized for different site_id than lab-a",
    ]);
    expect((await ask(hub, "PATCH", path, { token: site.token, json: { size: 2 } })).status).toBe(422);
    const patched = await ask(hub, "PATCH", path, { token: site.token, json: { ...object, description: "new" } });
    expect(patched.json).toMatchObject({ id, description: "new", name: null, contents: null });
    expect((await ask(hub, "GET", path)).json).toMatchObject({ id, description: "new" });
    expect((await ask(hub, "PATCH", "/objects/none", { token: site.token, json: object })).status).toBe(404);
  });

  test("types of an object are replaced by anybody, and unknown ones named", async () => {
    const object = {
      checksums: [{ type: "md5", checksum: "c2" }],
      created_time: "2026-03-01T10:00:00Z",
      size: 1,
      access_methods: [],
    };
    const id = (await ask(hub, "POST", "/objects", { token: site.token, json: object })).json.id as string;
    const put = (json: unknown, of = id) => ask(hub, "PUT", `/objects/${of}/types`, { json });
    expect(detail(await put(["test", "zzz"]))).toEqual([400, "unknown type ids: {'zzz'}."]);
    expect((await put({ types: [] })).json.detail[0]).toMatchObject({ type: "list_type", loc: ["body"] });
    expect((await put(["test"], "none")).status).toBe(404);
    expect((await put(["test", "study_set"])).json).toMatchObject({ id, types: ["test", "study_set"] });
    expect(
      ((await ask(hub, "GET", `/objects/${id}/types`)).json as { id: string }[]).map((type) => type.id).toSorted(),
    ).toEqual(["study_set", "test"]);
    expect((await ask(hub, "GET", `/objects/${id}`)).json).not.toHaveProperty("types");
    expect((await put([])).json).toMatchObject({ types: [] });
    expect((await ask(hub, "GET", `/objects/${id}/types`)).json).toEqual([]);
  });

  test("results and metadata are refused by name", async () => {
    const admin = await adminToken(hub);
    const path = "/workflows/workflow_executions";
    expect(detail(await ask(hub, "POST", path, { token: site.token, json: { workflow_execution_set: [] } }))).toEqual([
      403,
      "Only specific users can submit workflow executions.",
    ]);
    await ask(hub, "POST", "/admin/allowances", {
      token: admin,
      json: { username: site.clientId, action: "/metadata/json:submit" },
    });
    expect((await ask(hub, "POST", path, { token: site.token, json: { workflow_execution_set: [] } })).json).toEqual({
      message: "Done",
    });
    for (const json of [{}, { workflow_execution_set: [{}] }, { data_object_set: [] }]) {
      const answer = await ask(hub, "POST", path, { token: site.token, json });
      expect([answer.status, typeof answer.json.detail]).toEqual([422, "string"]);
    }
    const gone = await ask(hub, "POST", "/workflows/activities", { token: site.token, json: {} });
    expect([gone.status, typeof gone.json]).toEqual([410, "string"]);
    expect(detail(await ask(hub, "POST", "/metadata/json:submit", { token: alice, json: {} }))).toEqual([
      403,
      "Only specific users are allowed to submit json at this time.",
    ]);
  });
}

describe("access by the contract: sqlite", () => access("sqlite"));
describeWithEngine("postgres", "access by the contract: postgres", () => access("postgres"));
