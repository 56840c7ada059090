import { appendFile, chmod, copyFile, mkdir, readdir, readFile, stat, utimes, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import type { InputCache, InputCacheOptions } from "../../../src/transfer/cache/index.ts";
import type { TransferEngine, TransferOutcome } from "../../../src/transfer/types.ts";
import { temporaryDirectory, type TemporaryDirectory } from "../../helpers/temporary.ts";
import { waitFor } from "../../helpers/wait.ts";
import { answerFile, type ScriptedServer, serve } from "./servers.ts";
import { faultOf, item, namesBelow, request, sha256, startEngine, testCache, testContext } from "./setup.ts";

const mib = 1024 * 1024;
const data = Buffer.alloc(2 * mib + 7, "ACGTTGCA-reads-");

/** Files with ETags by path; a missing one is 404. */
function serveFiles(files: Readonly<Record<string, Uint8Array>>): Promise<ScriptedServer> {
  return serve((incoming, response) => {
    const content = files[incoming.url ?? ""];
    if (content) answerFile(incoming, response, content);
    else response.writeHead(404).end();
  });
}

function gets(server: ScriptedServer): number {
  // Of an empty file its first byte is asked for to be sure.
  return server.seen.filter(({ method, headers }) => method === "GET" && headers.range !== "bytes=0-0").length;
}

/** Comparing large buffers member by member takes the tests seconds. */
async function digestOf(path: string): Promise<string> {
  return sha256(await readFile(path));
}

interface Bench extends AsyncDisposable {
  readonly cache: InputCache;
  readonly engine: TransferEngine;
  readonly objects: string;
  /** Stages `items` in for a job of its own, whose directory is called `job`. */
  stage(job: string, items: Readonly<Record<string, string>>, promised?: string): Promise<TransferOutcome>;
}

function bench(directory: TemporaryDirectory, server: ScriptedServer, options: Partial<InputCacheOptions> = {}): Bench {
  const cache = testCache({ directory: directory.join("cache"), ...options });
  const engine = startEngine({ policy: { sources: [server.url], destinations: [] }, cache });
  return {
    cache,
    engine,
    objects: directory.join("cache/objects"),
    stage: (job, items, expectedSha256) =>
      engine.run(
        request({
          direction: "in",
          root: directory.join(job),
          items: Object.entries(items).map(([target, path]) =>
            item({ name: target, source: `${server.url}${path}`, target, expectedSha256 }),
          ),
        }),
        testContext(),
      ),
    [Symbol.asyncDispose]: () => engine[Symbol.asyncDispose](),
  };
}

/** Paths of the files in a cache. */
async function objectsIn(objects: string): Promise<readonly string[]> {
  return (await namesBelow(objects)).filter((name) => name.includes("/")).map((name) => join(objects, name));
}

async function onlyObject(objects: string): Promise<string> {
  const [path, ...others] = await objectsIn(objects);
  expect(others).toEqual([]);
  return path ?? "";
}

describe("a second stage-in of the same inputs", () => {
  it("moves no bytes, and gives each job a file of its own", async () => {
    await using directory = await temporaryDirectory();
    await using server = await serveFiles({ "/reads": data, "/index": Buffer.from("small"), "/none": Buffer.alloc(0) });
    await using site = bench(directory, server);
    const items = { reads: "reads", "db/index": "index", none: "none" };
    expect((await site.stage("one", items)).movedBytes).toBe(data.byteLength + 5);
    expect(gets(server)).toBe(3);
    await appendFile(directory.join("one/reads"), "the job writes to its input");
    const second = await site.stage("two", items);
    expect(second.movedBytes).toBe(0);
    expect(second.manifest.map(({ path, sha256: digest }) => [path, digest])).toEqual([
      ["db/index", sha256("small")],
      ["none", sha256("")],
      ["reads", sha256(data)],
    ]);
    expect(gets(server)).toBe(3);
    expect(await digestOf(directory.join("two/reads"))).toBe(sha256(data));
    await appendFile(directory.join("two/reads"), "this one, too");
    expect((await site.stage("three", items)).movedBytes).toBe(0);
    expect(await digestOf(directory.join("three/reads"))).toBe(sha256(data));
    expect(await namesBelow(directory.join("three"))).toEqual(["db", "db/index", "none", "reads"]);
    expect(site.cache.view()).toMatchObject({ files: 3, hits: 6, misses: 3, spoilt: 0, problem: undefined });
    expect(site.cache.view().savedBytes).toBe(2 * (data.byteLength + 5));
  });

  it("goes by the digest that a job promises, wherever the file lies; the source is asked all the same", async () => {
    await using directory = await temporaryDirectory();
    await using server = await serveFiles({ "/a": data, "/b": data });
    await using site = bench(directory, server, { trust: "digest" });
    await site.stage("one", { x: "a" }, sha256(data));
    expect((await site.stage("two", { x: "b" }, sha256(data))).manifest[0]).toMatchObject({ verified: "digest" });
    expect(gets(server)).toBe(1);
    expect((await faultOf(site.stage("three", { x: "gone" }, sha256(data)))).details).toMatchObject({ missing: true });
    await site.stage("four", { x: "a" });
    expect(gets(server)).toBe(2);
  });

  it("notices that the source has another version", async () => {
    await using directory = await temporaryDirectory();
    const files: Record<string, Uint8Array> = { "/reads": data };
    await using server = await serveFiles(files);
    await using site = bench(directory, server);
    await site.stage("one", { x: "reads" });
    files["/reads"] = Buffer.from("newer");
    expect((await site.stage("two", { x: "reads" })).movedBytes).toBe(5);
    expect(await readFile(directory.join("two/x"), "utf8")).toBe("newer");
  });

  it("believes no time of change that is too near, and nothing where the source tells no version", async () => {
    await using directory = await temporaryDirectory();
    let modified: Date | undefined;
    await using server = await serve((incoming, response) => {
      const headers = { "content-length": 5, ...(modified && { "last-modified": modified.toUTCString() }) };
      response.writeHead(200, headers).end(incoming.method === "HEAD" ? undefined : "reads");
    });
    await using site = bench(directory, server);
    for (const [age, again] of [
      [undefined, 5],
      [5_000, 5],
      [3_600_000, 0],
    ] as const) {
      modified = age === undefined ? undefined : new Date(Date.now() - age);
      await site.stage(`one-${age}`, { x: "reads" });
      expect((await site.stage(`two-${age}`, { x: "reads" })).movedBytes).toBe(again);
    }
  });

  it("survives a restart of the agent", async () => {
    await using directory = await temporaryDirectory();
    await using server = await serveFiles({ "/reads": data });
    await using before = bench(directory, server);
    await before.stage("one", { x: "reads" });
    await using after = bench(directory, server);
    expect((await after.stage("two", { x: "reads" })).movedBytes).toBe(0);
  });
});

describe("jobs that want the same missing input at the same time", () => {
  it("fetch it once", async () => {
    await using directory = await temporaryDirectory();
    await using server = await serveFiles({ "/reads": data, "/index": Buffer.alloc(mib, "i") });
    await using site = bench(directory, server);
    const jobs = Array.from({ length: 5 }, (_, n) => {
      // In either order: nobody waits for somebody who waits for him.
      return site.stage(`job-${n}`, n % 2 === 0 ? { x: "reads", y: "index" } : { x: "index", y: "reads" });
    });
    const moved = (await Promise.all(jobs)).reduce((sum, { movedBytes }) => sum + movedBytes, 0);
    expect(moved).toBe(data.byteLength + mib);
    expect(gets(server)).toBe(2);
    for (let n = 0; n < 5; n++)
      expect(await digestOf(directory.join(`job-${n}/${n % 2 === 0 ? "x" : "y"}`))).toBe(sha256(data));
  });

  it("go on when the one that fetches is cancelled: one of them fetches it", async () => {
    await using directory = await temporaryDirectory();
    let slow = true;
    await using server = await serve((incoming, response) => {
      if (incoming.method === "HEAD" || !slow) return answerFile(incoming, response, data);
      response.writeHead(200, { etag: `"${sha256(data).slice(0, 12)}"`, "content-length": data.byteLength });
      return void response.write(data.subarray(0, 10));
    });
    await using site = bench(directory, server);
    const cancelled = new AbortController();
    const items = [item({ source: `${server.url}reads`, target: "x" })];
    const first = site.engine.run(
      request({ direction: "in", root: directory.join("first"), items }),
      testContext({ signal: cancelled.signal }),
    );
    await waitFor(() => gets(server) === 1, { what: "the first job to fetch" });
    const heads = (): number => server.seen.filter(({ method }) => method === "HEAD").length;
    const others = ["two", "three", "four"].map((job) => site.stage(job, { x: "reads" }));
    await waitFor(() => heads() === 4, { what: "all to have asked" });
    slow = false;
    cancelled.abort();
    expect(await faultOf(first)).toMatchObject({ code: "CANCELLED" });
    await Promise.all(others);
    expect(gets(server)).toBe(2);
    expect(await digestOf(directory.join("four/x"))).toBe(sha256(data));
  });

  it("go on by themselves when the one that fetches fails, without its failure", async () => {
    await using directory = await temporaryDirectory();
    const held = Promise.withResolvers<void>();
    let refused = 0;
    await using server = await serve((incoming, response) => {
      if (incoming.method === "HEAD") return answerFile(incoming, response, data);
      if (refused++ > 0) return answerFile(incoming, response, data);
      return void held.promise.then(() => response.writeHead(403).end());
    });
    await using site = bench(directory, server);
    const first = faultOf(site.stage("one", { x: "reads" }));
    await waitFor(() => gets(server) === 1, { what: "the first job to fetch" });
    const second = site.stage("two", { x: "reads" });
    await waitFor(() => server.seen.length >= 3, { what: "the second job to have asked" });
    held.resolve();
    expect(await first).toMatchObject({ code: "TRANSFER_REFUSED" });
    expect((await second).movedBytes).toBe(data.byteLength);
  });

  it("hold up nothing else of the same host while they wait", async () => {
    await using directory = await temporaryDirectory();
    const held = Promise.withResolvers<void>();
    await using server = await serve((incoming, response) => {
      if (incoming.method === "HEAD" || incoming.url === "/other") return answerFile(incoming, response, data);
      return void held.promise.then(() => answerFile(incoming, response, data));
    });
    await using site = bench(directory, server);
    const waiting = Array.from({ length: 8 }, (_, n) => site.stage(`job-${n}`, { x: "slow" }));
    await waitFor(() => gets(server) === 1, { what: "one to fetch" });
    expect((await site.stage("other", { x: "other" })).movedBytes).toBe(data.byteLength);
    held.resolve();
    await Promise.all(waiting);
    expect(gets(server)).toBe(2);
  });
});

describe("a file of the cache that is not what its name says", () => {
  it.each([
    ["altered", async (path: string) => await writeFile(path, Buffer.alloc(data.byteLength, "x"))],
    ["cut", async (path: string) => await writeFile(path, data.subarray(0, 1_000))],
    ["empty", async (path: string) => await writeFile(path, "")],
  ])("is noticed when it was %s, replaced, and reaches no job", async (_, spoil) => {
    await using directory = await temporaryDirectory();
    await using server = await serveFiles({ "/reads": data });
    await using site = bench(directory, server);
    await site.stage("one", { x: "reads" });
    await spoil(await onlyObject(site.objects));
    expect((await site.stage("two", { x: "reads" })).movedBytes).toBe(data.byteLength);
    expect(await digestOf(directory.join("two/x"))).toBe(sha256(data));
    expect((await site.stage("three", { x: "reads" })).movedBytes).toBe(0);
    expect(site.cache.view().files).toBe(1);
  });

  it("is counted, and its promise by a job with another size spoils nothing", async () => {
    await using directory = await temporaryDirectory();
    await using server = await serveFiles({ "/reads": data, "/other": Buffer.from("other") });
    await using site = bench(directory, server);
    await site.stage("one", { x: "reads" });
    expect(await faultOf(site.stage("two", { x: "other" }, sha256(data)))).toMatchObject({ code: "DIGEST_MISMATCH" });
    expect((await site.stage("three", { x: "reads" })).movedBytes).toBe(0);
    expect(site.cache.view().spoilt).toBe(0);
    await writeFile(await onlyObject(site.objects), Buffer.alloc(data.byteLength, "x"));
    await site.stage("four", { x: "reads" });
    expect(site.cache.view().spoilt).toBe(1);
  });
});

describe("room", () => {
  it("is made of what was used least lately", async () => {
    await using directory = await temporaryDirectory();
    const files = Object.fromEntries(["a", "b", "c", "d"].map((name) => [`/${name}`, Buffer.alloc(mib, name)]));
    await using server = await serveFiles(files);
    await using site = bench(directory, server, { maxBytes: 3.5 * mib });
    for (const name of ["a", "b", "c"]) await site.stage(`one-${name}`, { x: name });
    const objects = await objectsIn(site.objects);
    for (const path of objects) {
      const age = { a: 300, b: 200, c: 100 }[(await readFile(path, "latin1"))[0] ?? ""] ?? 0;
      const used = new Date(Date.now() - age * 1_000);
      await utimes(path, used, used);
    }
    expect((await site.stage("two-a", { x: "a" })).movedBytes).toBe(0); // so b is the oldest
    await site.stage("one-d", { x: "d" });
    expect(site.cache.view()).toMatchObject({ files: 3, bytes: 3 * mib, evicted: 1 });
    const moved: Record<string, number> = {};
    for (const name of ["a", "c", "d", "b"]) moved[name] = (await site.stage(`three-${name}`, { x: name })).movedBytes;
    expect(moved).toEqual({ a: 0, c: 0, d: 0, b: mib });
  });

  it("is not made for a file that is larger than all of it, nor where the site wants more left free", async () => {
    await using directory = await temporaryDirectory();
    await using server = await serveFiles({ "/reads": data, "/small": Buffer.alloc(1_000, "s") });
    await using site = bench(directory, server, { maxBytes: mib });
    await site.stage("one", { x: "reads", y: "small" });
    expect(site.cache.view()).toMatchObject({ files: 1, bytes: 1_000 });
    site.cache.configure({ maxBytes: mib, placing: "copy", trust: "version", minFreeBytes: Number.MAX_SAFE_INTEGER });
    expect((await site.stage("two", { x: "reads", y: "small" })).movedBytes).toBe(data.byteLength);
    await site.cache.makeRoom(testContext());
    expect(site.cache.view()).toMatchObject({ files: 0, bytes: 0 });
    expect((await site.stage("three", { y: "small" })).movedBytes).toBe(1_000);
    expect(site.cache.view()).toMatchObject({ files: 0, problem: undefined });
  });

  it.each(["ENOSPC", "EDQUOT"])(
    "is made when the disk says %s, which no free space tells; then it is done without",
    async (code) => {
      await using directory = await temporaryDirectory();
      await using server = await serveFiles({ "/a": Buffer.alloc(mib, "a"), "/b": Buffer.alloc(mib, "b") });
      let full = 0;
      await using site = bench(directory, server, {
        clone: async (from, to) => {
          if (full-- > 0) throw Object.assign(new Error("full"), { code });
          await copyFile(from, to);
        },
      });
      await site.stage("one", { x: "a" });
      full = 1;
      expect((await site.stage("two", { x: "b" })).movedBytes).toBe(mib);
      expect(site.cache.view()).toMatchObject({ files: 1, evicted: 1, problem: undefined });
      expect((await site.stage("three", { x: "b" })).movedBytes).toBe(0);
      full = 2;
      expect((await site.stage("four", { x: "a" })).movedBytes).toBe(mib);
      expect(site.cache.view()).toMatchObject({ files: 0, problem: expect.stringMatching(/no space left|quota/) });
      expect(await digestOf(directory.join("four/x"))).toBe(sha256(Buffer.alloc(mib, "a")));
      expect(await namesBelow(directory.join("cache/new"))).toEqual([]);
    },
  );

  it("is never made of a file that a job has as a link", async () => {
    await using directory = await temporaryDirectory();
    await using server = await serveFiles({ "/a": Buffer.alloc(mib, "a"), "/b": Buffer.alloc(mib, "b") });
    await using site = bench(directory, server, { maxBytes: mib, placing: "link" });
    await site.stage("one", { x: "a" });
    await site.stage("two", { x: "b" });
    expect(await digestOf(await onlyObject(site.objects))).toBe(sha256(Buffer.alloc(mib, "a")));
    expect((await site.stage("three", { x: "a" })).movedBytes).toBe(0);
  });
});

describe("placing", () => {
  it("link: jobs share one file that none may write to, and what one altered all the same is noticed", async () => {
    await using directory = await temporaryDirectory();
    await using server = await serveFiles({ "/reads": data });
    await using site = bench(directory, server, { placing: "link" });
    await site.stage("one", { x: "reads" });
    expect((await site.stage("two", { x: "reads" })).movedBytes).toBe(0);
    const [one, two, object] = await Promise.all(
      [directory.join("one/x"), directory.join("two/x"), await onlyObject(site.objects)].map((path) => stat(path)),
    );
    expect([one?.ino, two?.ino]).toEqual([object?.ino, object?.ino]);
    expect((one?.mode ?? 0) & 0o777).toBe(0o444);
    await chmod(directory.join("one/x"), 0o644);
    await appendFile(directory.join("one/x"), "!");
    expect((await site.stage("three", { x: "reads" })).movedBytes).toBe(data.byteLength);
    expect(await digestOf(directory.join("three/x"))).toBe(sha256(data));
    expect((await site.stage("four", { x: "reads" })).movedBytes).toBe(0);
  });

  it("copy: blocks are shared where the file system can, and what came of it is compared", async () => {
    await using directory = await temporaryDirectory();
    await using server = await serveFiles({ "/reads": data });
    let clones = 0;
    await using site = bench(directory, server, {
      clone: async (from, to) => {
        if (++clones === 2)
          await writeFile(to, Buffer.alloc(data.byteLength, "a file system that lies"), { flag: "wx" });
        else await copyFile(from, to);
      },
    });
    await site.stage("one", { x: "reads" });
    expect(clones).toBe(1);
    expect((await site.stage("two", { x: "reads" })).movedBytes).toBe(data.byteLength);
    expect(await digestOf(directory.join("two/x"))).toBe(sha256(data));
    const seen = gets(server);
    expect((await site.stage("three", { x: "reads" })).movedBytes).toBe(0);
    expect([gets(server), clones]).toEqual([seen, 4]);
  });
});

describe("a directory that is not this agent's", () => {
  it.each([
    ["writable for others", async (path: string) => await chmod(path, 0o777), "others may write to it (mode 0777)"],
    [
      "full of other files",
      async (path: string) => await writeFile(join(path, "thesis.tex"), "x"),
      "it holds files that are no cache",
    ],
    [
      "another agent's",
      async (path: string) => await writeFile(join(path, "siteagent-cache.json"), '{"version":1,"agent":"agent-2"}'),
      "it is that of another agent",
    ],
    [
      "of another version",
      async (path: string) => await writeFile(join(path, "siteagent-cache.json"), '{"version":2,"agent":"agent-1"}'),
      "it was made by another version",
    ],
  ])("is not used when it is %s; jobs run without it, and it is said", async (_, prepare, problem) => {
    await using directory = await temporaryDirectory();
    await using server = await serveFiles({ "/reads": data });
    await mkdir(directory.join("cache"), { mode: 0o700 });
    await prepare(directory.join("cache"));
    const before = await readdir(directory.join("cache"));
    await using site = bench(directory, server);
    for (const job of ["one", "two"]) expect((await site.stage(job, { x: "reads" })).movedBytes).toBe(data.byteLength);
    expect(site.cache.view().problem).toContain(problem);
    expect(await readdir(directory.join("cache"))).toEqual(before);
  });

  it("is taken as soon as it is repaired", async () => {
    await using directory = await temporaryDirectory();
    await using server = await serveFiles({ "/reads": data });
    await mkdir(directory.join("cache"));
    await chmod(directory.join("cache"), 0o777);
    await using site = bench(directory, server);
    await site.stage("one", { x: "reads" });
    await chmod(directory.join("cache"), 0o700);
    await site.stage("two", { x: "reads" });
    expect((await site.stage("three", { x: "reads" })).movedBytes).toBe(0);
    expect(site.cache.view().problem).toBeUndefined();
  });
});
