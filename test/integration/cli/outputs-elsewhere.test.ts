import { createHash } from "node:crypto";
import { readFile } from "node:fs/promises";
import { expect, test } from "vitest";
import { temporaryDirectory } from "../../helpers/temporary.ts";
import { Shell } from "./rig.ts";
import { ScriptedServer } from "./scripted.ts";

const time = "2026-11-20T08:00:00.000Z";
const job = {
  id: "nmdc:sys0one",
  workflow: { id: "w-1" },
  ...{ name: null, description: null, config: {}, parameters: {}, tags: {}, owner: null },
  ...{ status: "FINISHED", state: "JOB_FINISHED", phase: "none", hold: null, site: "lab-a", op_id: null },
  ...{ epoch: 1, attempt: 1, priority: 0, parents: [], parent_policy: "all_finished", retry_of: null },
  ...{ object_id: null, failure: null, end: null, created_at: time, updated_at: time, claimed_at: time },
  ...{ ended_at: time, lost_contact: false },
};
const bytes = Buffer.from("held\n");
const sha256 = createHash("sha256").update(bytes).digest("hex");
const outputs = [
  { output: "small", path: "small.txt", bytes: bytes.length, sha256, stored: true },
  { output: "big", path: "big.bam", bytes: 9, sha256, url: "https://results.example.org/big.bam", stored: false },
  { output: "log", path: "run.log", bytes: 9, sha256, stored: false },
];

async function hub(listed: readonly object[]) {
  return await ScriptedServer.start((request, response) => {
    const path = new URL(request.url ?? "/", "http://hub").pathname;
    if (path.endsWith("/outputs")) response.end(JSON.stringify({ outputs: listed }));
    else if (path.endsWith("/outputs/small.txt")) response.end(bytes);
    else response.end(JSON.stringify(job));
  });
}

test("outputs get tells what the hub does not hold, and where it lies", async () => {
  await using directory = await temporaryDirectory("sa-cli-");
  await using server = await hub(outputs);
  const shell = new Shell(directory);
  const get = (...args: string[]) =>
    shell.run(["outputs", "get", job.id, ...args, "--to", "got", "--force", "--hub", server.url], {
      env: { SITEAGENT_TOKEN: "x" },
    });
  const all = await get();
  expect(all).toMatchObject({ code: 0, stdout: expect.stringContaining("small.txt") });
  expect(all.stderr).toMatch(/big\.bam {2}not fetched: .* it lies at https:\/\/results\.example\.org\/big\.bam/);
  expect(all.stderr).toMatch(/run\.log {2}not fetched: .* stayed at the site/);
  expect(await readFile(directory.join("got", "small.txt"), "utf8")).toBe("held\n");

  expect((await get("small")).code).toBe(0);
  expect(await get("small", "big.bam")).toMatchObject({ code: 1, stderr: expect.stringContaining("big.bam") });
  expect(await get("small", "none.txt")).toMatchObject({ code: 1, stderr: expect.stringContaining("'none.txt'") });
  expect(await get("none.txt")).toMatchObject({ code: 66 });
  const machine = await get("*", "-o", "json");
  expect(machine.code).toBe(1);
  expect(JSON.parse(machine.stdout)).toMatchObject({
    files: [{ path: "small.txt" }],
    not_fetched: [{ path: "big.bam" }, { path: "run.log" }],
    unknown: [],
  });
});

test("outputs get fails when the hub holds nothing of what there is", async () => {
  await using directory = await temporaryDirectory("sa-cli-");
  await using server = await hub(outputs.slice(1));
  const env = { SITEAGENT_TOKEN: "x" };
  const got = await new Shell(directory).run(["outputs", "get", job.id, "--hub", server.url], { env });
  expect(got).toMatchObject({ code: 1, stdout: "", stderr: expect.stringContaining("results.example.org") });
});
