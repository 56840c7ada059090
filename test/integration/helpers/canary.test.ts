import { symlink, writeFile } from "node:fs/promises";
import { expect, test } from "vitest";
import { Canaries, leaksInFiles, leaksInProcesses } from "../../helpers/canary.ts";
import { Program } from "../../helpers/program.ts";
import { temporaryDirectory } from "../../helpers/temporary.ts";

/** Ways in which a secret leaks without being seen at once. */
const ways: Readonly<Record<string, (secret: string) => string>> = {
  "as it is": (secret) => `password=${secret};`,
  "in JSON": (secret) => JSON.stringify({ password: secret }),
  "in JSON in JSON": (secret) => JSON.stringify({ body: JSON.stringify({ password: secret }) }),
  "in a URL": (secret) => `https://u:${encodeURIComponent(secret)}@host/`,
  "in a form": (secret) => new URLSearchParams({ password: secret }).toString(),
  "in base64": (secret) => Buffer.from(secret).toString("base64"),
  "in the base64 of a longer text": (secret) => Buffer.from(`user:${secret}`).toString("base64"),
  "in the base64 of another longer text": (secret) => Buffer.from(`me:${secret} and more`).toString("base64"),
  "in base64url": (secret) => Buffer.from(`a:${secret}`).toString("base64url"),
  "in hexadecimal": (secret) => Buffer.from(secret).toString("hex"),
};

test.each(Object.keys(ways))(
  "G4: a planted leak is found %s: in a file, a file's name, a link, arguments and environment",
  async (way) => {
    const canaries = new Canaries();
    const leak = ways[way]?.(canaries.make("the secret")) ?? "";
    await using directory = await temporaryDirectory();
    await writeFile(directory.join("log"), `{"level":"info"}\n${leak}\n`);
    await writeFile(directory.join("secret"), leak);
    await symlink(leak.slice(0, 1000), directory.join("link"));
    expect(await leaksInFiles(directory.path, canaries, [/^secret$/])).toEqual(
      expect.arrayContaining(["the secret is in the file 'log'", "the secret is in the link 'link'"]),
    );
    expect((await leaksInFiles(directory.path, canaries, [/^(secret|log|link)$/])).length).toBe(0);
    await using child = await Program.start("/bin/sh", ["-c", "echo up; read x", leak], { env: { PASSWORD: leak } });
    await child.output(/up/);
    const found = leaksInProcesses(canaries).filter((one) => one.includes(`process ${child.pid} `));
    expect(found.map((one) => one.split(" of ")[0])).toEqual(["the secret is in cmdline", "the secret is in environ"]);
  },
);

test("tokens of the hub are found unmarked, names of files are looked at", async () => {
  const canaries = new Canaries();
  const name = canaries.make("the secret").replaceAll("/", "");
  await using directory = await temporaryDirectory();
  await writeFile(directory.join(name), "");
  expect(await leaksInFiles(directory.path, canaries, [])).toEqual([
    expect.stringMatching(/^the secret is in the name of/),
  ]);
  expect(canaries.findIn(`x eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhZG1pbiJ9.${"s".repeat(43)}`)).toEqual([
    "a token of the hub",
  ]);
  expect(canaries.findIn(`token sat_${"a".repeat(40)}`)).toEqual(["a token of the hub"]);
  expect(canaries.findIn("eyJ is no token, sat_ neither")).toEqual([]);
});
