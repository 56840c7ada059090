import { createHash } from "node:crypto";
import { mkdir, readdir, readFile, truncate, writeFile } from "node:fs/promises";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { newToken } from "../../../src/common/token.ts";
import { createHttpTransfer } from "../../../src/transfer/http/index.ts";
import { Leftovers } from "../../../src/transfer/leftovers.ts";
import { compilePolicy } from "../../../src/transfer/policy.ts";
import { probeS3 } from "../../../src/transfer/s3/probe.ts";
import type { TransferAdapter } from "../../../src/transfer/types.ts";
import { describeTransfer } from "../../conformance/transfer.ts";
import { describeWithEngine } from "../../helpers/engines/index.ts";
import { RadosGateway } from "../../helpers/engines/radosgw-server.ts";
import { FaultProxy } from "../../helpers/fault-proxy.ts";
import { failOnLeakedProcesses } from "../../helpers/leaks.ts";
import { temporaryDirectory } from "../../helpers/temporary.ts";
import type { ChildTask } from "./crash-task.ts";
import { endingIn, goOn, killedAt } from "./lost-lines.ts";
import { keyFiles, partBytes, policy, presigned, raw, type S3Harness, s3Harness } from "./s3-harness.ts";
import { digestTree, faultOf, item, request, sha256, startEngine, testContext, writeTree } from "./setup.ts";

failOnLeakedProcesses();

const context = testContext();
const mebibyte = 1024 * 1024;

/** No two parts of it are alike. */
function numbered(bytes: number, first = 0): Buffer {
  const buffer = Buffer.alloc(bytes);
  for (let at = 0; at + 4 <= bytes; at += 4) buffer.writeUInt32LE(first + at, at);
  return buffer;
}

describeWithEngine("radosgw", "a real object store", () => {
  let gateway: RadosGateway;
  beforeAll(async () => {
    gateway = await RadosGateway.start();
  }, 180_000);
  afterAll(async () => {
    await gateway[Symbol.asyncDispose]();
  }, 60_000);

  describeTransfer("s3", () => s3Harness(gateway));

  /** Ids of uploads that were begun and not ended. */
  async function unfinished(far: S3Harness): Promise<readonly string[]> {
    const text = await (await raw(gateway, "GET", `${gateway.bucket}?uploads=`)).text();
    const all = [...text.matchAll(/<Upload>.*?<\/Upload>/gs)].map(([upload]) => upload);
    const prefix = far.prefix.slice(gateway.bucket.length + 1);
    return all
      .filter((upload) => upload.includes(`<Key>${prefix}`))
      .map((upload) => /<UploadId>(.*?)<\/UploadId>/.exec(upload)?.[1] ?? "");
  }

  async function begin(
    far: S3Harness,
    name: string,
    parts: readonly Buffer[],
    headers: Readonly<Record<string, string>> = {},
  ): Promise<string> {
    const text = await (await raw(gateway, "POST", `${far.prefix}${name}?uploads=`, undefined, headers)).text();
    const id = /<UploadId>(.*?)<\/UploadId>/.exec(text)?.[1] ?? "";
    for (const [index, part] of parts.entries()) {
      await raw(gateway, "PUT", `${far.prefix}${name}?partNumber=${index + 1}&uploadId=${id}`, part);
    }
    return id;
  }

  async function complete(far: S3Harness, name: string, id: string, parts: readonly Buffer[]): Promise<void> {
    const listed = parts.map((part, index) => {
      const md5 = createHash("md5").update(part).digest("hex");
      return `<Part><PartNumber>${index + 1}</PartNumber><ETag>"${md5}"</ETag></Part>`;
    });
    const text = `<CompleteMultipartUpload>${listed.join("")}</CompleteMultipartUpload>`;
    await raw(gateway, "POST", `${far.prefix}${name}?uploadId=${id}`, Buffer.from(text));
  }

  async function send(adapter: TransferAdapter, url: string, path: string, data: Buffer): Promise<void> {
    const info = { bytes: data.byteLength, sha256: sha256(data), token: newToken() };
    await adapter.write(url, path, info, context);
  }

  describe("large files", { timeout: 120_000 }, () => {
    it("go up in parts, and are known by digest although the store keeps none", async () => {
      await using far = await s3Harness(gateway);
      await using here = await temporaryDirectory();
      const data = numbered(12 * mebibyte + 3);
      await writeFile(here.join("x"), data);
      await send(far.adapter, far.url("x"), here.join("x"), data);
      expect(await far.adapter.verify(far.url("x"), context)).toEqual({ bytes: data.byteLength, sha256: sha256(data) });
      expect(sha256((await far.get("x")) ?? Buffer.alloc(0))).toBe(sha256(data));
      expect(await unfinished(far)).toEqual([]);
      const [listed] = await far.adapter.list(far.url("x"), "file", context);
      expect(listed?.version).toMatch(/^"[0-9a-f]{32}-3"$/);
    });

    it("that lie there already are not sent again by an agent that was started anew", async () => {
      await using proxy = await FaultProxy.start(Number(new URL(gateway.endpoint).port));
      await using far = await s3Harness(gateway, { endpoint: proxy.url });
      await using here = await temporaryDirectory();
      const data = numbered(17 * mebibyte);
      await writeFile(here.join("x"), data);
      await send(far.adapter, far.url("x"), here.join("x"), data);
      await using later = far.again();
      expect(await later.verify(far.url("x"), context)).toEqual({ bytes: data.byteLength, sha256: undefined });
      const before = proxy.bytes;
      await send(later, far.url("x"), here.join("x"), data);
      expect(proxy.bytes - before).toBeLessThan(mebibyte);
      expect(await later.verify(far.url("x"), context)).toEqual({ bytes: data.byteLength, sha256: sha256(data) });
      // Of the same size, in as many parts and with the same word on its digest, but other bytes: only those that lie there count.
      const other = numbered(17 * mebibyte, 1);
      const parts = Array.from({ length: 4 }, (_, index) => other.subarray(index * partBytes, (index + 1) * partBytes));
      const id = await begin(far, "z", parts, { "x-amz-meta-siteagent-sha256": sha256(data) });
      await complete(far, "z", id, parts);
      expect(sha256((await far.get("z")) ?? Buffer.alloc(0))).toBe(sha256(other));
      await send(later, far.url("z"), here.join("x"), data);
      expect(sha256((await far.get("z")) ?? Buffer.alloc(0))).toBe(sha256(data));
    });

    it("F3: go on with the parts that an earlier process left, and leave those of others alone", async () => {
      await using proxy = await FaultProxy.start(Number(new URL(gateway.endpoint).port));
      await using far = await s3Harness(gateway, { endpoint: proxy.url });
      await using here = await temporaryDirectory();
      const data = numbered(12 * mebibyte);
      await writeFile(here.join("x"), data);
      await begin(far, "x", [data.subarray(0, partBytes), data.subarray(partBytes, 2 * partBytes)]);
      await send(far.adapter, far.url("x"), here.join("x"), data);
      expect(proxy.bytes).toBeLessThan(3 * mebibyte);
      expect(await unfinished(far)).toEqual([]);
      expect(sha256((await far.get("x")) ?? Buffer.alloc(0))).toBe(sha256(data));
      const foreign = await begin(far, "y", [data.subarray(partBytes, 2 * partBytes)]);
      const empty = await begin(far, "y", []);
      await send(far.adapter, far.url("y"), here.join("x"), data);
      expect(sha256((await far.get("y")) ?? Buffer.alloc(0))).toBe(sha256(data));
      expect([...(await unfinished(far))].toSorted()).toEqual([foreign, empty].toSorted());
    });

    it("F3: an output whose agent is killed between parts is sent on by the next one", async () => {
      await using proxy = await FaultProxy.start(Number(new URL(gateway.endpoint).port));
      await using far = await s3Harness(gateway, { endpoint: proxy.url, parts: 1 });
      await using here = await temporaryDirectory();
      const data = numbered(24 * mebibyte);
      await writeFile(here.join("x"), data);
      const task: ChildTask = {
        token: newToken(),
        direction: "out",
        root: here.path,
        rules: ["s3://far/data/"],
        items: [item({ source: "x", target: far.url("x") })],
        s3: { bucket: far.bucket, settings: far.settings },
      };
      await killedAt(here, task, "after-append@3");
      expect(await unfinished(far)).toHaveLength(1);
      const sent = proxy.bytes;
      expect(sent).toBeGreaterThan(15 * mebibyte);
      await goOn(task);
      expect(proxy.bytes - sent).toBeLessThan(11 * mebibyte);
      expect(await unfinished(far)).toEqual([]);
      expect(sha256((await far.get("x")) ?? Buffer.alloc(0))).toBe(sha256(data));
    });

    it("F3: come and go whole over connections that are lost again and again", async () => {
      await using proxy = await FaultProxy.start(Number(new URL(gateway.endpoint).port));
      await using far = await s3Harness(gateway, { endpoint: proxy.url, parts: 2 });
      await using here = await temporaryDirectory();
      await using engine = startEngine({
        policy,
        stores: far.find,
        retry: { tries: 5, backoff: { baseMs: 1, capMs: 10 } },
      });
      const data = numbered(24 * mebibyte);
      await far.put("x", data);
      let lost = 0;
      // A part gets through now and then.
      proxy.fault = { kind: "sever", afterBytes: () => (5.5 + (lost++ % 3)) * mebibyte };
      const items = [item({ source: far.url("x"), target: "x" })];
      await engine.run(request({ direction: "in", root: here.path, items }), context);
      expect(sha256(await readFile(here.join("x")))).toBe(sha256(data));
      const before = lost;
      const back = [item({ source: "x", target: far.url("y") })];
      const { manifest } = await engine.run(request({ direction: "out", root: here.path, items: back }), context);
      expect(manifest).toMatchObject([{ bytes: data.byteLength, sha256: sha256(data), verified: "digest" }]);
      expect(lost - before).toBeGreaterThan(2);
      expect(sha256((await far.get("y")) ?? Buffer.alloc(0))).toBe(sha256(data));
      expect(await unfinished(far)).toEqual([]);
    });

    it("of a job that is given up leave no parts there, also when another process ends it", async () => {
      await using proxy = await FaultProxy.start(Number(new URL(gateway.endpoint).port));
      await using far = await s3Harness(gateway, { endpoint: proxy.url, parts: 1 });
      await using here = await temporaryDirectory();
      const data = numbered(12 * mebibyte);
      await writeFile(here.join("x"), data);
      const start = () => {
        const leftovers = new Leftovers(here.join("leftovers"));
        return startEngine({ policy, stores: far.find, retry: { tries: 1 }, leftovers });
      };
      const items = [item({ source: "x", target: far.url("x") })];
      const sending = request({ direction: "out", root: here.path, items });
      await using first = start();
      const stopper = new AbortController();
      proxy.fault = endingIn(proxy, 7 * mebibyte, stopper);
      await faultOf(first.run(sending, testContext({ signal: stopper.signal })));
      proxy.fault = { kind: "pass" };
      expect(await unfinished(far)).toHaveLength(1);
      await using second = start();
      await second.abandon(newToken(), context);
      expect(await unfinished(far)).toHaveLength(1);
      await second.abandon(sending.token, context);
      expect(await unfinished(far)).toEqual([]);
      expect(await readdir(here.join("leftovers"))).toEqual([]);
      // A file that is another by now: its parts are of no use to a later try.
      await truncate(here.join("x"), 7 * mebibyte);
      const info = { bytes: data.byteLength, sha256: sha256(data), token: newToken() };
      await faultOf(far.adapter.write(far.url("x"), here.join("x"), info, context));
      expect(await unfinished(far)).toEqual([]);
      expect(await far.get("x")).toBeUndefined();
    });
  });

  it("F8: any name that is a path comes and goes as it is, and others are refused with the reason", async () => {
    await using far = await s3Harness(gateway);
    await using here = await temporaryDirectory();
    await using engine = startEngine({ policy, stores: far.find });
    const names = [
      "a b+c%20&d",
      "a%2eb",
      "%2e%2e%2Fx",
      "50%25",
      " leading",
      "quote'\"<x>;=@!$,~()",
      "ünï/日本 語.txt",
      "-rf",
      ".hidden",
      "a*b?[c]{d}",
    ];
    const files = Object.fromEntries(names.map((name, index) => [name, `content ${index}`]));
    await mkdir(here.join("work"));
    await writeTree(here.join("work"), files);
    const out = [item({ source: ".", target: far.url("set/"), kind: "directory" })];
    await engine.run(request({ direction: "out", root: here.join("work"), items: out }), context);
    for (const [name, text] of Object.entries(files)) expect((await far.get(`set/${name}`))?.toString()).toBe(text);
    await far.put("set/marker/", Buffer.alloc(0));
    await mkdir(here.join("in"));
    const back = [item({ source: far.url("set/"), target: "again", kind: "directory" })];
    await engine.run(request({ direction: "in", root: here.join("in"), items: back }), context);
    expect(await digestTree(here.join("in/again"))).toEqual(await digestTree(here.join("work")));
    const odd = [
      ["up/..%2Fx", "has the component '..'"],
      ["up//x", "is absolute"],
      ["up/a//x", "an empty component"],
      ["up/a%00b", "a control character"],
      ["up/x%5Cy", "a backslash"],
    ] as const;
    for (const [index, [key, reason]] of odd.entries()) {
      const [directory = "", ...rest] = key.split("/");
      const answer = await raw(gateway, "PUT", `${far.prefix}${directory}${index}/${rest.join("/")}`, Buffer.from("x"));
      if (!answer.ok) continue; // this store does not take such a key at all
      const items = [item({ source: far.url(`${directory}${index}/`), target: "up", kind: "directory" })];
      const fault = await faultOf(engine.run(request({ direction: "in", root: here.join("in"), items }), context));
      expect(fault).toMatchObject({ code: "UNSAFE_PATH" });
      expect(fault.message).toContain(reason);
    }
    await far.put("case/A", Buffer.from("1"));
    await far.put("case/a", Buffer.from("2"));
    const items = [item({ source: far.url("case/"), target: "case", kind: "directory" })];
    const fault = await faultOf(engine.run(request({ direction: "in", root: here.join("in"), items }), context));
    expect(fault).toMatchObject({ code: "UNSAFE_PATH" });
  });

  it("lists more than a page, and says that nothing is below a prefix", { timeout: 120_000 }, async () => {
    await using far = await s3Harness(gateway);
    const names = Array.from({ length: 1_003 }, (_, index) => `many/${String(index).padStart(4, "0")}`);
    const waiting = names.toReversed();
    const worker = async (): Promise<void> => {
      for (let name = waiting.pop(); name !== undefined; name = waiting.pop()) await far.put(name, Buffer.from(name));
    };
    await Promise.all(Array.from({ length: 16 }, worker));
    const listed = await far.adapter.list(far.url("many/"), "directory", context);
    expect(listed.map(({ path }) => `many/${path}`).toSorted()).toEqual(names);
    const some = await far.adapter.list(far.url("many/0*9"), "glob", context);
    expect(some).toHaveLength(100);
    const none = await faultOf(far.adapter.list(far.url("man"), "directory", context));
    expect(none).toMatchObject({ code: "TRANSFER_REFUSED", details: { missing: true } });
    expect(await far.adapter.list(far.url("many/x*"), "glob", context)).toEqual([]);
  });

  it("F4: an object of another content stays where the site file says so", async () => {
    await using far = await s3Harness(gateway, { existing: "refuse" });
    await using here = await temporaryDirectory();
    await writeFile(here.join("x"), "mine");
    const mine = Buffer.from("mine");
    await send(far.adapter, far.url("x"), here.join("x"), mine);
    await send(far.again(), far.url("x"), here.join("x"), mine);
    await far.put("y", Buffer.from("theirs"));
    const fault = await faultOf(send(far.adapter, far.url("y"), here.join("x"), mine));
    expect(fault).toMatchObject({ code: "TRANSFER_REFUSED", details: { exists: true } });
    expect((await far.get("y"))?.toString()).toBe("theirs");
    await using replacing = far.again({ existing: "replace" });
    await send(replacing, far.url("y"), here.join("x"), mine);
    expect((await far.get("y"))?.toString()).toBe("mine");
  });

  it("a digest that somebody copied to other bytes is not believed", async () => {
    await using far = await s3Harness(gateway);
    const told = { "x-amz-meta-siteagent-sha256": sha256("mine"), "x-amz-meta-siteagent-md5": "0".repeat(32) };
    await raw(gateway, "PUT", `${far.prefix}x`, Buffer.from("nine"), told);
    expect(await far.adapter.verify(far.url("x"), context)).toEqual({ bytes: 4, sha256: sha256("nine") });
    await using here = await temporaryDirectory();
    await writeFile(here.join("x"), "mine");
    await send(far.adapter, far.url("y"), here.join("x"), Buffer.from("mine"));
    const [listed] = await far.again().list(far.url("y"), "file", context);
    expect(listed).toMatchObject({ bytes: 4, sha256: sha256("mine") });
    await using bySize = far.again({ verify: "size" });
    expect(await bySize.verify(far.url("y"), context)).toEqual({ bytes: 4, sha256: undefined });
  });

  it("refusals name the store's code, and keys that were put right are used at once", async () => {
    await using directory = await temporaryDirectory();
    await using far = await s3Harness(gateway);
    await far.put("x", Buffer.from("x"));
    const wrongSecret = await keyFiles(directory, { accessKey: gateway.accessKey, secretKey: "wrong-secret" });
    const refused = await faultOf(far.again({ keys: wrongSecret }).list(far.url("x"), "file", context));
    expect(refused).toMatchObject({
      code: "TRANSFER_REFUSED",
      details: { status: 403, s3_code: "SignatureDoesNotMatch" },
    });
    const keys = await keyFiles(directory, { accessKey: "NOBODY", secretKey: gateway.secretKey });
    await using adapter = far.again({ keys });
    const unknown = await faultOf(adapter.list(far.url("x"), "file", context));
    expect(unknown).toMatchObject({ code: "TRANSFER_REFUSED", details: { s3_code: "InvalidAccessKeyId" } });
    expect(unknown.hint).toContain("check the credentials of remote 'far'");
    await keyFiles(directory, gateway);
    expect(await adapter.list(far.url("x"), "file", context)).toHaveLength(1);
    const store = { label: "far", bucket: "no-such-bucket", settings: far.settings };
    const probe = await probeS3([store], {}, context);
    expect(probe).toMatchObject({
      ok: false,
      reason: expect.stringContaining("404 NoSuchBucket"),
      hint: expect.stringContaining("make bucket"),
    });
    expect(await probeS3([{ ...store, bucket: gateway.bucket }], {}, context)).toMatchObject({ ok: true });
  });

  it("signed URLs that the store's owner made work over http, and are not shown", async () => {
    await using far = await s3Harness(gateway);
    await using here = await temporaryDirectory();
    await far.put("x", Buffer.from("signed for"));
    const rules = [`${gateway.endpoint}/${far.prefix}`];
    await using adapter = createHttpTransfer({ policy: compilePolicy({ sources: rules, destinations: rules }) });
    const get = await presigned(gateway, "GET", `${far.prefix}x`);
    const [file] = await adapter.list(get, "file", context);
    if (!file) throw new Error("nothing listed");
    const read: Buffer[] = [];
    for await (const piece of await adapter.read(get, file, 0, context)) read.push(Buffer.from(piece));
    expect(Buffer.concat(read).toString()).toBe("signed for");
    await writeFile(here.join("y"), "sent");
    const put = await presigned(gateway, "PUT", `${far.prefix}y`);
    await send(adapter, put, here.join("y"), Buffer.from("sent"));
    expect((await far.get("y"))?.toString()).toBe("sent");
    const forged = get.replace(/Signature=.{8}/, "Signature=00000000");
    const fault = await faultOf(adapter.list(forged, "file", context));
    expect(fault).toMatchObject({ code: "TRANSFER_REFUSED", details: { status: 403 } });
    expect(JSON.stringify([fault.message, fault.hint, fault.details])).not.toMatch(/Signature|Credential/);
  });
});
