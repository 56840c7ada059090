import { link, mkdir, readFile, rename, symlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { Fault } from "../../../src/common/fault.ts";
import { newToken } from "../../../src/common/token.ts";
import { createTransferEngine } from "../../../src/transfer/engine.ts";
import { compilePolicy } from "../../../src/transfer/policy.ts";
import { TransferRegistry } from "../../../src/transfer/registry.ts";
import type { BulkTransfer, TransferEngine, TransferItem } from "../../../src/transfer/types.ts";
import { failOnLeakedProcesses } from "../../helpers/leaks.ts";
import { temporaryDirectory, type TemporaryDirectory } from "../../helpers/temporary.ts";
import { type BulkAdapter, bulkAdapter, type OnTheWay } from "./bulk-adapter.ts";
import type { ChildTask } from "./crash-task.ts";
import { goOn, killedAt } from "./lost-lines.ts";
import { digestTree, faultOf, fileUrl, item, namesBelow, request, testContext, writeTree } from "./setup.ts";

failOnLeakedProcesses();

const tree = { a: "first", b: "", "sub/c": "third", "sub/deep/d": "fourth", "name with space é": "fifth" };

interface Scene extends AsyncDisposable {
  readonly directory: TemporaryDirectory;
  readonly adapter: BulkAdapter;
  readonly engine: TransferEngine;
  /** `data/` as source and `out/` as destination. */
  readonly fetchItem: TransferItem;
  readonly sendItem: TransferItem;
}

async function scene(onTheWay?: OnTheWay, limits: Partial<Omit<BulkTransfer, "fetch" | "send">> = {}): Promise<Scene> {
  const directory = await temporaryDirectory();
  await writeTree(directory.join("data"), tree);
  await mkdir(directory.join("in"));
  await mkdir(directory.join("out"));
  const rules = [fileUrl(directory.join("data/")), fileUrl(directory.join("out/"))];
  const policy = compilePolicy({ sources: rules, destinations: rules });
  const adapter = bulkAdapter(policy, limits, onTheWay);
  const retry = { tries: 3, backoff: { baseMs: 1, capMs: 1 } };
  const lists = directory.join("lists");
  const engine = createTransferEngine({ policy, registry: new TransferRegistry([adapter]), retry, lists });
  return {
    directory,
    adapter,
    engine,
    fetchItem: item({ kind: "directory", source: fileUrl(directory.join("data")), target: "t" }),
    sendItem: item({ kind: "directory", source: ".", target: fileUrl(directory.join("out/")) }),
    async [Symbol.asyncDispose]() {
      await engine[Symbol.asyncDispose]();
      await directory[Symbol.asyncDispose]();
    },
  };
}

function fetching({ directory, fetchItem }: Scene, more: Partial<TransferItem> = {}): ReturnType<typeof request> {
  return request({ direction: "in", root: directory.join("in"), items: [{ ...fetchItem, ...more }] });
}

function sending({ directory, sendItem }: Scene): ReturnType<typeof request> {
  return request({ direction: "out", root: directory.join("data"), items: [sendItem] });
}

describe("many files in one go", () => {
  it("come verified, durable and recorded, within the limits of a call, and large ones by themselves", async () => {
    await using one = await scene(undefined, { mostFiles: 2, mostFileBytes: 5 });
    const work = fetching(one);
    const outcome = await one.engine.run(work, testContext());
    const expected = await digestTree(one.directory.join("data"));
    expect(await digestTree(one.directory.join("in/t"))).toEqual(expected);
    expect(work.journal.length).toBe(5);
    expect(outcome.manifest.map(({ path, verified }) => [path, verified])).toEqual(
      Object.keys(expected).map((path) => [`t/${path}`, "size"]),
    );
    expect(outcome.movedBytes).toBe(Object.values(tree).join("").length);
    expect(one.adapter.calls.map((paths) => paths.length)).toEqual([2, 2]);
    expect(one.adapter.singles).toEqual(["sub/deep/d"]);
    expect((await namesBelow(one.directory.join("in"))).filter((name) => name.includes(".part-"))).toEqual([]);
  });

  it("go and are compared with what lies there", async () => {
    await using one = await scene();
    const work = sending(one);
    const outcome = await one.engine.run(work, testContext());
    expect(await digestTree(one.directory.join("out"))).toEqual(await digestTree(one.directory.join("data")));
    expect(outcome.manifest.map(({ verified }) => verified)).toEqual(Array(5).fill("digest"));
    expect(one.adapter.calls.length).toBe(1);
    expect(work.journal.length).toBe(5);
    // What is recorded is not sent again.
    await one.engine.run({ ...work, known: work.journal }, testContext());
    expect(one.adapter.calls.length).toBe(1);
  });

  it("go one by one where there are few of them", async () => {
    await using one = await scene(undefined, { leastFiles: 6 });
    await one.engine.run(fetching(one), testContext());
    expect([one.adapter.calls.length, one.adapter.singles.length]).toEqual([0, 5]);
  });

  it("go together even when there is one, for adapters that know nothing else", async () => {
    await using one = await scene(undefined, { leastFiles: 1, mostFileBytes: Infinity });
    const source = fileUrl(one.directory.join("data/a"));
    await one.engine.run(fetching(one, { kind: "file", source, target: "x" }), testContext());
    expect(await readFile(one.directory.join("in/x"), "utf8")).toBe("first");
    expect(one.adapter.singles).toEqual([]);
  });

  it("F3: a try that is cut off goes on with what is missing, and progress does not count as a try", async () => {
    for (const direction of ["in", "out"] as const) {
      // One more file in each call, then the line is cut: more calls than there are tries.
      let last = -1;
      await using one = await scene(async (_path, content, call) => {
        if (call === last) throw new Error("the line was cut");
        last = call;
        return content;
      });
      const work = direction === "in" ? fetching(one) : sending(one);
      await one.engine.run(work, testContext());
      expect(one.adapter.calls.map((paths) => paths.length)).toEqual([5, 4, 3, 2, 1]);
      const made = one.directory.join(direction === "in" ? "in/t" : "out");
      expect(await digestTree(made)).toEqual(await digestTree(one.directory.join("data")));
    }
  });

  it("F3: tries without progress come to an end", async () => {
    for (const direction of ["in", "out"] as const) {
      await using one = await scene(async () => {
        throw new Error("the line was cut");
      });
      const work = direction === "in" ? fetching(one) : sending(one);
      expect(await faultOf(one.engine.run(work, testContext()))).toMatchObject({ code: "TRANSFER" });
      expect(one.adapter.calls.length).toBe(3);
    }
  });

  it("F7: other bytes than promised or listed are refused, the good ones stay", async () => {
    for (const direction of ["in", "out"] as const) {
      await using one = await scene(async (path, content) => (path === "sub/c" ? Buffer.from("THIRD") : content));
      const work = direction === "in" ? fetching(one) : sending(one);
      const sha256 = (await digestTree(one.directory.join("data")))["sub/c"] ?? "";
      const list = one.adapter.list.bind(one.adapter);
      Object.assign(one.adapter, {
        list: async (...args: Parameters<typeof list>) =>
          (await list(...args)).map((file) => (file.path === "sub/c" ? { ...file, sha256 } : file)),
      });
      const fault = await faultOf(one.engine.run(work, testContext()));
      expect(fault).toMatchObject({ code: "DIGEST_MISMATCH", message: expect.stringContaining("sub/c") as unknown });
      expect(one.adapter.calls.map((paths) => paths.length)).toEqual([5, 1]);
      expect(work.journal.map(({ path }) => path.replace("t/", ""))).not.toContain("sub/c");
      expect(work.journal.length).toBe(4);
      if (direction === "in") expect(await namesBelow(one.directory.join("in/t"))).not.toContain("sub/c");
    }
  });

  it("F6: files that were left out because they changed are listed anew", async () => {
    await using one = await scene(async (path, content, call) => {
      if (path !== "a") return content;
      if (call > 0) return content;
      await writeFile(one.directory.join("data/a"), "another");
      return undefined;
    });
    const { manifest } = await one.engine.run(fetching(one), testContext());
    expect(manifest.find(({ path }) => path === "t/a")?.bytes).toBe(7);
    expect(one.adapter.calls).toEqual([expect.any(Array), ["a"]]);
  });

  it("F6: a file here that changes while it is sent is noticed", async () => {
    await using one = await scene(async (path, content, call) => {
      if (path === "a" && call === 0) await writeFile(one.directory.join("data/a"), "later");
      return content;
    });
    const work = sending(one);
    await one.engine.run(work, testContext());
    expect(one.adapter.calls.map((paths) => paths.length)).toEqual([5, 1]);
    expect(await readFile(one.directory.join("out/a"), "utf8")).toBe("later");
  });

  it("F8: links, second names and files larger than listed never get a final name", async () => {
    for (const bad of ["link", "directory link", "second name", "larger"] as const) {
      await using one = await scene(async (path, content) => {
        const arriving = join(one.directory.path, "in", partOf(await namesBelow(one.directory.join("in"))));
        if (bad === "larger" && path === "a") return Buffer.alloc(100);
        if (bad === "link" && path === "b") await swap(join(arriving, "a"), (at) => symlink("/etc/passwd", at));
        if (bad === "second name" && path === "b") await link(join(arriving, "a"), join(one.directory.path, "twin"));
        if (bad === "directory link" && path === "sub/deep/d") {
          await swap(join(arriving, "sub"), (at) => symlink(one.directory.join("data/sub"), at));
        }
        return content;
      });
      const fault = await faultOf(one.engine.run(fetching(one), testContext()));
      expect(fault.code, bad).toBe(bad === "larger" ? "TRANSFER" : "UNSAFE_PATH");
      const names = (await namesBelow(one.directory.join("in"))).filter((name) => name.startsWith("t/"));
      expect(names).not.toContain(bad === "directory link" ? "t/sub/c" : "t/a");
    }
  });

  it("UNSUPPORTED: the files go one by one, and nobody asks again at once", async () => {
    for (const direction of ["in", "out"] as const) {
      await using one = await scene(
        async () => {
          throw new Fault("UNSUPPORTED", "no tar there");
        },
        { mostFiles: 2 },
      );
      const work = direction === "in" ? fetching(one) : sending(one);
      const { manifest } = await one.engine.run(work, testContext());
      expect(manifest.length).toBe(5);
      expect(one.adapter.singles.length).toBe(5);
      const calls = one.adapter.calls.length;
      await one.engine.run({ ...work, token: newToken(), root: work.root, known: [] }, testContext());
      expect(one.adapter.calls.length).toBe(calls);
    }
  });

  it("a directory in the way of a final name is refused and stays", async () => {
    await using one = await scene();
    await mkdir(one.directory.join("in/t/a/kept"), { recursive: true });
    expect(await faultOf(one.engine.run(fetching(one), testContext()))).toMatchObject({ code: "UNSAFE_PATH" });
    expect(await namesBelow(one.directory.join("in/t/a"))).toEqual(["kept"]);
  });

  it("max_size holds for files whose size nobody tells", async () => {
    await using one = await scene();
    const list = one.adapter.list.bind(one.adapter);
    Object.assign(one.adapter, {
      list: async (...args: Parameters<typeof list>) =>
        (await list(...args)).map((file) => ({ ...file, bytes: undefined })),
    });
    Object.assign(one.adapter.bulk, { mostFileBytes: Infinity });
    const fault = await faultOf(one.engine.run(fetching(one, { maxBytes: 5 }), testContext()));
    expect(fault).toMatchObject({ code: "TRANSFER_REFUSED", message: expect.stringContaining("max_size") as unknown });
  });
});

describe("kill -9 while many files come or go", () => {
  function task({ directory, fetchItem, sendItem }: Scene, direction: "in" | "out"): ChildTask {
    const items = [direction === "in" ? fetchItem : sendItem];
    const root = directory.join(direction === "in" ? "in" : "data");
    const rules = [fileUrl(directory.join("data/")), fileUrl(directory.join("out/"))];
    return { token: newToken(), direction, root, rules, items, bulk: true };
  }

  const passages = [
    ["in", "before-rename"],
    ["in", "after-rename@3"],
    ["in", "after-directory-sync"],
    ["in", "before-record@2"],
    ["in", "after-record@2"],
    ["out", "before-put"],
    ["out", "after-put"],
    ["out", "after-verify@2"],
    ["out", "before-record@2"],
  ] as const;
  it.each(passages)("stage-%s at transfer.%s: absent or complete, then completed", async (direction, place) => {
    await using one = await scene();
    const made = one.directory.join(direction === "in" ? "in/t" : "out");
    await mkdir(made, { recursive: true });
    const work = task(one, direction);
    await killedAt(one.directory, work, place);
    const expected = await digestTree(one.directory.join("data"));
    for (const [path, digest] of Object.entries(await digestTree(made))) expect(digest).toBe(expected[path]);
    await goOn(work);
    expect(await digestTree(made)).toEqual(expected);
    expect((await namesBelow(one.directory.join("in"))).filter((path) => path.includes(".part-"))).toEqual([]);
  });
});

function partOf(names: readonly string[]): string {
  return names.find((name) => name.startsWith(".part-") && !name.includes("/")) ?? "";
}

/** Puts something else in the place of what has arrived. */
async function swap(path: string, make: (path: string) => Promise<void>): Promise<void> {
  await rename(path, `${path}.away`);
  await make(path);
}
