import { writeFile } from "node:fs/promises";
import { expect, test } from "vitest";
import { temporaryDirectory } from "../../helpers/temporary.ts";
import { Shell } from "./rig.ts";
import { ScriptedServer } from "./scripted.ts";

test("attach finds the agent of a site file", async () => {
  await using directory = await temporaryDirectory("sa-cli-");
  await using agent = await ScriptedServer.start((_, response) => {
    response.statusCode = 404;
    response.end(
      JSON.stringify({
        jobs: [],
        type: "about:blank",
        title: "Not Found",
        status: 404,
        detail: "none",
        code: "NOT_FOUND",
      }),
    );
  }, directory.join("agent.sock"));
  const file = directory.join("site.yaml");
  await writeFile(file, `agent: { runtime_dir: ${directory.path} }\n`);
  const { code } = await new Shell(directory).run(["attach", "one", "--config", file]);
  expect(code).toBe(66);
  expect(agent.requests[0]?.url).toBe("/v1/jobs/one");
});
