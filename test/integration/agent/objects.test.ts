import { readFile } from "node:fs/promises";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type ResolvedItems, resolveObjects } from "../../../src/agent/objects.ts";
import { openCentral } from "../../../src/central/discover.ts";
import type { Central } from "../../../src/central/types.ts";
import { systemClock } from "../../../src/common/clock.ts";
import { silentLogger } from "../../../src/common/logger.ts";
import { type RunningHub, startHub } from "../../../src/hub/main.ts";
import type { TransferEngine, TransferItem } from "../../../src/transfer/types.ts";
import { json, ScriptedServer } from "../../helpers/scripted-server.ts";
import { temporaryDirectory } from "../../helpers/temporary.ts";
import { serve } from "../transfer/servers.ts";
import { item, request, sha256, startEngine, testContext } from "../transfer/setup.ts";

const bytes = Buffer.from("reads of the object\n");
const resources = new AsyncDisposableStack();
let hub: RunningHub;
let files: { readonly url: string };

beforeAll(async () => {
  const directory = resources.use(await temporaryDirectory());
  hub = await startHub({ dev: true, dataDir: directory.path, port: 0, log: silentLogger });
  resources.defer(() => hub.close());
  files = resources.use(
    await serve((incoming, response) => {
      response.writeHead(200, { "content-length": bytes.byteLength, etag: '"1"' });
      response.end(incoming.method === "HEAD" ? undefined : bytes);
    }),
  );
});

afterAll(() => resources.disposeAsync());

interface Place {
  readonly central: Central;
  readonly transfers: TransferEngine;
  readonly resolve: (items: readonly TransferItem[]) => Promise<ResolvedItems>;
}

/** An agent's way to this API, allowed to read from `sources`. */
async function placeOf(dialect: "hub" | "nmdc", sources: readonly string[], url = hub.url): Promise<Place> {
  const { site } = hub;
  if (!site) throw new Error("a development hub has credentials");
  const central = resources.use(
    await openCentral({
      url,
      site: site.id,
      agentId: "agent",
      clientId: site.client_id,
      clientSecret: async () => site.client_secret,
      dialect,
    }),
  );
  const transfers = resources.use(startEngine({ policy: { sources, destinations: [], allow_private: ["127.0.0.1"] } }));
  const parts = { site: { api: { url } }, transfers };
  return {
    central,
    transfers,
    resolve: (items) => resolveObjects({ central, parts } as never, items, testContext({ clock: systemClock })),
  };
}

async function newObject(fields: object): Promise<{ readonly id: string; readonly self_uri: string }> {
  const { site } = hub;
  const login = new URLSearchParams({
    grant_type: "client_credentials",
    client_id: site?.client_id ?? "",
    client_secret: site?.client_secret ?? "",
  });
  const token = (await (await fetch(`${hub.url}/token`, { method: "POST", body: login })).json()) as {
    access_token: string;
  };
  const unique = { type: "sha1", checksum: sha256(String(Math.random())).slice(0, 40) };
  const answer = await fetch(`${hub.url}/objects`, {
    method: "POST",
    headers: { authorization: `Bearer ${token.access_token}`, "content-type": "application/json" },
    body: JSON.stringify({
      size: bytes.byteLength,
      created_time: "2026-01-01T00:00:00Z",
      checksums: [unique],
      ...fields,
    }),
  });
  const made = (await answer.json()) as { readonly id: string; readonly self_uri: string };
  if (!answer.ok) throw new Error(JSON.stringify(made));
  return made;
}

const reads = (source: string, more: Partial<TransferItem> = {}): TransferItem =>
  item({ name: "reads", source, target: "reads.txt", ...more });

describe.each(["hub", "nmdc"] as const)("objects of the central API, dialect %s", (dialect) => {
  test("the first access method that the policy allows is moved, and must be what the object promises", async () => {
    const methods = [
      { type: "s3", access_url: { url: "s3://bucket/reads" } },
      { type: "https", access_url: { url: "https://elsewhere.example/reads" } },
      { type: "https", access_url: { url: `${files.url}kept/reads`, headers: { "x-key": "1" } } },
      { type: "https", access_url: { url: `${files.url}reads` } },
      { type: "https", access_url: { url: `${files.url}later` } },
    ];
    const promised = sha256(dialect);
    const md5 = { type: "md5", checksum: promised.slice(0, 32) };
    const checksums = [md5, { type: "sha256", checksum: promised.toUpperCase() }];
    const { id, self_uri: uri } = await newObject({ access_methods: methods, checksums });
    const place = await placeOf(dialect, [files.url]);
    for (const source of [id, `nmdc:${id}`, uri, `drs://${new URL(hub.url).host}/${id}`]) {
      const { items, temporary } = await place.resolve([reads(source)]);
      const expected = { expectedSize: bytes.byteLength, expectedSha256: promised };
      expect(items).toMatchObject([{ source: `${files.url}reads`, ...expected }]);
      expect(temporary).toBe(false);
    }
    const own = { expectedSize: 1, expectedSha256: "0".repeat(64) };
    expect((await place.resolve([reads(id, own)])).items).toMatchObject([own]);
  });
});

describe("objects", () => {
  test("come through the engine with the object's digest, and are refused when the bytes are others", async () => {
    await using directory = await temporaryDirectory();
    const place = await placeOf("hub", [files.url]);
    const methods = [{ type: "https", access_url: { url: `${files.url}reads` } }];
    const { id } = await newObject({ access_methods: methods, checksums: [{ type: "sha256", checksum: sha256("x") }] });
    const wrong = await place.resolve([reads(id)]);
    const run = (items: readonly TransferItem[]): ReturnType<TransferEngine["run"]> =>
      place.transfers.run(request({ direction: "in", root: directory.join("in"), items }), testContext());
    await expect(run(wrong.items)).rejects.toMatchObject({ code: "DIGEST_MISMATCH" });
    const right = await place.resolve([reads(id, { expectedSha256: sha256(bytes) })]);
    expect((await run(right.items)).manifest).toMatchObject([{ path: "reads.txt", verified: "digest" }]);
    expect(await readFile(directory.join("in/reads.txt"))).toEqual(bytes);
  });

  test("URLs stay as they are, and an optional object that is not there is left out", async () => {
    const { resolve } = await placeOf("hub", []);
    const url = reads("https://data.example.org/x");
    const optional = reads("sys0nothere1", { required: false });
    expect(await resolve([url, optional])).toEqual({ items: [url], temporary: false });
  });

  test("what cannot be used is said with all reasons", async () => {
    const { resolve } = await placeOf("hub", []);
    const refusals = async (source: string, more: Partial<TransferItem> = {}): Promise<unknown> =>
      resolve([reads(source, more)]).then(
        () => "resolved",
        ({ code, message }: { readonly code: string; readonly message: string }) => `${code} ${message}`,
      );
    expect(await refusals("sys0nothere1")).toBe(
      "TRANSFER_REFUSED input 'reads': object 'sys0nothere1' is not known to the central API",
    );
    const methods = [
      { type: "https", access_url: { url: `${files.url}reads` } },
      { type: "https", access_id: "gfs0abc" },
    ];
    const { id } = await newObject({ access_methods: methods });
    expect(await refusals(id)).toMatch(
      /^POLICY input 'reads': object '\w+' has no access method that can be used: 'http.*reads': the list is empty; access_id 'gfs0abc': .*handler/,
    );
    expect(await refusals(id, { kind: "directory" })).toMatch(/^TRANSFER_REFUSED .* is one file, the input is of kind/);
    expect(await refusals(`drs://other.example/${id}`)).toMatch(
      /^TRANSFER_REFUSED .*'other.example' is not the central API/,
    );
    const bundle = await newObject({ contents: [{ name: "part", id }] });
    expect(await refusals(bundle.id)).toMatch(/is a bundle of others/);
  });

  test("an access id is asked for a URL, which is good for some minutes", async () => {
    await using api = await ScriptedServer.start();
    api
      .on("POST /token", json(200, { access_token: "t", token_type: "bearer", expires: { hours: 1 } }))
      .on(
        "GET /objects/sys0abcdef12",
        json(200, { id: "sys0abcdef12", size: 3, access_methods: [{ access_id: "lab:r/1" }] }),
      )
      .on("GET /objects/sys0abcdef12/access/lab:r/1", json(200, { url: `${files.url}signed?x=1`, headers: null }));
    const { resolve } = await placeOf("nmdc", [files.url], api.url);
    expect(await resolve([reads("sys0abcdef12")])).toMatchObject({
      items: [{ source: `${files.url}signed?x=1`, expectedSize: 3, expectedSha256: undefined }],
      temporary: true,
    });
  });
});
