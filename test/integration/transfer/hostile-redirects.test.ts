/** Redirects and DNS answers in the hands of an attacker: no request ever reaches a place that the policy does not name. */
import fc from "fast-check";
import { expect, test } from "vitest";
import { Fault } from "../../../src/common/fault.ts";
import { drop, HttpClient } from "../../../src/transfer/http/client.ts";
import { compilePolicy } from "../../../src/transfer/policy.ts";
import { fuzz, fuzzing } from "../../helpers/fuzz.ts";
import { serve } from "./servers.ts";
import { testContext } from "./setup.ts";

const pieces = fc.constantFrom(
  ..."/ // \\ . .. ; @ : # ? % %2e %2E%2e %2f %5c %00 %25 %0d%0a a open open/ secret http:// HTTP:// https:// file:///etc/passwd javascript: \t me:pw@".split(
    " ",
  ),
  " ",
  "{allowed}",
  "{other}",
  "127.0.0.1",
  "127.1",
  "0x7f.1",
  "2130706433",
  "017700000001",
  "localhost",
  "[::1]",
  "[::ffff:127.0.0.1]",
  "①②⑦.⓪.⓪.①",
  "127。0。0。1",
  "xn--",
  "{port}",
);

test("G1: whatever a server redirects to, only what lies below an allowed prefix is asked for", fuzzing, async () => {
  let location = "";
  let hops = 0;
  await using other = await serve((_incoming, response) => response.end("secret"));
  await using server = await serve((_incoming, response) => {
    if (hops++ > 2) response.end("data");
    else response.writeHead(302, { location: Buffer.from(location).toString("latin1") }).end();
  });
  const policy = compilePolicy({ sources: [`${server.url}open/`], destinations: [] });
  await using client = new HttpClient({ policy });
  let followed = 0;
  await fc.assert(
    fc.asyncProperty(fc.array(pieces, { minLength: 1, maxLength: 8 }), async (parts) => {
      location = parts
        .join("")
        .replaceAll("{allowed}", `127.0.0.1:${server.port}`)
        .replaceAll("{other}", `127.0.0.1:${other.port}`)
        .replaceAll("{port}", String(server.port));
      hops = 0;
      try {
        const { status, body } = await client.call(
          `${server.url}open/start`,
          "sources",
          { method: "GET" },
          testContext(),
        );
        await drop(body);
        if (status === 200) followed++;
      } catch (error) {
        expect(error).toBeInstanceOf(Fault);
        expect(["POLICY", "TRANSFER", "TRANSFER_REFUSED"]).toContain((error as Fault).code);
      }
      expect(other.seen).toEqual([]);
    }),
    fuzz(400),
  );
  for (const { path } of server.seen) {
    expect(path).toMatch(/^\/open(?:[/?]|$)/);
    expect(decodeURIComponent(path.split("?")[0] ?? "").split(/[/\\]/)).not.toContain("..");
  }
  expect(followed).toBeGreaterThan(0);
});

test(
  "G1: a name whose address changes from answer to answer never leads to an address that is not named",
  fuzzing,
  async () => {
    await using server = await serve((_incoming, response) =>
      response.writeHead(200, { connection: "close" }).end("x"),
    );
    const addresses = ["127.0.0.1", "127.0.0.2", "169.254.169.254", "10.0.0.1", "::1", "::ffff:127.0.0.2", "0.0.0.0"];
    const url = `http://data.example.org:${server.port}/`;
    const policy = compilePolicy({ sources: [url], destinations: [], allow_private: ["127.0.0.1"] });
    let answers: (readonly string[])[] = [];
    const resolve = async () =>
      (answers.shift() ?? []).map((address) => ({ address, family: address.includes(":") ? 6 : 4 }));
    await using client = new HttpClient({ policy, resolve, connectTimeoutMs: 2_000 });
    const answer = fc.array(fc.constantFrom("127.0.0.1", ...addresses), { minLength: 1, maxLength: 2 });
    let reached = 0;
    await fc.assert(
      fc.asyncProperty(fc.array(answer, { minLength: 1, maxLength: 3 }), async (script) => {
        answers = [...script];
        const before = server.seen.length;
        const good = script[0]?.every((address) => address === "127.0.0.1") === true;
        const outcome = await client.call(`${url}x`, "sources", { method: "GET" }, testContext()).then(
          async ({ body }) => (await drop(body), "reached"),
          (error: unknown) => (error as Fault).code,
        );
        expect(outcome).toBe(good ? "reached" : "POLICY");
        expect(server.seen.length - before).toBe(good ? 1 : 0);
        if (good) reached++;
      }),
      fuzz(150),
    );
    expect(reached).toBeGreaterThan(0);
  },
);
