import { chmod, writeFile } from "node:fs/promises";
import { expect, test } from "vitest";
import { loadSite } from "../../../src/config/compile.ts";
import { builtInRegistries } from "../../../src/config/registries.ts";
import type { Site } from "../../../src/config/types.ts";
import { temporaryDirectory } from "../../helpers/temporary.ts";

/** A site with this under `globus`. */
async function siteWith(globus: string, mode = 0o600): Promise<Site> {
  await using directory = await temporaryDirectory();
  await writeFile(directory.join("secret"), "x", { mode: 0o600 });
  await writeFile(directory.join("globus.json"), "{}");
  await chmod(directory.join("globus.json"), mode);
  const text = `site: lab
api: {url: "https://x.example.org", client_id: c, client_secret: {file: secret}}
agent: {state_dir: state, runtime_dir: run}
${globus}
apps: {}
`;
  await writeFile(directory.join("site.yaml"), text);
  return await loadSite(directory.join("site.yaml"), builtInRegistries);
}

const collection = "6C54CADE-bde5-45c1-bdea-f4bd71dba2cc";
const good = `collection: ${collection}, credentials: {file: globus.json}`;

test("a collection with its paths, and the usual addresses", async () => {
  const site = await siteWith(
    `globus: {${good}, paths: [{local: /scratch/, remote: /}, {local: /data//x, remote: /x/}]}`,
  );
  expect(site.globus).toMatchObject({
    collection: collection.toLowerCase(),
    paths: [
      { local: "/scratch", remote: "/" },
      { local: "/data/x", remote: "/x" },
    ],
    checksum: true,
    encrypt: false,
    deadlineMs: 3 * 86_400_000,
    api: "https://transfer.api.globus.org",
    auth: "https://auth.globus.org",
  });
  expect((await siteWith("")).globus).toBeUndefined();
});

test.each([
  [`${good}, paths: [{local: scratch, remote: /}]`, "'scratch' is not an absolute path"],
  [`${good}, paths: [{local: /a, remote: /b/../c}]`, "'/b/../c' is not an absolute path"],
  [`${good}, paths: []`, "globus.paths"],
  [`collection: mine, credentials: {file: globus.json}, paths: [{local: /a, remote: /}]`, "a UUID"],
  [`${good}, paths: [{local: /a, remote: /}], auth: "http://auth.example.org"`, "would send credentials in clear"],
  [`${good}, paths: [{local: /a, remote: /}], deadline: 0s`, "no time limit"],
])("refuses %s", async (globus, message) => {
  await expect(siteWith(`globus: {${globus}}`)).rejects.toThrow(message);
});

test("credentials that others can read are refused", async () => {
  const globus = `globus: {${good}, paths: [{local: /scratch, remote: /}]}`;
  await expect(siteWith(globus, 0o644)).rejects.toThrow("0644");
});
