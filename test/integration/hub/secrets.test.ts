/** The password of the hub's database and its administrator: what a hub that cannot start says must not hold them. */
import { writeFile } from "node:fs/promises";
import { expect, test } from "vitest";
import { Canaries, leaksInFiles } from "../../helpers/canary.ts";
import { runCli } from "../../helpers/cli.ts";
import { temporaryDirectory } from "../../helpers/temporary.ts";

const forms = {
  "nobody listens": (password: string) => `postgres://hub:${encodeURIComponent(password)}@127.0.0.1:1/db`,
  "the port is none": (password: string) => `postgres://hub:${encodeURIComponent(password)}@127.0.0.1:port/db`,
  "it is no URL": (password: string) => `postgres//hub:${encodeURIComponent(password)}@@/db`,
  "the password is not encoded": (password: string) => `postgres://hub:${password}@127.0.0.1:1/db`,
  "the host is unknown": (password: string) => `postgres://hub:${encodeURIComponent(password)}@nobody.invalid/db`,
} as const;

test.each([
  ["in the file", "nobody listens"],
  ["in the file", "the port is none"],
  ["in the file", "it is no URL"],
  ["as a secret", "the password is not encoded"],
  ["as a secret", "the host is unknown"],
] as const)("G4: a database address %s of which %s: its password is in no message", async (where, form) => {
  const canaries = new Canaries();
  const url = forms[form](canaries.make("the password of the database"));
  const admin = canaries.make("the administrator's password");
  await using directory = await temporaryDirectory();
  await writeFile(directory.join("url"), url, { mode: 0o600 });
  await writeFile(directory.join("admin"), admin, { mode: 0o600 });
  const store = { kind: "postgres", url: where === "in the file" ? url : { file: "url" } };
  const settings = { store, admin: { password: { file: "admin" } }, listen: { port: 0 } };
  await writeFile(directory.join("hub.yaml"), JSON.stringify(settings), { mode: 0o600 });
  const { code, stdout, stderr } = await runCli(["hub", "--config", directory.join("hub.yaml")], {
    cwd: directory.path,
    env: { SITEAGENT_DEBUG: "1" },
  });
  expect(code).not.toBe(0);
  expect(stderr).not.toBe("");
  expect(canaries.findIn(stdout + stderr), stderr).toEqual([]);
  expect(await leaksInFiles(directory.path, canaries, [/^(url|admin|hub\.yaml)$/])).toEqual([]);
});
