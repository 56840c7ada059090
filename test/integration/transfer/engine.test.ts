import { existsSync } from "node:fs";
import {
  appendFile,
  lstat,
  mkdir,
  mkdtemp,
  open,
  readdir,
  readFile,
  rm,
  stat,
  statfs,
  writeFile,
} from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { Fault } from "../../../src/common/fault.ts";
import { Crowd, fewFiles } from "../../../src/transfer/crowd.ts";
import { createLocalTransfer } from "../../../src/transfer/local/index.ts";
import { compilePolicy } from "../../../src/transfer/policy.ts";
import type { Progress, TransferAdapter } from "../../../src/transfer/types.ts";
import { heldBytes } from "../../helpers/heap.ts";
import { temporaryDirectory } from "../../helpers/temporary.ts";
import { waitFor } from "../../helpers/wait.ts";
import { answerFile, serve } from "./servers.ts";
import { faultOf, fileUrl, item, namesBelow, request, sha256, startEngine, testContext, writeTree } from "./setup.ts";

/** The local adapter with some verbs of a site's own. */
function customised(
  rules: readonly string[],
  change: (local: TransferAdapter) => Partial<TransferAdapter>,
): TransferAdapter {
  const local = createLocalTransfer({ policy: compilePolicy({ sources: rules, destinations: rules }) });
  return {
    kind: "own",
    schemes: local.schemes,
    capabilities: local.capabilities,
    probe: (context) => local.probe(context),
    list: (url, kind, context) => local.list(url, kind, context),
    read: (url, file, offset, context) => local.read(url, file, offset, context),
    write: (url, path, info, context) => local.write(url, path, info, context),
    verify: (url, context) => local.verify(url, context),
    [Symbol.asyncDispose]: () => local[Symbol.asyncDispose](),
    ...change(local),
  };
}

describe("sources that change", () => {
  test("while being copied: tried again, and the newer file arrives whole", async () => {
    await using directory = await temporaryDirectory();
    const source = directory.join("data/x");
    await writeTree(directory.join("data"), { x: Buffer.alloc(1_000_000, "a") });
    const rules = [fileUrl(directory.join("data/"))];
    let changes = 1;
    const adapter = customised(rules, (local) => ({
      read: async (url, file, offset, context) => {
        const chunks = await local.read(url, file, offset, context);
        return (async function* () {
          for await (const chunk of chunks) {
            yield chunk;
            if (changes-- > 0) await appendFile(source, "more");
          }
        })();
      },
    }));
    await using engine = startEngine({ policy: { sources: rules, destinations: [] }, adapters: [adapter] });
    const items = [item({ source: fileUrl(source), target: "x" })];
    const outcome = await engine.run(request({ direction: "in", root: directory.join("in"), items }), testContext());
    expect(outcome.manifest).toMatchObject([{ bytes: 1_000_004, sha256: sha256(await readFile(source)) }]);
    expect(await namesBelow(directory.join("in"))).toEqual(["x"]);
  });

  test("always: fails after all tries, and nothing is at the final name", async () => {
    await using directory = await temporaryDirectory();
    const source = directory.join("data/x");
    await writeTree(directory.join("data"), { x: "a" });
    const rules = [fileUrl(directory.join("data/"))];
    const adapter = customised(rules, (local) => ({
      read: async (url, file, offset, context) => {
        await appendFile(source, "more");
        return local.read(url, file, offset, context);
      },
    }));
    await using engine = startEngine({ policy: { sources: rules, destinations: [] }, adapters: [adapter] });
    const items = [item({ source: fileUrl(source), target: "x" })];
    const fault = await faultOf(
      engine.run(request({ direction: "in", root: directory.join("in"), items }), testContext()),
    );
    expect(fault).toMatchObject({ code: "TRANSFER", details: { tries: 5, source_changed: true } });
    expect(await namesBelow(directory.join("in"))).toEqual([]);
  });

  test("outputs that change while they are sent are sent again", async () => {
    await using directory = await temporaryDirectory();
    await writeTree(directory.path, { "work/r": "first", "out/.keep": "" });
    const rules = [fileUrl(directory.join("out/"))];
    let changes = 1;
    const adapter = customised(rules, (local) => ({
      write: async (url, path, info, context) => {
        await local.write(url, path, info, context);
        if (changes-- > 0) await appendFile(directory.join("work/r"), " second");
      },
    }));
    await using engine = startEngine({ policy: { sources: [], destinations: rules }, adapters: [adapter] });
    const items = [item({ source: "r", target: fileUrl(directory.join("out/r")) })];
    await engine.run(request({ direction: "out", root: directory.join("work"), items }), testContext());
    expect(await readFile(directory.join("out/r"), "utf8")).toBe("first second");
  });
});

describe("what fails", () => {
  test("a full disk is typed, not tried again at once, and its partial file is removed", async () => {
    await using directory = await temporaryDirectory();
    await writeTree(directory.join("data"), { x: "a" });
    const rules = [fileUrl(directory.join("data/"))];
    let reads = 0;
    const adapter = customised(rules, () => ({
      read: async () => {
        reads++;
        return (async function* () {
          yield Buffer.from("a");
          await using full = await open("/dev/full", "w");
          await full.write("the kernel's own ENOSPC");
        })();
      },
    }));
    await using engine = startEngine({ policy: { sources: rules, destinations: [] }, adapters: [adapter] });
    const items = [item({ source: `${rules[0] ?? ""}x`, target: "x" })];
    const fault = await faultOf(
      engine.run(request({ direction: "in", root: directory.join("in"), items }), testContext()),
    );
    expect(fault).toMatchObject({ code: "TRANSFER", details: { errno: "ENOSPC" } });
    expect(fault.message).toContain("no space left");
    expect(reads).toBe(1);
    expect(await namesBelow(directory.join("in"))).toEqual([]);
  });

  test("inputs that cannot fit are refused before the first byte", async () => {
    await using directory = await temporaryDirectory();
    await mkdir(directory.join("data"));
    await using huge = await open(directory.join("data/huge"), "w");
    const { bavail, bsize } = await statfs(directory.path);
    const needed = bavail * bsize + 2 ** 40;
    await huge.truncate(needed); // a hole
    const rules = [fileUrl(directory.join("data/"))];
    let reads = 0;
    const adapter = customised(rules, () => ({
      read: async () => {
        reads++;
        throw new Fault("TRANSFER_REFUSED", "nothing should be read");
      },
    }));
    await using engine = startEngine({ policy: { sources: rules, destinations: [] }, adapters: [adapter] });
    const items = [item({ source: `${rules[0] ?? ""}huge`, target: "x" })];
    const fault = await faultOf(
      engine.run(request({ direction: "in", root: directory.join("in"), items }), testContext()),
    );
    expect(fault).toMatchObject({ code: "TRANSFER", details: { errno: "ENOSPC", needed } });
    expect(fault.message).toMatch(/^the inputs need .* left$/);
    expect(reads).toBe(0);
    expect(await namesBelow(directory.join("in"))).toEqual([]);
  });

  test("a destination that alters what it stores is a mismatch with both digests", async () => {
    await using directory = await temporaryDirectory();
    await writeTree(directory.path, { "work/r": "good", "out/.keep": "" });
    const rules = [fileUrl(directory.join("out/"))];
    const adapter = customised(rules, () => ({ write: async () => await writeFile(directory.join("out/r"), "evil") }));
    await using engine = startEngine({ policy: { sources: [], destinations: rules }, adapters: [adapter] });
    const items = [item({ source: "r", target: fileUrl(directory.join("out/r")) })];
    const fault = await faultOf(
      engine.run(request({ direction: "out", root: directory.join("work"), items }), testContext()),
    );
    expect(fault).toMatchObject({
      code: "DIGEST_MISMATCH",
      details: { expected: sha256("good"), actual: sha256("evil") },
    });
  });

  test("a journal that cannot be written ends the run with its own fault", async () => {
    await using directory = await temporaryDirectory();
    await writeTree(directory.join("data"), { x: "a", y: "b" });
    const rules = [fileUrl(directory.join("data/"))];
    await using engine = startEngine({ policy: { sources: rules, destinations: [] } });
    const failing = request({
      direction: "in",
      root: directory.join("in"),
      items: [item({ kind: "directory", source: rules[0] ?? "", target: "." })],
      onFile: async () => {
        throw new Fault("JOURNAL", "the journal is full");
      },
    });
    expect(await faultOf(engine.run(failing, testContext()))).toMatchObject({ code: "JOURNAL" });
  });

  test("an unknown scheme names the known ones", async () => {
    await using directory = await temporaryDirectory();
    await using engine = startEngine({ policy: { sources: ["gopher://x/"], destinations: [] } });
    const items = [item({ source: "gopher://x/y", target: "y" })];
    const fault = await faultOf(
      engine.run(request({ direction: "in", root: directory.join("in"), items }), testContext()),
    );
    expect(fault.code).toBe("UNSUPPORTED");
    expect(fault.hint).toMatch(/^known: file, .*http, https, /);
  });

  test("a work directory that is gone", async () => {
    await using directory = await temporaryDirectory();
    await using engine = startEngine({ policy: { sources: [], destinations: [fileUrl(directory.join("out/"))] } });
    const items = [item({ source: "r", target: fileUrl(directory.join("out/r")) })];
    const fault = await faultOf(
      engine.run(request({ direction: "out", root: directory.join("work"), items }), testContext()),
    );
    expect(fault).toMatchObject({ code: "TRANSFER_REFUSED" });
  });

  test("an aborted signal before the start", async () => {
    await using directory = await temporaryDirectory();
    await using engine = startEngine({ policy: { sources: [], destinations: [] } });
    const signal = AbortSignal.abort();
    const nothing = request({ direction: "in", root: directory.join("in"), items: [] });
    expect(await faultOf(engine.run(nothing, testContext({ signal })))).toMatchObject({ code: "CANCELLED" });
  });
});

describe("limits", () => {
  test("at most four files of one host at a time, over all jobs", async () => {
    let now = 0;
    let most = 0;
    const waiting: (() => void)[] = [];
    await using server = await serve((incoming, response) => {
      if (incoming.method === "HEAD") return answerFile(incoming, response, Buffer.from("data"));
      most = Math.max(most, ++now);
      waiting.push(() => {
        now--;
        answerFile(incoming, response, Buffer.from("data"));
      });
      // The batch is answered when all that may come have come.
      if (waiting.length === 4) for (const go of waiting.splice(0)) setTimeout(go, 50);
      return undefined;
    });
    await using directory = await temporaryDirectory();
    await using engine = startEngine({ policy: { sources: [server.url], destinations: [] } });
    const runs = ["a", "b"].map((job) =>
      engine.run(
        request({
          direction: "in",
          root: directory.join(job),
          items: Array.from({ length: 6 }, (_, index) =>
            item({ name: `i${index}`, source: `${server.url}${index}`, target: `f${index}` }),
          ),
        }),
        testContext(),
      ),
    );
    await Promise.all(runs);
    expect(most).toBe(4);
  });

  test("a small job is served among the files of a large one", async () => {
    const order: string[] = [];
    const held: (() => void)[] = [];
    let holding = true;
    await using server = await serve((incoming, response) => {
      const go = (): void => answerFile(incoming, response, Buffer.from("data"));
      if (incoming.method === "HEAD") return go();
      order.push(incoming.url ?? "");
      if (holding) held.push(go);
      else go();
      return undefined;
    });
    await using directory = await temporaryDirectory();
    await using engine = startEngine({ policy: { sources: [server.url], destinations: [] } });
    const runOf = (job: string, files: number) =>
      engine.run(
        request({
          direction: "in",
          root: directory.join(job),
          items: Array.from({ length: files }, (_, index) =>
            item({ name: `i${index}`, source: `${server.url}${job}/${index}`, target: `f${index}` }),
          ),
        }),
        testContext(),
      );
    const large = runOf("large", 60);
    await waitFor(() => order.length === 4, { what: "four files of the large job" });
    holding = false;
    const small = runOf("small", 1);
    for (const go of held) go();
    await Promise.all([large, small]);
    expect(order).toHaveLength(61);
    expect(order.indexOf("/small/0")).toBeLessThan(20);
  });

  test("progress is told seldom, grows, and ends with everything", async () => {
    await using directory = await temporaryDirectory();
    const files = Object.fromEntries(Array.from({ length: 200 }, (_, index) => [`f${index}`, "data"]));
    await writeTree(directory.join("data"), files);
    const rules = [fileUrl(directory.join("data/"))];
    await using engine = startEngine({ policy: { sources: rules, destinations: [] } });
    const told: Progress[] = [];
    const watched = request({
      direction: "in",
      root: directory.join("in"),
      items: [item({ kind: "directory", source: rules[0] ?? "", target: "." })],
      onProgress: (progress) => told.push(progress),
    });
    const outcome = await engine.run(watched, testContext());
    expect(told.at(-1)).toMatchObject({ files: 200, totalFiles: 200, bytes: 800, totalBytes: 800 });
    expect(told.length).toBeLessThan(100);
    expect(outcome.manifest.map((entry) => entry.path)).toEqual(Object.keys(files).toSorted());
  });

  test("F16: memory stays flat for a big file", async () => {
    await using directory = await temporaryDirectory();
    await mkdir(directory.join("data"));
    await using big = await open(directory.join("data/big"), "w");
    await big.truncate(600_000_000); // a hole: costs no disk
    const rules = [fileUrl(directory.join("data/"))];
    await using engine = startEngine({ policy: { sources: rules, destinations: [] } });
    const before = process.memoryUsage().rss;
    let most = 0;
    const watched = request({
      direction: "in",
      root: directory.join("in"),
      items: [item({ source: `${rules[0] ?? ""}big`, target: "big" })],
      onProgress: () => {
        most = Math.max(most, process.memoryUsage().rss);
      },
    });
    await engine.run(watched, testContext());
    expect(most).toBeGreaterThan(0);
    expect(most - before).toBeLessThan(200_000_000);
  });

  test("F16: more files than are allowed are refused before any is moved, with the limit and what helps", async () => {
    await using directory = await temporaryDirectory();
    await writeTree(directory.join("data"), { a: "a" });
    const rules = [fileUrl(directory.join("data/"))];
    let reads = 0;
    const mostFiles = 3_000;
    const file = { bytes: 1, mtimeMs: 0, version: "1" };
    const adapter = customised(rules, () => ({
      list: async (url) =>
        Array.from({ length: url.endsWith("/b") ? 1 : mostFiles }, (_, n) => ({ ...file, path: `${n}` })),
      read: async () => {
        reads++;
        throw new Error("read");
      },
    }));
    const policy = { sources: rules, destinations: [] };
    await using engine = startEngine({ policy, adapters: [adapter], mostFiles });
    const items = ["a", "b"].map((name) =>
      item({ name, kind: "directory", source: `${rules[0] ?? ""}${name}`, target: name }),
    );
    const fault = await faultOf(
      engine.run(request({ direction: "in", root: directory.join("in"), items }), testContext()),
    );
    expect(fault).toMatchObject({ code: "TRANSFER_REFUSED", details: { max_files: mostFiles } });
    expect(fault.message).toContain(`more than ${mostFiles} files: the inputs together`);
    expect(fault.hint).toContain("archives");
    expect([reads, await namesBelow(directory.join("in"))]).toEqual([0, []]);
  });

  test("F16: what a listing and the files that are known take of the memory does not grow with their number", async () => {
    await using directory = await temporaryDirectory();
    await writeTree(directory.join("data"), { a: "a" });
    const rules = [fileUrl(directory.join("data/"))];
    const listed = 100_000; // an array of them would take some 30 MB, and of the known ones more
    const most = 16_000_000;
    let held = 0;
    const before = heldBytes();
    const look = (): void => void (held = Math.max(held, heldBytes() - before));
    const pathOf = (n: number): string => `directory-${n % 100}/file-${n}`;
    const version = "1";
    const adapter = customised(rules, () => ({
      async list(_url, _kind, _context, found) {
        for (let n = 0; n < listed; n += 1_000) {
          if (n % 25_000 === 0) look();
          const some = Array.from({ length: 1_000 }, (_, k) => ({
            path: pathOf(n + k),
            bytes: 1,
            mtimeMs: n,
            version,
          }));
          await found?.(some);
        }
        return [];
      },
      async read() {
        look();
        throw new Fault("TRANSFER_REFUSED", "all is listed and compared");
      },
    }));
    const known = async function* () {
      for (let n = listed - 1; n >= 0; n--) {
        if (n % 25_000 === 0) look();
        const entry = { item: "data", url: `file:///elsewhere/${n}`, bytes: 1, sha256: sha256("a") };
        yield { ...entry, path: `in/${pathOf(n)}`, verified: "digest" } as const;
      }
    };
    const lists = directory.join("lists");
    await using engine = startEngine({ policy: { sources: rules, destinations: [] }, adapters: [adapter], lists });
    const items = [item({ kind: "directory", source: `${rules[0] ?? ""}a`, target: "in" })];
    const run = request({ direction: "in", root: directory.join("in"), items, known: known() });
    expect((await faultOf(engine.run(run, testContext()))).message).toContain("all is listed and compared");
    expect(held).toBeLessThan(most);
    expect(await readdir(lists)).toEqual([]);
  }, 120_000);

  test("F16: jobs of many files wait while those of others fill the memory, with their lists on disk", async () => {
    await using directory = await temporaryDirectory();
    await writeTree(directory.join("data"), { a: "a" });
    const rules = [fileUrl(directory.join("data/"))];
    const events: string[] = [];
    const file = { bytes: 1, mtimeMs: 0, version: "1" };
    const adapter = customised(rules, () => ({
      list: async (url) => {
        events.push(`list ${url.slice(-1)}`);
        return Array.from({ length: fewFiles }, (_, n) => ({ ...file, path: `${n}` }));
      },
      read: async (url, _file, _offset, { signal }) => {
        events.push(`read ${url.slice(-1)}`);
        return await new Promise((_resolve, reject) => signal.addEventListener("abort", () => reject(signal.reason)));
      },
    }));
    const policy = { sources: rules, destinations: [] };
    await using engine = startEngine({ policy, adapters: [adapter], filesPerHost: 1, crowd: new Crowd(fewFiles + 1) });
    const start = (name: string) => {
      const stop = new AbortController();
      const items = [item({ name, kind: "directory", source: `${rules[0] ?? ""}${name}`, target: name })];
      const run = request({ direction: "in", root: directory.join(name), items });
      return { stop, ended: faultOf(engine.run(run, testContext({ signal: stop.signal }))) };
    };
    const first = start("a");
    await waitFor(() => events.includes("read a"), { what: "the first to move" });
    first.stop.abort();
    expect((await first.ended).code).toBe("CANCELLED");
    const [second, third] = [start("b"), start("c")];
    await waitFor(() => events.includes("list b") && events.includes("list c"), { what: "both to be listed" });
    await waitFor(() => events.includes("read b") || events.includes("read c"), { what: "one of them to move" });
    const [ahead, behind] = events.includes("read b") ? [second, third] : [third, second];
    ahead.stop.abort();
    await ahead.ended;
    await waitFor(() => events.includes("read b") && events.includes("read c"), { what: "the other to move" });
    behind.stop.abort();
    await behind.ended;
    expect(events.filter((event) => event.startsWith("list"))).toHaveLength(3);
  });

  test("link makes a symbolic link where a hard link is impossible, and knows it again", async () => {
    await using directory = await temporaryDirectory();
    // Another file system, where there is one to write to; on the same one a hard link is expected.
    const other = await mkdtemp(join(existsSync("/dev/shm") ? "/dev/shm" : tmpdir(), "sa-link-"));
    try {
      await writeFile(join(other, "big"), "genome");
      const crossing = (await stat(other)).dev !== (await stat(directory.path)).dev;
      await using engine = startEngine({ policy: { sources: [`${fileUrl(other)}/`], destinations: [] } });
      const root = directory.join("in");
      const items = [item({ source: fileUrl(join(other, "big")), target: "x", mode: "link" })];
      const first = await engine.run(request({ direction: "in", root, items }), testContext());
      expect((await lstat(join(root, "x"))).isSymbolicLink()).toBe(crossing);
      expect(await readFile(join(root, "x"), "utf8")).toBe("genome");
      const again = request({ direction: "in", root, items, known: first.manifest });
      expect(await engine.run(again, testContext())).toMatchObject({ manifest: first.manifest });
      expect(again.journal).toEqual([]);
      expect(await namesBelow(root)).toEqual(["x"]);
    } finally {
      await rm(other, { recursive: true });
    }
  });
});
