import { readFile, rm, writeFile } from "node:fs/promises";
import { dirname } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { startRig } from "./rig.ts";

let rig: Awaited<ReturnType<typeof startRig>>;
let id: string;
beforeAll(async () => {
  rig = await startRig();
  const made = await rig.shell.run(["submit", "hello-1.0.0", "-p", "name=Ann", "--tag", "project=p1", "--wait"]);
  id = /nmdc:\S+/.exec(made.stdout)?.[0] ?? "";
});
afterAll(async () => {
  await rig[Symbol.asyncDispose]();
});

test("resubmit makes an independent job of the same request", async () => {
  const again = await rig.shell.run(["resubmit", id, "-o", "json"]);
  expect(again).toMatchObject({ code: 0, stderr: "" });
  const job = JSON.parse(again.stdout) as Record<string, unknown>;
  expect(job).toMatchObject({
    workflow: { id: "hello-1.0.0" },
    parameters: { name: "Ann" },
    tags: { project: "p1" },
    retry_of: null,
  });
  expect(job["id"]).not.toBe(id);
});

test("resubmit --edit opens the request in the editor and sends what was saved", async () => {
  const editor = rig.shell.directory.join("editor.sh");
  await writeFile(editor, '#!/bin/sh\nsed -i s/Ann/Bea/ "$1"\n', { mode: 0o700 });
  const again = await rig.shell.run(["resubmit", id, "--edit", "-o", "json"], { env: { EDITOR: editor } });
  expect(JSON.parse(again.stdout)).toMatchObject({ parameters: { name: "Bea" } });
});

test("resubmit --edit keeps an edit that cannot be sent, and names its faults and its file", async () => {
  const editor = rig.shell.directory.join("spoil.sh");
  await writeFile(editor, '#!/bin/sh\nsed -i s/priority/urgency/ "$1"\n', { mode: 0o700 });
  const refused = await rig.shell.run(["resubmit", id, "--edit"], { env: { EDITOR: editor } });
  expect(refused.code).toBe(65);
  expect(refused.stderr).toContain("urgency");
  const [, file = ""] = /'([^']+job\.json)'/.exec(refused.stderr) ?? [];
  expect(await readFile(file, "utf8")).toContain("urgency");
  await rm(dirname(file), { recursive: true });
});

test("submit --dry-run --local shows what this site would do, and sends nothing", async () => {
  const before = (await rig.shell.run(["jobs", "--all", "-o", "name"])).stdout;
  const plan = await rig.shell.run(["submit", "hello-1.0.0", "-p", "name=Eve", "--dry-run", "--local", "-o", "json"]);
  expect(plan).toMatchObject({ code: 0, stderr: "" });
  const { argv, environment, directory } = JSON.parse(plan.stdout) as {
    argv: string[];
    environment: string[];
    directory: string;
  };
  expect(argv.join(" ")).toContain("Eve");
  expect(environment).toContain("SITEAGENT_ATTEMPT");
  expect(directory).toMatch(/^\//);
  expect((await rig.shell.run(["jobs", "--all", "-o", "name"])).stdout).toBe(before);
});
