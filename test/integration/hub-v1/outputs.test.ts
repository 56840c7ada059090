import { createHash } from "node:crypto";
import { readFile } from "node:fs/promises";
import { expect, it } from "vitest";
import { uploadCapBytes } from "../../../src/hub/v1/bodies.ts";
import { temporaryDirectory } from "../../helpers/temporary.ts";
import { onBothStores, startTestHub } from "./hub.ts";
import { testSite } from "./site.ts";

const sha256 = (bytes: Uint8Array): string => createHash("sha256").update(bytes).digest("hex");

onBothStores("outputs and files", (kind) => {
  it("stores verified uploads, lists them with the manifest and serves them whole or in ranges", async () => {
    await using hub = await startTestHub(kind);
    await using site = await testSite(hub, "lab-a");
    await using directory = await temporaryDirectory();
    const client = await hub.client("submitter");
    await client.submit({ workflow: "w" });
    const claim = await site.take("w");
    const bytes = Buffer.from("0123456789".repeat(1000));
    const put = (path: string, digest: string, body = bytes) =>
      site.call("PUT", `/jobs/${claim.job}/outputs/${path}?output=o&epoch=${claim.epoch}&sha256=${digest}`, body);
    expect((await put("a/b%20c.txt", sha256(bytes))).body).toEqual({ bytes: bytes.length, sha256: sha256(bytes) });
    expect((await put("a/b%20c.txt", sha256(Buffer.from("x")))).body["code"]).toBe("DIGEST_MISMATCH");
    expect((await put("a%2F..%2Fc", sha256(bytes))).body["code"]).toBe("UNSAFE_PATH");
    const big = Buffer.alloc(uploadCapBytes + 1);
    expect((await put("big", sha256(big), big)).status).toBe(413);
    const kept = { output: "o", path: "a/b c.txt", bytes: bytes.length, sha256: sha256(bytes), stored: false };
    const site_only = { output: "p", path: "far", bytes: 1, sha256: "c".repeat(64), stored: true, url: "sftp://x/far" };
    await site.finish(claim, { outputs: [kept, site_only] });
    expect(await client.outputs.list(claim.job)).toEqual([
      { ...kept, stored: true },
      { ...site_only, stored: false },
    ]);
    const page = (query: string) => site.call("GET", `/jobs/${claim.job}/outputs?${query}`);
    const first = (await page("limit=1")).body;
    expect(first).toMatchObject({ outputs: [{ path: "a/b c.txt" }], next_cursor: expect.any(String) as unknown });
    const second = (await page(`limit=1&cursor=${String(first["next_cursor"])}`)).body;
    expect(second).toMatchObject({ outputs: [{ path: "far" }], next_cursor: null });
    expect((await page("path=far")).body).toMatchObject({ outputs: [{ path: "far" }], next_cursor: null });
    expect((await page("limit=0")).status).toBe(422);
    expect(Buffer.from(await client.outputs.read(claim.job, "a/b c.txt"))).toEqual(bytes);
    await expect(client.outputs.read(claim.job, "far")).rejects.toMatchObject({
      code: "NOT_FOUND",
      hint: "it lies at sftp://x/far",
    });
    await client.outputs.save(claim.job, "a/b c.txt", directory.join("deep", "copy.txt"));
    expect(await readFile(directory.join("deep", "copy.txt"))).toEqual(bytes);
    const range = await site.call("GET", `/jobs/${claim.job}/outputs/a/b%20c.txt`, undefined, { range: "bytes=9995-" });
    expect(range).toMatchObject({ status: 206, body: { text: "56789" } });
    const beyond = await site.call("GET", `/jobs/${claim.job}/outputs/a/b%20c.txt`, undefined, {
      range: "bytes=10000-",
    });
    expect(beyond.status).toBe(416);
  });

  it("refuses uploads of a site that does not hold the job", async () => {
    await using hub = await startTestHub(kind);
    await using site = await testSite(hub, "lab-a");
    await using other = await testSite(hub, "lab-b");
    const client = await hub.client("submitter");
    await client.submit({ workflow: "w" });
    const claim = await site.take("w");
    const digest = sha256(Buffer.from("x"));
    const path = `/jobs/${claim.job}/outputs/x?output=o&epoch=${claim.epoch}&sha256=${digest}`;
    expect((await other.call("PUT", path, "x")).body["code"]).toBe("STALE_EPOCH");
  });

  it("keeps input files under names of their own, unchanged for ever, readable by sites", async () => {
    await using hub = await startTestHub(kind);
    await using site = await testSite(hub, "lab-a");
    const client = await hub.client("submitter");
    const other = await hub.client("submitter", "bob");
    const bytes = Buffer.from("ACGT");
    const file = await client.files.put("reads.fq", bytes);
    expect(file).toMatchObject({
      name: "reads.fq",
      bytes: 4,
      sha256: sha256(bytes),
      url: `${hub.url}/siteagent/v1/files/reads.fq`,
    });
    expect(await client.files.put("reads.fq", bytes)).toEqual(file);
    await expect(other.files.put("reads.fq", Buffer.from("TTTT"))).rejects.toMatchObject({ code: "CONFLICT" });
    await expect(client.files.put("..", bytes)).rejects.toMatchObject({
      code: expect.stringMatching(/NOT_FOUND|INVALID/),
    });
    expect((await site.call("GET", "/files/reads.fq")).body).toEqual({ text: "ACGT" });
    await expect(other.files.remove("reads.fq")).rejects.toMatchObject({ code: "NOT_FOUND" });
    await client.files.remove("reads.fq");
    expect(await client.files.list()).toEqual([]);
  });
});
