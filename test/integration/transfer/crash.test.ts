import { existsSync } from "node:fs";
import { mkdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { newToken } from "../../../src/common/token.ts";
import { failOnLeakedProcesses } from "../../helpers/leaks.ts";
import { temporaryDirectory } from "../../helpers/temporary.ts";
import { waitFor } from "../../helpers/wait.ts";
import type { ChildTask } from "./crash-task.ts";
import { goOn, killedAt, startChild } from "./lost-lines.ts";
import { answerFile, serve, store } from "./servers.ts";
import { digestTree, fileUrl, item, namesBelow, sha256, writeTree } from "./setup.ts";

failOnLeakedProcesses();

const data = Buffer.alloc(2_000_000, "ACGTTGCA-reads-");

describe("kill -9 in the middle", () => {
  test("of a download: the final name never holds partial data, and the next run goes on where it ended", async () => {
    let held = true;
    await using server = await serve((incoming, response) => {
      if (incoming.method === "HEAD" || !held) return answerFile(incoming, response, data);
      response.writeHead(200, { etag: `"${sha256(data).slice(0, 12)}"`, "content-length": data.byteLength });
      return void response.write(data.subarray(0, 1_200_000)); // and then the line is silent
    });
    await using directory = await temporaryDirectory();
    const root = directory.join("in");
    const task: ChildTask = {
      token: newToken(),
      direction: "in",
      root,
      rules: [server.url],
      items: [item({ source: `${server.url}x`, target: "x" })],
    };
    await using child = await startChild(directory, task);
    const part = await waitFor(
      async () => {
        const [name] = await namesBelow(root);
        return name !== undefined && (await readFile(join(root, name))).byteLength >= 1_000_000 && name;
      },
      { what: "a partial file" },
    );
    expect(existsSync(join(root, "x"))).toBe(false);
    child.signal("SIGKILL");
    await child.finished;
    expect(await namesBelow(root)).toEqual([part]);
    held = false;
    await using second = await startChild(directory, task);
    await second.result(30_000);
    expect(second.stdout).toContain("done ");
    expect(server.seen.at(-1)?.headers.range).toMatch(/^bytes=[1-9]\d+-$/);
    expect(await digestTree(root)).toEqual({ x: sha256(data) });
  });

  const stageIn = [
    "before-part",
    "after-part",
    "after-append",
    "before-rename",
    "after-rename",
    "after-directory-sync",
    "before-record",
    "after-record",
  ];
  test.each(stageIn)("at transfer.%s of a stage-in: absent or complete, then completed", async (name) => {
    await using directory = await temporaryDirectory();
    await writeTree(directory.join("data"), { a: data, "sub/b": "small" });
    const root = directory.join("in");
    const task: ChildTask = {
      token: newToken(),
      direction: "in",
      root,
      rules: [fileUrl(directory.join("data/"))],
      items: [item({ kind: "directory", source: fileUrl(directory.join("data")), target: "." })],
    };
    const expected = await digestTree(directory.join("data"));
    await killedAt(directory, task, name);
    for (const [path, digest] of Object.entries(await digestTree(root))) {
      if (!path.includes(".part-")) expect(expected[path]).toBe(digest);
    }
    await goOn(task);
    expect(await digestTree(root)).toEqual(expected);
  });

  const stageOut = [
    "before-put",
    "before-write",
    "before-part",
    "after-append",
    "before-rename",
    "after-rename",
    "after-write",
    "after-put",
    "after-verify",
  ];
  test.each(stageOut)(
    "at transfer.%s of a stage-out to a directory: absent or complete, then completed",
    async (name) => {
      await using directory = await temporaryDirectory();
      await writeTree(directory.join("work"), { a: data, "sub/b": "small" });
      await mkdir(directory.join("out"));
      const task: ChildTask = {
        token: newToken(),
        direction: "out",
        root: directory.join("work"),
        rules: [fileUrl(directory.join("out/"))],
        items: [item({ kind: "directory", source: ".", target: fileUrl(directory.join("out/run/")) })],
      };
      const expected = await digestTree(directory.join("work"));
      await killedAt(directory, task, name);
      for (const [path, digest] of Object.entries(await digestTree(directory.join("out")))) {
        if (!path.includes(".part-")) expect(expected[path.slice("run/".length)]).toBe(digest);
      }
      await goOn(task);
      expect(await digestTree(directory.join("out/run"))).toEqual(expected);
    },
  );

  test.each(["before-link", "after-link", "before-rename", "after-rename"])(
    "at transfer.%s of a link",
    async (name) => {
      await using directory = await temporaryDirectory();
      await writeTree(directory.join("data"), { a: data });
      const task: ChildTask = {
        token: newToken(),
        direction: "in",
        root: directory.join("in"),
        rules: [fileUrl(directory.join("data/"))],
        items: [item({ mode: "link", source: fileUrl(directory.join("data/a")), target: "a" })],
      };
      await killedAt(directory, task, name);
      await goOn(task);
      expect(await digestTree(directory.join("in"))).toEqual({ a: sha256(data) });
    },
  );

  test("of an upload by PUT: sent again, whole", async () => {
    await using server = await store();
    await using directory = await temporaryDirectory();
    await writeTree(directory.join("work"), { a: data });
    const task: ChildTask = {
      token: newToken(),
      direction: "out",
      root: directory.join("work"),
      rules: [server.url],
      items: [item({ source: "a", target: `${server.url}a` })],
    };
    for (const name of ["before-write", "after-write", "after-put"]) {
      await killedAt(directory, task, name);
    }
    await goOn(task);
    expect(sha256(server.kept.get("/a") ?? "")).toBe(sha256(data));
  });
});

describe("kill -9 with a cache of inputs", () => {
  test.each(["before-name", "after-name", "before-evict", "after-evict"])(
    "at cache.%s: what is in the cache is whole, nothing is left over, and the next run goes on",
    async (name) => {
      const older = Buffer.alloc(1_000_000, "older");
      await using server = await serve((incoming, response) =>
        answerFile(incoming, response, incoming.url === "/older" ? older : data),
      );
      await using directory = await temporaryDirectory();
      const cache = { directory: directory.join("cache"), maxBytes: 2_500_000 };
      const taskOf = (job: string, path: string): ChildTask => ({
        token: newToken(),
        direction: "in",
        root: directory.join(job),
        rules: [server.url],
        items: [item({ source: `${server.url}${path}`, target: "x" })],
        cache,
      });
      await goOn(taskOf("one", "older"));
      const task = taskOf("two", "newer");
      await killedAt(directory, task, `cache.${name}`);
      await goOn(task);
      expect((await goOn(taskOf("three", "newer"))).movedBytes).toBe(0);
      expect(await digestTree(directory.join("three"))).toEqual({ x: sha256(data) });
      const objects = await digestTree(directory.join("cache/objects"));
      expect(Object.entries(objects)).toEqual([[`${sha256(data).slice(0, 2)}/${sha256(data)}`, sha256(data)]]);
      expect(await namesBelow(directory.join("cache/new"))).toEqual([]);
    },
  );
});
