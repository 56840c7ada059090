import { chmod, readFile, stat, writeFile } from "node:fs/promises";
import { afterAll, beforeAll, expect, test } from "vitest";
import { ScriptedServer } from "./scripted.ts";
import { temporaryDirectory } from "../../helpers/temporary.ts";
import { type Listening, Shell, startHubFor } from "./rig.ts";

let stack: AsyncDisposableStack;
let shell: Shell;
let hub: Listening;
beforeAll(async () => {
  stack = new AsyncDisposableStack();
  shell = new Shell(stack.use(await temporaryDirectory("sa-login-")));
  hub = await startHubFor(shell, stack);
});
afterAll(async () => {
  await stack.disposeAsync();
});

async function profile(): Promise<{ hub: string; token: string; user: string }> {
  return JSON.parse(await readFile(shell.directory.join("config", "profile.json"), "utf8")) as {
    hub: string;
    token: string;
    user: string;
  };
}

test("keeps a token with mode 0600, and never the password", async () => {
  const path = shell.directory.join("config", "profile.json");
  expect((await stat(path)).mode & 0o777).toBe(0o600);
  const text = await readFile(path, "utf8");
  expect(text).not.toContain(hub.admin.password);
  expect(await profile()).toMatchObject({ hub: hub.url, user: "admin", token: expect.stringMatching(/^sat_/) });
  expect((await shell.run(["jobs"])).code).toBe(0);
});

test("takes an API token from standard input", async () => {
  await using other = await temporaryDirectory();
  const env = { SITEAGENT_CONFIG_DIR: other.path };
  const { token } = await profile();
  expect((await shell.run(["login", "--hub", hub.url, "--token"], { env, input: `${token}\n` })).code).toBe(0);
  expect((await shell.run(["jobs"], { env })).code).toBe(0);
  expect((await shell.run(["login", "--logout"], { env })).stderr).toContain("forgotten");
  expect(await shell.run(["jobs"], { env })).toMatchObject({
    code: 64,
    stderr: expect.stringContaining("siteagent login"),
  });
});

test("refuses wrong credentials with exit code 77 and keeps nothing", async () => {
  await using other = await temporaryDirectory();
  const env = { SITEAGENT_CONFIG_DIR: other.path };
  const wrong = await shell.run(["login", "--hub", hub.url, "--username", "admin", "--password-file", "-"], {
    env,
    input: "no\n",
  });
  expect(wrong.code).toBe(77);
  expect((await shell.run(["login", "--hub", hub.url, "--token"], { env, input: "sat_wrong\n" })).code).toBe(77);
  await expect(stat(other.join("profile.json"))).rejects.toThrow("ENOENT");
});

test("asks for what is missing only on a terminal", async () => {
  expect(await shell.run(["login", "--hub", hub.url])).toMatchObject({
    code: 64,
    stderr: expect.stringContaining("--username"),
  });
  expect(await shell.run(["login", "--hub", "ftp://x"])).toMatchObject({ code: 64 });
  expect(await shell.run(["login", "--hub", "http://a:b@h", "--token"], { input: "t\n" })).toMatchObject({ code: 64 });
});

test("gives the profile's token to no other hub", async () => {
  await using other = await ScriptedServer.start((_, response) => {
    response.writeHead(401, { "content-type": "application/json" }).end('{"detail":"no"}');
  });
  expect((await shell.run(["jobs", "--hub", other.url])).code).toBe(77);
  expect(other.requests.length).toBeGreaterThan(0);
  for (const request of other.requests) expect(request.headers.authorization).toBeUndefined();
  await shell.run(["jobs"], { env: { SITEAGENT_HUB: other.url, SITEAGENT_TOKEN: "mine" } });
  expect(other.requests.at(-1)?.headers.authorization).toBe("Bearer mine");
});

test("refuses a profile that others can read, and a damaged one", async () => {
  await using other = await temporaryDirectory();
  const env = { SITEAGENT_CONFIG_DIR: other.path };
  await writeFile(other.join("profile.json"), JSON.stringify(await profile()), { mode: 0o600 });
  await chmod(other.join("profile.json"), 0o644);
  expect(await shell.run(["jobs"], { env })).toMatchObject({ code: 78, stderr: expect.stringContaining("chmod 600") });
  await writeFile(other.join("profile.json"), "{");
  await chmod(other.join("profile.json"), 0o600);
  expect(await shell.run(["jobs"], { env })).toMatchObject({ code: 78, stderr: expect.stringContaining("damaged") });
});
