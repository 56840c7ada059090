import type { IncomingMessage, ServerResponse } from "node:http";
import { expect, test } from "vitest";
import { runCli } from "../../helpers/cli.ts";
import { ScriptedServer } from "./scripted.ts";

const at = "2026-11-20T11:00:00.000Z";
const job = {
  id: "nmdc:job1",
  workflow: { id: "w" },
  name: null,
  description: null,
  config: {},
  parameters: {},
  tags: {},
  owner: null,
  status: "RUNNING",
  state: "RUNNING",
  phase: "none",
  hold: null,
  site: "lab-a",
  op_id: null,
  epoch: 1,
  attempt: 2,
  priority: 0,
  parents: [],
  parent_policy: "all_finished",
  retry_of: null,
  object_id: null,
  failure: null,
  end: null,
  created_at: at,
  updated_at: at,
  claimed_at: at,
  ended_at: null,
  lost_contact: false,
};
const texts: Readonly<Record<number, string>> = { 1: "a1\na2\na3\n", 2: "b1\nb2\nb3\n" };

/** A hub on which a second attempt begins right after the first look at the log. */
function hubWithNewAttempt(): (request: IncomingMessage, response: ServerResponse) => void {
  let latest = 1;
  return (request, response) => {
    const url = new URL(request.url ?? "", "http://hub");
    if (!url.pathname.includes("/logs/")) {
      response.setHeader("content-type", "application/json").end(JSON.stringify(job));
      return;
    }
    const attempt = Number(url.searchParams.get("attempt") ?? latest);
    const text = texts[attempt] ?? "";
    const offset = Math.min(Number(url.searchParams.get("offset") ?? 0), text.length);
    response
      .setHeader("siteagent-log-attempt", attempt)
      .setHeader("siteagent-log-latest-attempt", latest)
      .setHeader("siteagent-log-offset", offset)
      .setHeader("siteagent-log-size", text.length)
      .setHeader("siteagent-log-complete", "true")
      .setHeader("siteagent-log-ended", String(latest === 2))
      .end(text.slice(offset));
    latest = 2;
  };
}

test("logs --tail -f shows a new attempt from its first byte when it begins between the two looks", async () => {
  await using hub = await ScriptedServer.start(hubWithNewAttempt());
  const args = ["logs", job.id, "--tail", "2", "-f", "--stream", "stdout", "--hub", hub.url];
  const { stdout, stderr, code } = await runCli(args, { env: { SITEAGENT_TOKEN: "t" } });
  expect({ stdout, stderr, code }).toEqual({ stdout: "a2\na3\nb1\nb2\nb3\n", stderr: "", code: 0 });
});

test("logs of an attempt that the job has not had are refused, and its number of attempts is told", async () => {
  await using hub = await ScriptedServer.start(hubWithNewAttempt());
  const args = ["logs", job.id, "--attempt", "9", "--hub", hub.url];
  const { stdout, stderr, code } = await runCli(args, { env: { SITEAGENT_TOKEN: "t" } });
  expect({ stdout, code }).toEqual({ stdout: "", code: 66 });
  expect(stderr).toContain("has had 2 attempts, no attempt 9");
});
