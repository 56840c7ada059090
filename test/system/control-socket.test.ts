/** The control socket as a program sees it that does not use our client: what it refuses and in which words, and bytes of logs. */
import { userInfo } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { TestSite, traced } from "../helpers/site.ts";
import { Control, rawControl } from "../integration/agent/control.ts";

let site: TestSite;
let control: Control;
let ended: string;
let running: string;
beforeAll(async () => {
  const apps = {
    quick: { command: traced("printf 0123456789; exit 0") },
    sleeps: { command: traced("printf begun; sleep 60") },
  };
  site = await TestSite.start({ apps });
  await site.startAgent();
  control = new Control(site);
  ({ id: ended } = await site.submit("quick"));
  ({ id: running } = await site.submit("sleeps"));
  await site.ended(ended);
  await site.waitFor(running, (job) => job.state === "RUNNING", "RUNNING");
});
afterAll(async () => {
  await site[Symbol.asyncDispose]();
});

function call(method: string, path: string, body = "") {
  return rawControl(join(site.root, "run"), method, path.replace("ENDED", ended).replace("RUNNING", running), body);
}

describe("the control socket refuses", () => {
  it.each([
    ["another version", "GET", "/v2/status", "", 404, "NOT_FOUND", /GET \/v2\/status/],
    ["no path at all", "GET", "/", "", 404, "NOT_FOUND", /'GET \/'/],
    ["a thing that it does not have", "POST", "/v1/status", "", 404, "NOT_FOUND", /POST \/v1\/status/],
    ["a verb that jobs do not have", "POST", "/v1/jobs/RUNNING/hug", "", 404, "NOT_FOUND", /hug/],
    [
      "a path that is wrongly encoded",
      "GET",
      "/v1/jobs/%E0%A4%A",
      "",
      400,
      "USAGE",
      /'\/v1\/jobs\/%E0%A4%A' is no path/,
    ],
    ["a path that is none", "GET", "//", "", 400, "USAGE", /'\/\/' is no path/],
    ["a job that it does not hold", "GET", "/v1/jobs/nobody", "", 404, "NOT_FOUND", /holds no job 'nobody'/],
    ["to resume one", "POST", "/v1/jobs/nobody/resume", "", 404, "NOT_FOUND", /holds no job 'nobody'/],
    [
      "a stream that is none",
      "GET",
      "/v1/jobs/ENDED/logs/stdin",
      "",
      404,
      "NOT_FOUND",
      /'stdin'; one of stdout, stderr/,
    ],
    ["logs without a stream", "GET", "/v1/jobs/ENDED/logs", "", 404, "NOT_FOUND", /no stream ''/],
    [
      "an attempt that was not made",
      "GET",
      "/v1/jobs/ENDED/logs/stdout?attempt=2",
      "",
      404,
      "NOT_FOUND",
      /no attempt 2/,
    ],
    ["an attempt that is no number", "GET", "/v1/jobs/ENDED/logs/stdout?attempt=last", "", 400, "USAGE", /'last'/],
    ["a negative offset", "GET", "/v1/jobs/ENDED/logs/stdout?offset=-1", "", 400, "USAGE", /offset '-1'/],
    ["what is not JSON", "POST", "/v1/pause", "{", 400, "USAGE", /not JSON/],
    ["what is no object", "POST", "/v1/pause", "5", 422, "INVALID", /^body: /],
    ["an unknown key", "POST", "/v1/drain", '{"exitt":true}', 422, "INVALID", /exitt/],
    ["a wrong value", "POST", "/v1/jobs/RUNNING/cancel", '{"reason":7}', 422, "INVALID", /^reason: /],
    ["a body without end", "POST", "/v1/pause", `"${"x".repeat(70_000)}"`, 413, "TOO_LARGE", /65536/],
  ])("%s", async (_what, method, path, body, status, code, detail) => {
    const { status: got, text } = await call(method, path, body);
    const problem = JSON.parse(text) as { status: number; code: string; detail: string };
    expect({ got, ...problem }).toMatchObject({ got: status, status, code, detail: expect.stringMatching(detail) });
  });

  it("nothing of which changed anything", async () => {
    expect(await control.status()).toMatchObject({ mode: "running", problems: [] });
    expect(await control.job(running)).toMatchObject({ state: "RUNNING", hold: null });
  });
});

describe("the control socket gives logs by offset", () => {
  it.each([
    ["all", "", "0123456789", "0", "true"],
    ["from the middle", "?offset=4", "456789", "4", "true"],
    ["a part", "?offset=2&limit=3", "234", "2", "false"],
    ["nothing behind the end", "?offset=99", "", "99", "true"],
  ])("%s", async (_what, query, bytes, offset, complete) => {
    const { status, headers, text } = await call("GET", `/v1/jobs/ENDED/logs/stdout${query}`);
    expect({ status, text }).toEqual({ status: 200, text: bytes });
    expect(headers).toMatchObject({
      "siteagent-log-offset": offset,
      "siteagent-log-size": "10",
      "siteagent-log-complete": complete,
      "siteagent-log-attempt": "1",
    });
  });

  it("never complete while the attempt runs, however much was read", async () => {
    const { headers, text } = await call("GET", "/v1/jobs/RUNNING/logs/stderr?attempt=1");
    expect({ text, complete: headers["siteagent-log-complete"] }).toEqual({ text: "", complete: "false" });
  });
});

describe("cancel by the control socket", () => {
  it("says what there is to cancel, and who did it when nobody is named", async () => {
    expect((await control.post("/v1/jobs/nobody/cancel")).body).toEqual({ result: "not-found" });
    expect((await control.post(`/v1/jobs/${ended}/cancel`)).body).toEqual({ result: "already-ended" });
    const asked = await control.post(`/v1/jobs/${running}/cancel`);
    expect(asked.body).toEqual({ result: "requested" });
    expect(await site.ended(running)).toMatchObject({ status: "CANCELLED" });
    const { history } = await control.job(running);
    expect(history.map(({ message }) => message)).toContain(`cancel ordered by ${userInfo().username}: cancelled`);
  });
});
