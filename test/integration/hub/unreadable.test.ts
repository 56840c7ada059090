import { connect } from "node:net";
import { text } from "node:stream/consumers";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { adminToken, ask } from "./client.ts";
import { devHub, type TestHub } from "./hubs.ts";

let hub: TestHub;

beforeAll(async () => {
  hub = await devHub({ config: { limits: { body: "1KiB" } } });
});
afterAll(() => hub[Symbol.asyncDispose]());

/** Sends bytes as they are; the answer's status line and body. */
async function raw(bytes: string): Promise<{ status: number; body: Record<string, unknown> }> {
  const socket = connect(Number(new URL(hub.url).port), "127.0.0.1");
  socket.write(bytes);
  const answer = await text(socket);
  const [head = "", body = ""] = answer.split("\r\n\r\n", 2);
  return { status: Number(head.split(" ")[1]), body: JSON.parse(body) as Record<string, unknown> };
}

describe("what cannot be read is answered in the shape of all errors", () => {
  test.each([
    ["no HTTP at all", "GARBAGE\r\n\r\n", 400],
    ["a length that is none", "GET / HTTP/1.1\r\nHost: x\r\nContent-Length: abc\r\n\r\n", 400],
    ["a broken chunk", "POST /jobs HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nZZ\r\n", 400],
    ["headers without end", `GET / HTTP/1.1\r\nHost: x\r\nX-Long: ${"x".repeat(20_000)}\r\n\r\n`, 431],
  ])("%s", async (_what, bytes, status) => {
    expect(await raw(bytes)).toMatchObject({ status, body: { detail: expect.any(String), status } });
  });

  test.each([
    ["an escape that is no text", "/jobs/%ff", 400],
    ["an endless name", `/jobs/${"x".repeat(5_000)}`, 414],
  ])("%s", async (_what, path, status) => {
    const answer = await ask(hub, "GET", path);
    expect([answer.status, answer.json]).toEqual([status, expect.objectContaining({ detail: expect.any(String) })]);
  });

  test("a body above the limit names the limit", async () => {
    const json = { config: "x".repeat(2_000) };
    const answer = await ask(hub, "POST", "/jobs", { token: await adminToken(hub), json });
    expect([answer.status, answer.json.detail]).toEqual([413, expect.stringContaining("at most 1024 bytes")]);
  });

  test("and the hub goes on", async () => {
    expect((await ask(hub, "GET", "/health")).status).toBe(200);
  });
});
