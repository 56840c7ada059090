import { readFile, readdir, stat } from "node:fs/promises";
import { join } from "node:path";
import { expect, it } from "vitest";
import { describeWithEngine } from "../../helpers/engines/index.ts";
import { failOnLeakedProcesses } from "../../helpers/leaks.ts";
import { listProcesses } from "../../helpers/processes.ts";
import { seeded } from "../../helpers/random.ts";
import { temporaryDirectory } from "../../helpers/temporary.ts";
import { waitFor } from "../../helpers/wait.ts";
import { rsyncHarness } from "./rsync-harness.ts";
import { childTask, goOn, killedAt, skipping, startChild } from "./lost-lines.ts";
import { digestTree, item, namesBelow, request, sha256, startEngine, testContext, writeTree } from "./setup.ts";

failOnLeakedProcesses();

const mebibyte = 1024 * 1024;

/** No two MiB of it are alike. */
function numbered(bytes: number): Buffer {
  const buffer = Buffer.alloc(bytes);
  for (let at = 0; at + 4 <= bytes; at += 4) buffer.writeUInt32LE(at, at);
  return buffer;
}

describeWithEngine("rsync", "an rsync whose connection is lost again and again", () => {
  it("F3: brings trees here and back whole, each try from where the last one ended", async () => {
    await using far = await rsyncHarness({}, { proxied: true });
    await using here = await temporaryDirectory();
    const { proxy } = far;
    if (!proxy) throw new Error("no proxy");
    const size = 12 * mebibyte;
    await far.put("run/x", numbered(size));
    for (let index = 0; index < 40; index++) await far.put(`run/d/${index}`, `file ${index}`);
    const retry = { tries: 6, backoff: { baseMs: 1, capMs: 10 } };
    await using engine = startEngine({ policy: far.policy, access: far.find, retry });
    const context = testContext({ clock: skipping(5_000) });
    const random = seeded(7);
    proxy.fault = { kind: "sever", afterBytes: () => (3.5 + 2 * random()) * mebibyte };
    const items = [item({ kind: "directory", source: far.url("run"), target: "run" })];
    await engine.run(request({ direction: "in", root: here.path, items }), context);
    expect(await digestTree(here.join("run"))).toEqual(await digestTree(far.path("run")));
    const [down, connections] = [proxy.bytes, proxy.connections];
    // At least one was lost on each way; how many more is a matter of what is on the line when one is.
    expect(connections).toBeGreaterThan(1);
    const back = [item({ kind: "directory", source: "run", target: far.url("back/") })];
    await engine.run(request({ direction: "out", root: here.path, items: back }), context);
    expect(await digestTree(far.path("back"))).toEqual(await digestTree(far.path("run")));
    expect(proxy.connections - connections).toBeGreaterThan(0);
    // What was under way when a connection was lost is sent again, not the whole.
    for (const bytes of [down, proxy.bytes - down]) expect(bytes).toBeLessThan(3 * size);
    expect((await readdir(far.path("back"))).toSorted()).toEqual(["d", "x"]);
    expect(await readdir(here.path)).toEqual(["run"]);
  });
});

describeWithEngine("rsync", "kill -9 in the middle of rsync", () => {
  /** The local rsyncs, their leader and their remote shells. */
  function rsyncsHere(): readonly number[] {
    return listProcesses().flatMap(({ pid, command }) => (command.includes("there:.") ? [pid] : []));
  }

  it.each(["in", "out"] as const)(
    "stage-%s leaves no rsync on this side, goes on where it was, and the final name is never partial",
    async (direction) => {
      await using far = await rsyncHarness({}, { proxied: true });
      await using here = await temporaryDirectory();
      const { proxy } = far;
      if (!proxy) throw new Error("no proxy");
      const size = 16 * mebibyte;
      await far.put("x", numbered(size));
      if (direction === "out") await writeTree(here.path, { x: numbered(size) });
      const work = childTask(far, direction, here.path);
      const [root, final] = direction === "in" ? [here.path, "x"] : [far.path(""), "y"];
      // After some MiB the line is silent.
      const stall = setInterval(() => {
        if (proxy.bytes > 6 * mebibyte) proxy.fault = { kind: "black-hole" };
      }, 1);
      let mine: ReadonlySet<number>;
      try {
        await using child = await startChild(here, work);
        await waitFor(async () => (await largestBelow(root)) > 2 * mebibyte, {
          what: "a part of the file",
          timeoutMs: 30_000,
        });
        mine = new Set(rsyncsHere());
        expect(mine.size).toBeGreaterThan(1);
        child.signal("SIGKILL");
        await child.finished;
      } finally {
        clearInterval(stall);
      }
      await waitFor(() => !rsyncsHere().some((pid) => mine.has(pid)), {
        what: "the end of rsync here",
        timeoutMs: 20_000,
      });
      expect(await namesBelow(root)).not.toContain(final);
      far.server.cutConnections();
      proxy.fault = { kind: "pass" };
      const before = proxy.bytes;
      await goOn(work);
      expect(proxy.bytes - before).toBeLessThan(size);
      expect(sha256(await readFile(join(root, final)))).toBe(sha256(numbered(size)));
      expect((await namesBelow(root)).filter((name) => name.includes(".part-"))).toEqual([]);
    },
  );

  it.each(["before-rename", "after-rename"])(
    "at transfer.%s of a stage-out: absent or complete, then completed",
    async (name) => {
      await using far = await rsyncHarness();
      await using here = await temporaryDirectory();
      await writeTree(here.path, { x: numbered(2 * mebibyte) });
      const work = childTask(far, "out", here.path);
      await killedAt(here, work, name);
      const there = await far.get("y");
      if (there) expect(sha256(there)).toBe(sha256(numbered(2 * mebibyte)));
      await goOn(work);
      expect(await far.digest("y")).toBe(sha256(numbered(2 * mebibyte)));
      expect(await namesBelow(far.path(""))).toEqual(["y"]);
    },
  );
});

async function largestBelow(root: string): Promise<number> {
  const names = await namesBelow(root).catch(() => []);
  const sizes = await Promise.all(
    names
      .filter((name) => name !== "x")
      .map((name) =>
        stat(join(root, name)).then(
          ({ size }) => size,
          () => 0,
        ),
      ),
  );
  return Math.max(0, ...sizes);
}
