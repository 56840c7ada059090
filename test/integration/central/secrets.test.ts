/** Servers quote what they were sent: neither the client secret nor a token gets from there into what the agent logs, shows or reports. */
import { expect, test } from "vitest";
import { z } from "zod";
import { Api } from "../../../src/central/api.ts";
import { asFault } from "../../../src/common/fault.ts";
import { Canaries } from "../../helpers/canary.ts";
import { type Answer, json, raw, type Received, ScriptedServer } from "../../helpers/scripted-server.ts";
import { testContext } from "./context.ts";

const token = `tok.${"canarytoken".repeat(4)}`;

/** Answers that repeat the request in one way or another. */
const echoes: Readonly<Record<string, (request: Received) => Answer>> = {
  "a validation list with its input": ({ body, headers }) =>
    json(422, {
      detail: [
        {
          type: "missing",
          loc: ["body", "x"],
          msg: "Field required",
          input: Object.fromEntries(new URLSearchParams(body)),
        },
        { type: "value_error", loc: ["header"], msg: `bad header ${headers.authorization}`, input: headers },
      ],
    }),
  "its words": ({ body, headers }) => json(401, { detail: `cannot accept ${body} of ${headers.authorization}` }),
  "its words, decoded": ({ body }) =>
    json(403, { detail: `no such client: ${JSON.stringify(Object.fromEntries(new URLSearchParams(body)))}` }),
  "base64 in a hint": ({ body }) =>
    json(400, {
      detail: "no",
      hint: Buffer.from(`debug:${new URLSearchParams(body).get("client_secret")}`).toString("base64"),
    }),
  details: ({ body, headers }) => json(409, { detail: "no", details: { sent: { body, headers } } }),
  "a broken success": ({ body, headers }) => raw(200, "application/json", `${body}${headers.authorization}`),
  "a page": ({ body, headers }) => raw(500, "text/html", `<pre>${body}${headers.authorization}</pre>`),
};

test.each(Object.keys(echoes))("a secret that central echoes in %s is in no fault", async (name) => {
  const canaries = new Canaries();
  const secret = canaries.make("the client secret");
  canaries.add("the token", token);
  const echo: Answer = (request, response) => (echoes[name] as (typeof echoes)[string])(request)(request, response);
  await using server = await ScriptedServer.start();
  server.on("POST /token", json(200, { access_token: token, token_type: "bearer" })).on("GET /thing", echo);
  await using api = new Api({ url: server.url, clientId: "me", clientSecret: async () => secret });
  const get = { method: "GET", path: "/thing", lane: "bulk", schema: z.object({}), repeatable: true } as const;
  const refusals = [await api.call(get, testContext()).catch((error: unknown) => error)];
  server.on("POST /token", echo);
  await using other = new Api({ url: server.url, clientId: "me", clientSecret: async () => secret });
  refusals.push(await other.call(get, testContext()).catch((error: unknown) => error));
  for (const refusal of refusals) {
    expect(refusal).toBeInstanceOf(Error);
    for (let error: unknown = refusal; error instanceof Error; error = error.cause) {
      const { message, hint, details } = asFault(error);
      expect(canaries.findIn(`${message} ${hint} ${JSON.stringify(details)} ${error.stack}`)).toEqual([]);
    }
  }
  expect(server.requests.some((request) => canaries.findIn(request.body).length > 0)).toBe(true);
});
