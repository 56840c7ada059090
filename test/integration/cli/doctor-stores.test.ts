import { mkdir, writeFile } from "node:fs/promises";
import { stringify } from "yaml";
import { expect, it } from "vitest";
import { raw, ScriptedServer } from "../../helpers/scripted-server.ts";
import { temporaryDirectory } from "../../helpers/temporary.ts";
import { Shell } from "./rig.ts";

it("the doctor asks each bucket of the object stores", async () => {
  await using directory = await temporaryDirectory("sa-cli-");
  await using server = await ScriptedServer.start();
  server.on("GET /lab-a/", raw(200, "application/xml", "<ListBucketResult></ListBucketResult>"));
  server.on("GET /lab-b/", raw(404, "application/xml", "<Error><Code>NoSuchBucket</Code></Error>"));
  const shell = new Shell(directory);
  await mkdir(directory.join("config"), { recursive: true });
  await writeFile(directory.join("config", "secret"), "x\n", { mode: 0o600 });
  const keys = "[default]\naws_access_key_id = AK\naws_secret_access_key = SK\n";
  await writeFile(directory.join("config", "keys"), keys, { mode: 0o600 });
  const diagnose = async (buckets: readonly string[]): Promise<unknown> => {
    const site = {
      site: "lab",
      api: { url: "http://127.0.0.1:1", client_id: "x", client_secret: { file: "secret" } },
      remotes: { archive: { s3: { endpoint: server.url, buckets, credentials: { file: "keys" } } } },
      apps: {},
    };
    await writeFile(shell.siteFile, stringify(site));
    const { stdout } = await shell.run(["doctor", "-o", "json"]);
    const { checks } = JSON.parse(stdout) as { readonly checks: readonly { readonly id: string }[] };
    return checks.find(({ id }) => id === "object-stores");
  };
  expect(await diagnose(["lab-a"])).toMatchObject({ result: "ok", found: "'archive': S3, bucket lab-a" });
  expect(server.requests[0]?.headers.authorization).toContain("Credential=AK/");
  expect(await diagnose(["lab-a", "lab-b"])).toMatchObject({
    result: "error",
    found: "'archive': 's3://lab-b/' is refused by archive: 404 NoSuchBucket",
    repair: "make bucket 'lab-b' there, or correct 'buckets' and 'endpoint' of remote 'archive'",
  });
});
