import { expect, test } from "vitest";
import { z } from "zod";
import { systemClock } from "../../../src/common/clock.ts";
import { Api } from "../../../src/central/api.ts";
import type { TransportAnswer, TransportRequest } from "../../../src/central/http.ts";
import { FaultProxy } from "../../helpers/fault-proxy.ts";
import {
  after,
  type Answer,
  cutAfter,
  drip,
  endless,
  json,
  raw,
  reset,
  ScriptedServer,
  silent,
} from "../../helpers/scripted-server.ts";
import { serveTokens, testContext } from "./context.ts";

const thing = z.object({ id: z.string() });
const get: TransportRequest<{ id: string }> = {
  method: "GET",
  path: "/thing",
  lane: "control",
  schema: thing,
  repeatable: true,
};

function apiOf(url: string, more: Partial<ConstructorParameters<typeof Api>[0]> = {}): Api {
  return new Api({
    url,
    clientId: "sys0a41r6w75",
    clientSecret: async () => "Qm7#x2&Lk90=ab",
    random: () => 0,
    timeoutMs: 5_000,
    ...more,
  });
}

async function ask(answer: Answer, request: TransportRequest<{ id: string }> = get): Promise<TransportAnswer<unknown>> {
  await using server = await ScriptedServer.start();
  server.on("GET /thing", answer);
  await using api = apiOf(server.url, { maxAnswerBytes: 100_000 });
  return await api.open(request, testContext());
}

test("gives a whole JSON answer of the schema, with the server's clock", async () => {
  const answer = await ask(json(200, { id: "a", more: { unknown: 1 } }));
  expect(answer).toMatchObject({ status: 200, value: { id: "a" } });
  expect(Math.abs((answer.serverTimeMs ?? 0) - Date.now())).toBeLessThan(60_000);
});

test.each<[string, string, Answer]>([
  ["a captive portal's page", "no-json", raw(200, "text/html", "<html>log in</html>")],
  ["JSON under the wrong type", "no-json", raw(200, "text/plain", '{"id":"a"}')],
  ["JSON without a type", "no-json", raw(200, "", '{"id":"a"}')],
  ["HTML under the right type", "no-json", raw(200, "application/json", "<html></html>")],
  ["an empty body", "no-json", raw(200, "application/json", "")],
  ["an empty 204", "no-json", raw(204, "", "")],
  ["half a JSON", "no-json", raw(200, "application/json", '{"id":"a"')],
  ["a compressed body nobody asked for", "no-json", raw(200, "application/json", "x", { "content-encoding": "gzip" })],
  ["another schema", "schema", json(200, { identifier: "a" })],
  ["a list instead of an object", "schema", json(200, [])],
  ["deep JSON", "no-json", raw(200, "application/json", `{"id":${"[".repeat(90_000)}`)],
  ["a member named twice", "no-json", raw(200, "application/json", '{"id":"a","id":"b"}')],
  ["a __proto__ member", "hostile", raw(200, "application/json", '{"id":"a","x":{"__proto__":{"id":"b"}}}')],
  ["a body above the limit", "too-large", raw(200, "application/json", `{"id":"${"x".repeat(200_000)}"}`)],
  ["a body without end", "too-large", endless],
  ["a body cut off", "reset", cutAfter({ id: "a".repeat(1_000) }, 500)],
  ["a reset before the answer", "reset", reset],
  ["a redirect to another host", "redirect", raw(307, "", "", { location: "http://elsewhere.example/thing" })],
  ["a redirect to another path", "redirect", raw(303, "", "", { location: "/docs" })],
  ["a 404 page of a balancer", "no-json", raw(404, "text/html", "<h1>404</h1>")],
  ["a 404 of an unknown path", "no-such-route", json(404, { detail: "Not Found" })],
  ["a 404 in somebody else's JSON", "no-api-error", json(404, { error: "not found" })],
  ["a 403 page of a firewall", "no-json", raw(403, "text/html", "blocked")],
  ["a 401 page of a proxy", "no-json", raw(401, "text/html", "proxy")],
  ["a 409 that is no API error", "no-api-error", json(409, {})],
  ["a 405 in the API's shape", "status", json(405, { detail: "Method Not Allowed" })],
  ["a 407 of a proxy", "no-json", raw(407, "text/html", "who are you?")],
  ["a 408", "status", json(408, { detail: "late" })],
  ["a 425", "status", json(425, { detail: "early" })],
  ["a 500 in plain text", "status", raw(500, "text/plain", "Internal Server Error")],
  ["a 500 in the API's shape", "status", json(500, { detail: "Transaction failed: x", code: "NOT_FOUND" })],
  ["a 502 page", "status", raw(502, "text/html", "<h1>bad gateway</h1>")],
])("takes %s for no answer at all", async (_name, kind, answer) => {
  await expect(ask(answer)).rejects.toMatchObject({ code: "UNREACHABLE", details: { kind } });
});

test.each([
  [400, { detail: "`page_token` not found" }, "USAGE"],
  [403, { detail: "client authorized for different site_id than lab-a" }, "FORBIDDEN"],
  [404, { detail: "Not found" }, "NOT_FOUND"],
  [409, { detail: "exists" }, "CONFLICT"],
  [409, { detail: "epoch 1 is over", code: "STALE_EPOCH" }, "STALE_EPOCH"],
  [409, { detail: "held", code: "CLAIM_LOST" }, "CLAIM_LOST"],
  [409, { detail: "new words", code: "A_CODE_OF_THE_FUTURE" }, "CONFLICT"],
  [404, { detail: "a code that does not fit", code: "STALE_EPOCH" }, "NOT_FOUND"],
  [410, { detail: "the agent was removed" }, "FORBIDDEN"],
  [413, { detail: "too much" }, "TOO_LARGE"],
  [416, { detail: "log", code: "BAD_OFFSET", details: { offset: 7 } }, "BAD_OFFSET"],
  [422, { detail: [{ type: "missing", loc: ["body"], msg: "Field required" }] }, "INVALID"],
])("BAL-14: takes a %i in the API's own shape at its word, at once", async (status, body, code) => {
  await expect(ask(json(status, body))).rejects.toMatchObject({ code, details: { status } });
});

test("takes problem+json for the API's word too, and keeps hint and details", async () => {
  const body = { detail: "no", code: "STALE_EPOCH", hint: "stop", details: { epoch: 4 } };
  const answer = raw(409, "application/problem+json; charset=utf-8", JSON.stringify(body));
  await expect(ask(answer)).rejects.toMatchObject({ code: "STALE_EPOCH", hint: "stop", details: { epoch: 4 } });
});

test.each([
  ["120", 120_000],
  ["1000000000", 900_000],
  ["-1", undefined],
  ["1e9", undefined],
  ["later", undefined],
])("asked for fewer calls with Retry-After '%s'", async (header, waitMs) => {
  const answer = raw(429, "text/html", "slow down", { "retry-after": header });
  await expect(ask(answer)).rejects.toMatchObject({
    code: "RATE_LIMITED",
    details: { status: 429, ...(waitMs === undefined ? {} : { retry_after_ms: waitMs }) },
  });
});

test("hands on how long a 503 asks to wait", async () => {
  const answer = raw(503, "text/plain", "", { "retry-after": "7" });
  await expect(ask(answer)).rejects.toMatchObject({ code: "UNREACHABLE", details: { retry_after_ms: 7_000 } });
});

test.each<[string, Answer]>([
  ["silence (a half-open connection)", silent],
  ["one byte at a time", drip],
])("gives up on %s when the time of the call is over", async (_name, answer) => {
  const call = ask(answer, { ...get, timeoutMs: 150 });
  await expect(call).rejects.toMatchObject({ code: "UNREACHABLE", details: { kind: "timeout" } });
});

test("gives up at once when told to, also while it waits for an answer", async () => {
  await using server = await ScriptedServer.start();
  const arrived = Promise.withResolvers<void>();
  server.on("GET /thing", () => arrived.resolve());
  await using api = apiOf(server.url);
  const stop = new AbortController();
  const call = api.open(get, testContext({ signal: stop.signal }));
  await arrived.promise;
  stop.abort();
  await expect(call).rejects.toMatchObject({ code: "CANCELLED" });
});

test("says why there is no connection", async () => {
  await using server = await ScriptedServer.start();
  await using proxy = await FaultProxy.start(server.port);
  await using api = apiOf(proxy.url);
  await proxy[Symbol.asyncDispose]();
  await expect(api.open(get, testContext())).rejects.toMatchObject({
    code: "UNREACHABLE",
    details: { kind: "network", reason: "ECONNREFUSED" },
  });
});

test("A13: a dead bulk connection does not keep a control call waiting", async () => {
  await using server = await ScriptedServer.start();
  server.on("GET /thing", json(200, { id: "a" })).on("GET /bulk", silent);
  await using api = apiOf(server.url);
  const stop = new AbortController();
  const stuck = Array.from({ length: 20 }, () =>
    api.open({ ...get, path: "/bulk", lane: "bulk" }, testContext({ signal: stop.signal })).catch(() => "given up"),
  );
  expect(await api.open(get, testContext())).toMatchObject({ value: { id: "a" } });
  stop.abort();
  expect(await Promise.all(stuck)).toStrictEqual(Array.from({ length: 20 }, () => "given up"));
});

test("tries once more on a new connection when a reused one is reset, but not what must not be repeated", async () => {
  await using server = await ScriptedServer.start();
  server.on("GET /thing", json(200, { id: "a" }));
  await using api = apiOf(server.url);
  await warm(api, server);
  const before = server.requests.length;
  server.next("GET /thing", reset);
  expect(await api.open(get, testContext())).toMatchObject({ value: { id: "a" } });
  const [first, second] = server.requests.slice(before);
  expect(second?.connection).toBeGreaterThan(first?.connection ?? 0);
  expect(second?.headers["x-request-id"]).toBe(first?.headers["x-request-id"]);

  await warm(api, server);
  const again = server.requests.length;
  server.next("GET /thing", reset);
  await expect(api.open({ ...get, repeatable: false }, testContext())).rejects.toMatchObject({ code: "UNREACHABLE" });
  expect(server.requests.length).toBe(again + 1);
});

/** Calls until a connection is used for the second time. */
async function warm(api: Api, server: ScriptedServer): Promise<void> {
  const seen = new Set<number>();
  for (;;) {
    await api.open(get, testContext());
    const connection = server.requests.at(-1)?.connection ?? 0;
    if (seen.has(connection)) return;
    seen.add(connection);
  }
}

test("does not try again when a new connection is reset", async () => {
  await using server = await ScriptedServer.start();
  server.on("GET /thing", json(200, { id: "a" })).next("GET /thing", reset);
  await using api = apiOf(server.url);
  await expect(api.open(get, testContext())).rejects.toMatchObject({ code: "UNREACHABLE", details: { kind: "reset" } });
  expect(server.requests.length).toBe(1);
});

test("asks for one token, form-encoded, for all calls at once, and keeps it", async () => {
  await using server = await ScriptedServer.start();
  serveTokens(server);
  server.on("GET /thing", json(200, { id: "a" }));
  await using api = apiOf(server.url);
  await Promise.all([api.call(get, testContext()), api.call(get, testContext()), api.call(get, testContext())]);
  await api.call(get, testContext());
  const tokens = server.received("POST /token");
  expect(tokens.length).toBe(1);
  expect(tokens[0]?.headers["content-type"]).toBe("application/x-www-form-urlencoded");
  expect(Object.fromEntries(new URLSearchParams(tokens[0]?.body))).toStrictEqual({
    grant_type: "client_credentials",
    client_id: "sys0a41r6w75",
    client_secret: "Qm7#x2&Lk90=ab",
  });
  for (const request of server.received("GET /thing")) expect(request.headers.authorization).toBe("Bearer t1");
});

test("renews the token shortly before its end", async () => {
  await using server = await ScriptedServer.start();
  serveTokens(server, { days: 0, hours: 1, minutes: 0, seconds: 30 });
  server.on("GET /thing", json(200, { id: "a" }));
  await using api = apiOf(server.url);
  let nowMs = 0;
  const context = testContext({ clock: { ...systemClock, monotonic: () => nowMs } });
  for (nowMs of [0, 3_569_000, 3_571_000]) await api.call(get, context);
  expect(server.received("GET /thing").map(({ headers }) => headers.authorization)).toStrictEqual([
    "Bearer t1",
    "Bearer t1",
    "Bearer t2",
  ]);
});

test("after a 401 asks for a new token once and repeats the call", async () => {
  await using server = await ScriptedServer.start();
  serveTokens(server);
  const refusal = json(401, { detail: "Access token has expired. Please log in again." });
  server.on("GET /thing", json(200, { id: "a" })).next("GET /thing", refusal);
  await using api = apiOf(server.url);
  expect(await api.call(get, testContext())).toMatchObject({ value: { id: "a" } });
  expect(server.received("GET /thing").at(-1)?.headers.authorization).toBe("Bearer t2");

  server.on("GET /thing", refusal);
  const before = server.requests.length;
  await expect(api.call(get, testContext())).rejects.toMatchObject({ code: "UNAUTHENTICATED" });
  expect(server.requests.slice(before).map(({ path }) => path)).toStrictEqual(["/thing", "/token", "/thing"]);
});

test("says that the credentials are refused, and reads the secret again the next time", async () => {
  await using server = await ScriptedServer.start();
  serveTokens(server);
  server
    .on("GET /thing", json(200, { id: "a" }))
    .next("POST /token", json(401, { detail: "Incorrect client_id or client_secret" }));
  const secrets = ["old", "new"];
  await using api = apiOf(server.url, { clientSecret: async () => secrets.shift() ?? "" });
  await expect(api.call(get, testContext())).rejects.toMatchObject({
    code: "UNAUTHENTICATED",
    hint: expect.stringContaining("client_secret"),
  });
  expect(await api.call(get, testContext())).toMatchObject({ value: { id: "a" } });
  expect(new URLSearchParams(server.received("POST /token")[1]?.body).get("client_secret")).toBe("new");
});

test.each<[string, Answer]>([
  ["HTML", raw(200, "text/html", "<html>")],
  ["a plain 500", raw(500, "text/plain", "Internal Server Error")],
  ["a token that fits no header", json(200, { access_token: "a\r\nb", token_type: "bearer" })],
  ["another type of token", json(200, { access_token: "abc", token_type: "mac" })],
])("a login answered with %s says nothing about the credentials", async (_name, answer) => {
  await using server = await ScriptedServer.start();
  server.on("POST /token", answer);
  await using api = apiOf(server.url);
  await expect(api.call(get, testContext())).rejects.toMatchObject({ code: "UNREACHABLE" });
});

test("one caller that gives up does not take the token from the others", async () => {
  await using server = await ScriptedServer.start();
  const gate = Promise.withResolvers<void>();
  const arrived = Promise.withResolvers<void>();
  const token = json(200, { access_token: "t", token_type: "bearer", expires: { minutes: 5 } });
  server.on("GET /thing", json(200, { id: "a" })).on("POST /token", (request, response) => {
    arrived.resolve();
    return after(gate.promise, token)(request, response);
  });
  await using api = apiOf(server.url);
  const stop = new AbortController();
  const first = api.call(get, testContext({ signal: stop.signal }));
  const second = api.call(get, testContext());
  await arrived.promise;
  stop.abort();
  await expect(first).rejects.toMatchObject({ code: "CANCELLED" });
  gate.resolve();
  expect(await second).toMatchObject({ value: { id: "a" } });
});

test.each([
  [{ kind: "lose-answers" }, "reset"],
  [{ kind: "cut", afterBytes: 30 }, "reset"],
  [{ kind: "refuse" }, "reset"],
  [{ kind: "black-hole" }, "timeout"],
] as const)("a line with the fault %j costs only that call", async (fault, kind) => {
  await using server = await ScriptedServer.start();
  server.on("GET /thing", json(200, { id: "a".repeat(500) }));
  await using proxy = await FaultProxy.start(server.port);
  await using api = apiOf(proxy.url);
  proxy.fault = fault;
  await expect(api.open({ ...get, timeoutMs: 300 }, testContext())).rejects.toMatchObject({
    code: "UNREACHABLE",
    details: { kind },
  });
  proxy.fault = { kind: "delay", ms: 20 };
  proxy.resetAll();
  expect(await api.open(get, testContext())).toMatchObject({ status: 200 });
});
