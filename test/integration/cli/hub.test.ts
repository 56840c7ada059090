import { mkdir, stat, writeFile } from "node:fs/promises";
import { afterEach, beforeEach, expect, test } from "vitest";
import { temporaryDirectory } from "../../helpers/temporary.ts";
import { Shell } from "./rig.ts";

let shell: Shell;
beforeEach(async () => {
  shell = new Shell(await temporaryDirectory("sa-hub-"));
});
afterEach(async () => {
  await shell.directory[Symbol.asyncDispose]();
});

test("a hub without settings says what it needs", async () => {
  expect(await shell.run(["hub"])).toMatchObject({ code: 64, stderr: expect.stringContaining("--dev") });
});

test("a development hub tells people the way to a first job, and ends well at TERM", async () => {
  await using hub = await shell.start(["hub", "--dev", "--port", "0"]);
  await hub.output(/siteagent submit hello-1\.0\.0 --wait/);
  expect(hub.stdout).toMatch(/Address: http:\/\/127\.0\.0\.1:\d+\n/);
  expect(hub.stdout).toContain("User: admin, password ");
  expect((await stat(shell.directory.join("state", "hub-dev"))).mode & 0o777).toBe(0o700);
  expect((await hub.stop()).code).toBe(0);
});

test("a port in use, and a database in use, are told in words", async () => {
  await using hub = await shell.start(["hub", "--dev", "--port", "0", "--data", "data", "-o", "json"]);
  const [line = ""] = await hub.output(/^\{.*\}$/m);
  const { port } = new URL((JSON.parse(line) as { url: string }).url);
  const samePort = await shell.run(["hub", "--dev", "--port", port, "--data", "other"]);
  expect(samePort).toMatchObject({ code: 75, stdout: "", stderr: expect.stringContaining("the port is in use") });
  const sameData = await shell.run(["hub", "--dev", "--port", "0", "--data", "data"]);
  expect(sameData.code).not.toBe(0);
  expect(sameData.stderr).toContain("another hub");
});

test("a hub in earnest takes its file, and names what is wrong in it", async () => {
  await mkdir(shell.directory.join("hub"));
  const file = shell.directory.join("hub", "hub.yaml");
  await writeFile(file, "store: { kind: sqlite, path: hub.db }\nlisten: { port: 0 }\n");
  await using hub = await shell.start(["hub", "--config", file, "-o", "json"]);
  const [line = ""] = await hub.output(/^\{.*\}$/m);
  expect(Object.keys(JSON.parse(line) as object)).toEqual(["url"]);
  expect((await stat(shell.directory.join("hub", "hub.db"))).isFile()).toBe(true);
  await writeFile(file, "store: { kind: mysql }\n");
  expect(await shell.run(["hub", "--config", file])).toMatchObject({
    code: 78,
    stderr: expect.stringContaining("store"),
  });
  expect(await shell.run(["hub", "--config", "nowhere.yaml"])).toMatchObject({ code: 78 });
});
