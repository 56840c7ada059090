import { mkdir, writeFile } from "node:fs/promises";
import { stringify } from "yaml";
import { expect, it } from "vitest";
import { GlobusServer, ids } from "../../helpers/globus/server.ts";
import { temporaryDirectory } from "../../helpers/temporary.ts";
import { Shell } from "./rig.ts";

interface Checked {
  readonly id: string;
  readonly result: string;
  readonly found: string;
  readonly repair?: string;
}

it("asks for a token and for the directories of the site's collection, and says what is wrong", async () => {
  await using directory = await temporaryDirectory("sa-cli-");
  await using server = await GlobusServer.start();
  const shell = new Shell(directory);
  await mkdir(directory.join("config"));
  await writeFile(directory.join("config/secret"), "x\n", { mode: 0o600 });
  const { credentials, paths } = await server.settings();
  const [{ local } = { local: "" }] = paths;
  await mkdir(local);
  const look = async (change: object = {}, workdir = `${local}/work`): Promise<Checked> => {
    const [api, auth] = [server.http.url, server.http.url];
    const globus = { collection: ids.own, paths, credentials: { file: credentials.path }, api, auth, ...change };
    const site = {
      site: "lab",
      api: { url: "http://127.0.0.1:1", client_id: "x", client_secret: { file: "secret" } },
      hosts: { here: { workdir } },
      globus,
      apps: {},
    };
    await writeFile(shell.siteFile, stringify(site));
    const { stdout } = await shell.run(["doctor", "-o", "json"]);
    const { checks } = JSON.parse(stdout) as { readonly checks: readonly Checked[] };
    const check = checks.find(({ id }) => id === "globus");
    if (!check) throw new Error("no such check");
    return check;
  };
  expect(await look()).toMatchObject({ result: "ok" });
  expect(await look({ paths: [{ local, remote: "/none" }] })).toMatchObject({
    result: "error",
    found: expect.stringContaining("no directory '/none'"),
  });
  expect(await look({}, directory.join("elsewhere"))).toMatchObject({
    result: "error",
    found: expect.stringContaining("lies below none of globus.paths"),
  });
  await writeFile(credentials.path, JSON.stringify({ client_id: "client-1", refresh_token: "expired" }));
  expect(await look()).toMatchObject({ result: "error", found: expect.stringContaining("invalid_grant") });
});
