import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, test } from "vitest";
import { runCli } from "../../helpers/cli.ts";
import { temporaryDirectory } from "../../helpers/temporary.ts";

const good = "store: { kind: sqlite, path: hub.db }\nworkflows: [{ id: readqc-1.0.0 }]\n";
const unknownTrigger = `${good}object_types: [{ id: reads }]\ntriggers: [{ object_type: reads, workflow: readqc-1.0.1 }]\n`;
const bad = "store: { kind: sqlite, path: hub.db }\nworkflow: [{ id: readqc-1.0.0 }]\nlimits: { body: big }\n";

test("a hub whose file has faults does not start and tells each with its place", async () => {
  await using directory = await temporaryDirectory();
  await writeFile(directory.join("hub.yaml"), bad);
  const { code, stdout, stderr } = await runCli(["hub", "--config", "hub.yaml"], { cwd: directory.path });
  expect([code, stdout]).toEqual([78, ""]);
  expect(stderr).toMatch(/hub\.yaml:2:1: workflow: unknown key 'workflow'.*nearest: 'workflows'/);
  expect(stderr).toMatch(/hub\.yaml:3:17: limits\.body: 'big' is not a size/);
  expect(stderr).toContain("siteagent validate");
});

test("siteagent validate sees by the keys that a file is a hub's", async () => {
  await using directory = await temporaryDirectory();
  await writeFile(directory.join("hub.yaml"), bad);
  const refused = await runCli(["validate", "hub.yaml"], { cwd: directory.path });
  expect(refused.code).toBe(78);
  expect(refused.stdout).toMatch(/hub\.yaml:2:1: workflow: unknown key 'workflow'.*nearest: 'workflows'/);
  await writeFile(directory.join("hub.yaml"), good);
  const taken = await runCli(["validate", "hub.yaml"], { cwd: directory.path });
  expect([taken.code, taken.stdout]).toEqual([0, expect.stringContaining("hub on sqlite, 1 workflow, 0 triggers")]);
  const site = await runCli(["validate", join(import.meta.dirname, "../../../config/site.example.yaml")], {
    cwd: directory.path,
  });
  expect(site.stdout).not.toContain("unknown key");
});

test("start and validate say the same of a trigger whose workflow is unknown", async () => {
  await using directory = await temporaryDirectory();
  await writeFile(directory.join("hub.yaml"), unknownTrigger);
  const said =
    /hub\.yaml:4:44: triggers\[0\]\.workflow: workflow 'readqc-1\.0\.1' is neither .*; allowed: readqc-1\.0\.0; nearest: 'readqc-1\.0\.0'/;
  const started = await runCli(["hub", "--config", "hub.yaml"], { cwd: directory.path });
  expect([started.code, started.stderr]).toEqual([78, expect.stringMatching(said)]);
  const validated = await runCli(["validate", "hub.yaml"], { cwd: directory.path });
  expect([validated.code, validated.stdout]).toEqual([78, expect.stringMatching(said)]);
});
