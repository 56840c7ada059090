/** What a real store cannot be made to show. */
import { writeFile } from "node:fs/promises";
import { describe, expect, it } from "vitest";
import { newToken } from "../../../src/common/token.ts";
import { compilePolicy } from "../../../src/transfer/policy.ts";
import { createS3Transfer } from "../../../src/transfer/s3/index.ts";
import type { S3Settings } from "../../../src/transfer/s3/types.ts";
import type { TransferAdapter } from "../../../src/transfer/types.ts";
import { Canaries, leaksInText } from "../../helpers/canary.ts";
import {
  type Answer,
  answerLost,
  endless,
  json,
  raw,
  type Received,
  reset,
  ScriptedServer,
} from "../../helpers/scripted-server.ts";
import { temporaryDirectory } from "../../helpers/temporary.ts";
import { keyFiles, partBytes, policy, settingsOf, storeAt } from "./s3-harness.ts";
import { faultOf, impatientClock, item, request, sha256, startEngine, testContext } from "./setup.ts";

const context = testContext();
const bucket = "lab-a";
const object = `/${bucket}/data/x`;
const url = "s3://far/data/x";
const etag = '"0123456789abcdef0123456789abcdef"';
const whole = raw(200, "application/octet-stream", "content", { etag });

function xml(status: number, body: string, headers: Readonly<Record<string, string>> = {}): Answer {
  return raw(status, "application/xml", `<?xml version="1.0" encoding="UTF-8"?>\n${body}`, headers);
}

function refusal(status: number, code: string, more = "", headers: Readonly<Record<string, string>> = {}): Answer {
  return xml(status, `<Error><Code>${code}</Code><Message>because</Message>${more}</Error>`, headers);
}

function adapterAt(
  server: ScriptedServer,
  fields: Partial<S3Settings> = {},
  env: NodeJS.ProcessEnv = {},
): TransferAdapter {
  const stores = storeAt(bucket, settingsOf(server.url, fields));
  return createS3Transfer({ policy: compilePolicy(policy), stores, env });
}

/** A store for one object in parts, which computes digests or does not. */
async function partsStore(keepsDigests: boolean): Promise<ScriptedServer> {
  const server = await ScriptedServer.start();
  const digesting = keepsDigests ? { "x-amz-checksum-algorithm": "SHA256" } : {};
  server.on(`HEAD ${object}`, raw(404, "", ""));
  server.on(`GET /${bucket}/`, xml(200, "<ListMultipartUploadsResult></ListMultipartUploadsResult>"));
  server.on(`GET ${object}`, xml(200, "<ListPartsResult><IsTruncated>false</IsTruncated></ListPartsResult>"));
  server.on(`POST ${object}`, (received, response) =>
    received.query.has("uploads")
      ? xml(200, "<R><UploadId>id-1</UploadId></R>", digesting)(received, response)
      : xml(200, `<R><ETag>&quot;made-3&quot;</ETag></R>`)(received, response),
  );
  server.on(`PUT ${object}`, (received, response) =>
    raw(200, "", "", { etag: `"part-${received.query.get("partNumber")}"` })(received, response),
  );
  server.on(`DELETE ${object}`, raw(204, "", ""));
  return server;
}

const large = Buffer.alloc(2 * partBytes + 7, "x");

async function sendLarge(adapter: TransferAdapter): Promise<void> {
  await using here = await temporaryDirectory();
  await writeFile(here.join("x"), large);
  const info = { bytes: large.byteLength, sha256: sha256(large), token: newToken() };
  await adapter.write(url, here.join("x"), info, context);
}

const puts = (server: ScriptedServer): readonly Received[] => server.received(`PUT ${object}`);
const firstSha256 = Buffer.from(sha256(large.subarray(0, partBytes)), "hex").toString("base64");

describe("a store that refuses or is busy", () => {
  const temporary: readonly (readonly [string, Answer])[] = [
    ["503 SlowDown", refusal(503, "SlowDown")],
    ["500 InternalError", refusal(500, "InternalError")],
    ["503 and a page", raw(503, "text/html", "<html><body>try later</body></html>")],
    ["a lost connection", reset],
    ["400 RequestTimeout", refusal(400, "RequestTimeout")],
    ["502 and endless noise", (received, response) => ((response.statusCode = 502), endless(received, response))],
  ];
  it.each(temporary)("%s: comes again", async (_name, answer) => {
    await using server = await ScriptedServer.start();
    await using here = await temporaryDirectory();
    server.on(`HEAD ${object}`, raw(200, "", "", { etag, "content-length": "7" })).on(`GET ${object}`, whole);
    server.next(`GET ${object}`, answer, answer);
    const stores = storeAt(bucket, settingsOf(server.url));
    await using engine = startEngine({ policy, stores });
    const items = [item({ source: url, target: "x" })];
    const { manifest } = await engine.run(request({ direction: "in", root: here.path, items }), context);
    expect(manifest).toMatchObject([{ bytes: 7, verified: "size" }]);
    expect(server.received(`GET ${object}`)).toHaveLength(3);
  });

  it("is given the time that it asks for", async () => {
    await using server = await ScriptedServer.start();
    await using here = await temporaryDirectory();
    server.on(`HEAD ${object}`, raw(200, "", "", { etag, "content-length": "7" })).on(`GET ${object}`, whole);
    server.next(`GET ${object}`, refusal(503, "SlowDown", "", { "retry-after": "17" }));
    const clock = impatientClock();
    await using engine = startEngine({ policy, stores: storeAt(bucket, settingsOf(server.url)) });
    const items = [item({ source: url, target: "x" })];
    await engine.run(request({ direction: "in", root: here.path, items }), testContext({ clock }));
    expect(clock.waits).toHaveLength(1);
    expect(clock.waits[0]).toBeGreaterThanOrEqual(17_000);
  });

  const lasting: readonly (readonly [string, Answer, RegExp, RegExp | undefined])[] = [
    ["a denial", refusal(403, "AccessDenied"), /403 AccessDenied, because/, /may not do this in bucket 'lab-a'/],
    ["no bucket", refusal(404, "NoSuchBucket"), /404 NoSuchBucket/, /make bucket 'lab-a' there/],
    ["a header that it does not know", refusal(501, "NotImplemented"), /501 NotImplemented/, undefined],
    [
      "another region",
      refusal(301, "PermanentRedirect", "", { "x-amz-bucket-region": "eu-north-1", location: "http://127.0.0.1:1/" }),
      /bucket 'lab-a' asks for region 'eu-north-1'/,
      /set 'region: eu-north-1' of remote 'far'/,
    ],
    [
      "another region in the signature",
      refusal(400, "AuthorizationHeaderMalformed", "<Region>eu-north-1</Region>"),
      /asks for region 'eu-north-1'/,
      /region: eu-north-1/,
    ],
  ];
  it.each(lasting)("%s: refused, with the reason", async (_name, answer, message, hint) => {
    await using server = await ScriptedServer.start();
    server.on(`HEAD ${object}`, raw(403, "", "")).on(`GET ${object}`, answer);
    await using adapter = adapterAt(server);
    const fault = await faultOf(adapter.list(url, "file", context));
    expect(fault).toMatchObject({ code: "TRANSFER_REFUSED" });
    expect(fault.details?.["missing"]).toBeUndefined();
    expect(fault.message).toMatch(message);
    if (hint) expect(fault.hint).toMatch(hint);
  });

  it("clocks that are apart are said, and may be put right meanwhile", async () => {
    await using server = await ScriptedServer.start();
    const date = new Date(context.clock.now() - 3_600_000).toUTCString();
    server
      .on(`HEAD ${object}`, raw(403, "", ""))
      .on(`GET ${object}`, refusal(403, "RequestTimeTooSkewed", "", { date }));
    await using adapter = adapterAt(server);
    const fault = await faultOf(adapter.list(url, "file", context));
    expect(fault).toMatchObject({ code: "TRANSFER", hint: expect.stringContaining("set the clock") });
    expect(fault.message).toMatch(/the clocks are (1h|59m \d+s|1h 1s) apart/);
  });

  it("of refusals only code and a short message are shown", async () => {
    await using server = await ScriptedServer.start();
    server.on(`HEAD ${object}`, raw(403, "", ""));
    server.on(
      `GET ${object}`,
      xml(400, `<Error><Code>Odd</Code><Message>${"\u009b31m &lt;b&gt; ".repeat(90)}</Message></Error>`),
    );
    await using adapter = adapterAt(server);
    const fault = await faultOf(adapter.list(url, "file", context));
    expect(fault.message.length).toBeLessThan(500);
    expect(fault.message).toContain("400 Odd, 31m <b> 31m <b>");
    expect(fault.message).not.toContain("\u009b");
    server.on(`GET ${object}`, xml(400, `<!DOCTYPE x [<!ENTITY a "aaaa">]><Error><Code>&a;</Code></Error>`));
    expect((await faultOf(adapter.list(url, "file", context))).message).toMatch(/: 400$/);
  });
});

describe("listings", () => {
  it("go on from page to page, whatever the store encodes", async () => {
    await using server = await ScriptedServer.start();
    const entry = (key: string): string =>
      `<Contents><Key>${key}</Key><Size>1</Size><ETag>&quot;e&quot;</ETag><LastModified>2026-01-01T00:00:00.000Z</LastModified></Contents>`;
    server.next(
      `GET /${bucket}/`,
      xml(
        200,
        `<ListBucketResult><EncodingType>url</EncodingType>${entry("data/x/a%2Bb+c")}<IsTruncated>true</IsTruncated><NextContinuationToken>1/+=</NextContinuationToken></ListBucketResult>`,
      ),
      xml(
        200,
        `<ListBucketResult>${entry("data/x/&lt;&#38;&#x20;")}<IsTruncated>false</IsTruncated></ListBucketResult>`,
      ),
    );
    await using adapter = adapterAt(server);
    const listed = await adapter.list(url, "directory", context);
    expect(listed).toEqual([
      { path: "a+b c", bytes: 1, mtimeMs: Date.UTC(2026, 0, 1), version: '"e"' },
      { path: "<& ", bytes: 1, mtimeMs: Date.UTC(2026, 0, 1), version: '"e"' },
    ]);
    expect(server.requests.map(({ query }) => query.get("continuation-token"))).toEqual([null, "1/+="]);
  });

  it("that never end, are no listing or say not where they go on are given up", async () => {
    const page = (more: string): Answer =>
      xml(200, `<ListBucketResult><IsTruncated>true</IsTruncated>${more}</ListBucketResult>`);
    const answers = [
      page("<NextContinuationToken>again</NextContinuationToken>"),
      page(""),
      raw(200, "text/html", "<html><body>sign in</body></html>"),
      xml(200, "<Other></Other>"),
      raw(200, "application/xml", "<ListBucketResult><IsTruncated>false</IsTruncated>"),
      xml(200, "<ListBucketResult></ListBucketResult>"),
      endless,
    ];
    for (const answer of answers) {
      await using server = await ScriptedServer.start();
      server.on(`GET /${bucket}/`, answer);
      await using adapter = adapterAt(server);
      expect(await faultOf(adapter.list(url, "directory", context))).toMatchObject({ code: "TRANSFER" });
      expect(server.requests.length).toBeLessThan(4);
    }
  });
});

describe("uploads in parts", () => {
  it("carry SHA-256 where the store keeps digests, else MD5", async () => {
    for (const keepsDigests of [true, false]) {
      await using server = await partsStore(keepsDigests);
      await using adapter = adapterAt(server);
      await sendLarge(adapter);
      expect(puts(server)).toHaveLength(3);
      const sent = puts(server).find(({ query }) => query.get("partNumber") === "1");
      expect(sent?.headers["x-amz-checksum-sha256"]).toBe(keepsDigests ? firstSha256 : undefined);
      expect(sent?.headers["content-md5"]).toEqual(keepsDigests ? undefined : expect.stringMatching(/^.{22}==$/));
      const ending = server.received(`POST ${object}`).at(-1)?.body ?? "";
      expect(ending.includes(`<ChecksumSHA256>${firstSha256.replace(/=$/, "=")}</ChecksumSHA256>`)).toBe(keepsDigests);
      expect(ending).toContain("<PartNumber>3</PartNumber><ETag>&#34;part-3&#34;</ETag>");
      const begun = server.received(`POST ${object}`)[0];
      expect(begun?.headers["x-amz-meta-siteagent-sha256"]).toBe(sha256(large));
    }
  });

  it("keep to the bandwidth of the remote, also small ones and what is read back", async () => {
    await using server = await partsStore(true);
    await using here = await temporaryDirectory();
    await using adapter = adapterAt(server);
    let flown = 0;
    let largest = 0;
    const remote = {
      begin: async () => {},
      done: () => {},
      failed: () => false,
      flow: async (bytes: number) => {
        flown += bytes;
        largest = Math.max(largest, bytes);
      },
    };
    const within = { ...context, remote };
    await writeFile(here.join("x"), large);
    const info = { bytes: large.byteLength, sha256: sha256(large), token: newToken() };
    await adapter.write(url, here.join("x"), info, within);
    expect(flown).toBe(large.byteLength);
    expect(largest).toBeLessThanOrEqual(1024 * 1024);
    await writeFile(here.join("y"), "mine");
    await adapter.write(url, here.join("y"), { bytes: 4, sha256: sha256("mine"), token: newToken() }, within);
    expect(flown).toBe(large.byteLength + 4);
    server.on(`HEAD ${object}`, raw(200, "", "", { etag, "content-length": "7" })).on(`GET ${object}`, whole);
    expect(await adapter.verify(url, within)).toEqual({ bytes: 7, sha256: sha256("content") });
    expect(flown).toBe(large.byteLength + 4 + 7);
  });

  it("F3: that lost a connection go on with the parts that arrived", async () => {
    await using server = await partsStore(true);
    await using adapter = adapterAt(server, { parts: 1 });
    server.next(`PUT ${object}`, server.lasting(`PUT ${object}`), answerLost(raw(200, "", "")));
    const fault = await faultOf(sendLarge(adapter));
    expect(fault).toMatchObject({ code: "TRANSFER", details: { advanced: true } });
    const part = `<Part><PartNumber>1</PartNumber><Size>${partBytes}</Size><ETag>"part-1"</ETag><ChecksumSHA256>${firstSha256}</ChecksumSHA256></Part>`;
    server.on(
      `GET ${object}`,
      xml(200, `<ListPartsResult><ChecksumAlgorithm>SHA256</ChecksumAlgorithm>${part}</ListPartsResult>`),
    );
    await sendLarge(adapter);
    expect(puts(server).map(({ query }) => query.get("partNumber"))).toEqual(["1", "2", "2", "3"]);
    expect(server.received(`POST ${object}`)).toHaveLength(2);
  });

  it("an error that comes with status 200 is one, and an answer that was lost is no loss", async () => {
    await using server = await partsStore(true);
    await using adapter = adapterAt(server);
    const begin = server.lasting(`POST ${object}`);
    server.next(`POST ${object}`, begin, refusal(200, "InternalError"));
    expect(await faultOf(sendLarge(adapter))).toMatchObject({
      code: "TRANSFER",
      details: { s3_code: "InternalError" },
    });
    expect(server.received(`DELETE ${object}`)).toHaveLength(0);
    // The store has ended it meanwhile: what lies there is made of our parts.
    const { createHash } = await import("node:crypto");
    const digest = (at: number): Buffer =>
      createHash("sha256")
        .update(large.subarray(at, Math.min(large.byteLength, at + partBytes)))
        .digest();
    const parts = [0, partBytes, 2 * partBytes].map(digest);
    const composite = createHash("sha256").update(Buffer.concat(parts)).digest("base64");
    server.next(`POST ${object}`, refusal(404, "NoSuchUpload"));
    server.next(`HEAD ${object}`, raw(404, "", ""));
    server.on(
      `HEAD ${object}`,
      raw(200, "", "", {
        etag: '"other"',
        "content-length": String(large.byteLength),
        "x-amz-checksum-sha256": `${composite}-3`,
      }),
    );
    await sendLarge(adapter);
    expect(await adapter.verify(url, context)).toEqual({ bytes: large.byteLength, sha256: sha256(large) });
  });

  it("that the store refuses for good are removed", async () => {
    await using server = await partsStore(true);
    await using adapter = adapterAt(server);
    server.on(`PUT ${object}`, refusal(403, "AccessDenied"));
    expect(await faultOf(sendLarge(adapter))).toMatchObject({ code: "TRANSFER_REFUSED" });
    expect(server.received(`DELETE ${object}`).map(({ query }) => query.get("uploadId"))).toEqual(["id-1"]);
  });
});

describe("keys", () => {
  const good = raw(200, "", "", { etag, "content-length": "7" });
  const idOf = ({ headers }: Received): string => /Credential=([^/]*)/.exec(headers.authorization ?? "")?.[1] ?? "none";
  const keysAnswer = (id: string, canaries: Canaries, expires: number): Answer =>
    json(200, {
      AccessKeyId: id,
      SecretAccessKey: canaries.make("a role's secret").replaceAll(/[^\w"']/g, ""),
      Token: canaries.make("a role's token").replaceAll(/[^\w]/g, ""),
      Expiration: new Date(expires).toISOString(),
    });

  it("that expired are read anew at once", async () => {
    await using server = await ScriptedServer.start();
    await using directory = await temporaryDirectory();
    const keys = await keyFiles(directory, { accessKey: "OLD", secretKey: "old-secret" });
    await using adapter = adapterAt(server, { keys });
    server.on(`HEAD ${object}`, raw(400, "", "")).on(`GET ${object}`, refusal(400, "ExpiredToken"));
    const fault = await faultOf(adapter.list(url, "file", context));
    expect(fault).toMatchObject({ code: "TRANSFER", details: { s3_code: "ExpiredToken" } });
    expect(fault.hint).toContain("renew the credentials of remote 'far'");
    await keyFiles(directory, { accessKey: "NEW", secretKey: "new-secret" });
    server.next(`GET ${object}`, refusal(400, "ExpiredToken"), good);
    await adapter.list(url, "file", context);
    expect(server.received(`GET ${object}`).map(idOf)).toEqual(["OLD", "OLD", "NEW"]);
  });

  it("of a machine's role are asked for by a token, kept, and renewed before they end", async () => {
    const canaries = new Canaries();
    await using server = await ScriptedServer.start();
    const role = "/latest/meta-data/iam/security-credentials/";
    server
      .on("PUT /latest/api/token", raw(200, "text/plain", "imds-token"))
      .on(`GET ${role}`, raw(200, "text/plain", "svc"));
    const now = context.clock.now();
    server.next(`GET ${role}svc`, keysAnswer("FIRST", canaries, now + 3_600_000));
    server.on(`GET ${role}svc`, keysAnswer("SECOND", canaries, now + 7_200_000));
    server.on(`HEAD ${object}`, good);
    const env = { AWS_EC2_METADATA_SERVICE_ENDPOINT: server.url };
    await using adapter = adapterAt(server, { keys: { kind: "instance" } }, env);
    let ahead = 0;
    const clock = { ...context.clock, now: () => now + ahead };
    for (ahead of [0, 3_000_000, 3_400_000]) await adapter.list(url, "file", { ...context, clock });
    expect(server.received(`HEAD ${object}`).map(idOf)).toEqual(["FIRST", "FIRST", "SECOND"]);
    expect(server.received(`GET ${role}`)[0]?.headers["x-aws-ec2-metadata-token"]).toBe("imds-token");
    expect(server.received(`HEAD ${object}`)[0]?.headers["x-amz-security-token"]).toMatch(/^canary/);
  });

  it("of a container's role are asked for where its environment says", async () => {
    const canaries = new Canaries();
    await using server = await ScriptedServer.start();
    await using directory = await temporaryDirectory();
    await writeFile(directory.join("token"), "pod-token\n");
    server.on("GET /keys", keysAnswer("POD", canaries, context.clock.now() + 3_600_000)).on(`HEAD ${object}`, good);
    const env = {
      AWS_CONTAINER_CREDENTIALS_FULL_URI: `${server.url}/keys`,
      AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE: directory.join("token"),
    };
    await using adapter = adapterAt(server, { keys: { kind: "container" } }, env);
    await adapter.list(url, "file", context);
    expect(server.received("GET /keys")[0]?.headers.authorization).toBe("pod-token");
    expect(server.received(`HEAD ${object}`).map(idOf)).toEqual(["POD"]);
    server.on("GET /keys", json(500, { Token: canaries.make("another token") }));
    await using other = adapterAt(server, { keys: { kind: "container" } }, env);
    const fault = await faultOf(other.list(url, "file", context));
    expect(fault).toMatchObject({
      code: "TRANSFER",
      message: expect.stringContaining("gives no keys: it answered 500"),
    });
    expect(
      leaksInText(JSON.stringify([fault.message, fault.details, String(fault.cause)]), canaries, "the fault"),
    ).toEqual([]);
    await using none = adapterAt(server, { keys: { kind: "container" } }, {});
    expect(await faultOf(none.list(url, "file", context))).toMatchObject({ code: "SECRET" });
  });

  it("are in no message, whatever the store quotes; anonymous requests have none", async () => {
    const canaries = new Canaries();
    await using server = await ScriptedServer.start();
    await using directory = await temporaryDirectory();
    const secretKey = canaries.make("the secret key");
    const keys = await keyFiles(directory, { accessKey: "AK", secretKey });
    server
      .on(`HEAD ${object}`, raw(403, "", ""))
      .on(
        `GET ${object}`,
        xml(
          403,
          `<Error><Code>AccessDenied</Code><Message>${Buffer.from(secretKey).toString("hex")} is wrong</Message></Error>`,
        ),
      );
    await using adapter = adapterAt(server, { keys });
    const fault = await faultOf(adapter.list(url, "file", context));
    const all = JSON.stringify([fault.message, fault.hint, fault.details, fault.stack, String(fault.cause)]);
    expect(leaksInText(all, canaries, "the fault")).toEqual([]);
    expect(fault.message).toContain("is wrong");
    await using nobody = adapterAt(server);
    server.on(`HEAD ${object}`, good);
    await nobody.list(url, "file", context);
    expect(server.requests.at(-1)?.headers.authorization).toBeUndefined();
  });
});

it("an account that may write but not look leaves outputs accepted", async () => {
  await using server = await ScriptedServer.start();
  await using here = await temporaryDirectory();
  await writeFile(here.join("x"), "mine");
  server.on(`HEAD ${object}`, raw(403, "", "")).on(`GET ${object}`, refusal(403, "AccessDenied"));
  server.on(`PUT ${object}`, raw(200, "", "", { etag }));
  await using engine = startEngine({ policy, stores: storeAt(bucket, settingsOf(server.url)) });
  const items = [item({ source: "x", target: url })];
  const { manifest } = await engine.run(request({ direction: "out", root: here.path, items }), context);
  expect(manifest).toMatchObject([{ bytes: 4, verified: "accepted" }]);
  const [sent] = puts(server);
  expect(sent?.body).toBe("mine");
  expect(sent?.headers["x-amz-checksum-sha256"]).toBe(Buffer.from(sha256("mine"), "hex").toString("base64"));
});

it("URLs that no remote leads to, and those with ports or queries, are refused", async () => {
  await using server = await ScriptedServer.start();
  const rules = ["s3://far/", "s3://other-bucket/", "s3://far:99/"];
  await using adapter = createS3Transfer({
    policy: compilePolicy({ sources: rules, destinations: rules }),
    stores: storeAt(bucket, settingsOf(server.url)),
  });
  const unknown = await faultOf(adapter.list("s3://other-bucket/x", "file", context));
  expect(unknown).toMatchObject({
    code: "TRANSFER_REFUSED",
    hint: "add 'other-bucket' to 'buckets' of a remote with s3",
  });
  expect(await faultOf(adapter.list("s3://far:99/x", "file", context))).toMatchObject({ code: "TRANSFER_REFUSED" });
  expect(await faultOf(adapter.list("s3://far/x?versionId=1", "file", context))).toMatchObject({ code: "POLICY" });
  expect(server.requests).toEqual([]);
});
