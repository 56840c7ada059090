import { mkdir, open, readFile, readdir, rm, stat } from "node:fs/promises";
import { join } from "node:path";
import fc from "fast-check";
import { expect, it } from "vitest";
import { isFault } from "../../../src/common/fault.ts";
import type { TransferEngine } from "../../../src/transfer/types.ts";
import { describeWithEngine } from "../../helpers/engines/index.ts";
import { fuzz, fuzzing } from "../../helpers/fuzz.ts";
import { failOnLeakedProcesses } from "../../helpers/leaks.ts";
import { seeded } from "../../helpers/random.ts";
import { temporaryDirectory, type TemporaryDirectory } from "../../helpers/temporary.ts";
import { waitFor } from "../../helpers/wait.ts";
import { childTask, goOn, killedAt, skipping, startChild } from "./lost-lines.ts";
import { digestTree, item, namesBelow, request, sha256, startEngine, testContext, writeTree } from "./setup.ts";
import { type SftpHarness, sftpHarness } from "./sftp-harness.ts";

failOnLeakedProcesses();

const mebibyte = 1024 * 1024;
const context = testContext({ clock: skipping(30_000) });

function engineOf(far: SftpHarness): TransferEngine {
  return startEngine({
    policy: far.policy,
    access: far.find,
    filesPerHost: 4,
    retry: { tries: 5, backoff: { baseMs: 1, capMs: 10 } },
  });
}

/** No two MiB of it are alike. */
function numbered(bytes: number): Buffer {
  const buffer = Buffer.alloc(bytes);
  for (let at = 0; at + 4 <= bytes; at += 4) buffer.writeUInt32LE(at, at);
  return buffer;
}

describeWithEngine("sshd", "a connection that is lost again and again", () => {
  it("F3: a long file comes and goes whole, each try from where the last one ended", async () => {
    await using far = await sftpHarness({}, { proxied: true });
    await using here = await temporaryDirectory();
    const { proxy } = far;
    if (!proxy) throw new Error("no proxy");
    const size = 12 * mebibyte;
    await far.put("x", numbered(size));
    await using engine = engineOf(far);
    const random = seeded(7);
    proxy.fault = { kind: "sever", afterBytes: () => (2.5 + 2 * random()) * mebibyte };
    const items = [item({ source: far.url("x"), target: "x" })];
    await engine.run(request({ direction: "in", root: here.path, items }), context);
    expect(sha256(await readFile(here.join("x")))).toBe(sha256(numbered(size)));
    const [down, connections] = [proxy.bytes, proxy.connections];
    expect(connections).toBeGreaterThan(2);
    const back = [item({ source: "x", target: far.url("y") })];
    await engine.run(request({ direction: "out", root: here.path, items: back }), context);
    expect(await far.digest("y")).toBe(sha256(numbered(size)));
    expect(proxy.connections - connections).toBeGreaterThan(2);
    // What was under way when a connection was lost is sent again, not the whole.
    for (const bytes of [down, proxy.bytes - down]) expect(bytes).toBeLessThan(4 * size);
    expect((await readdir(far.path(""))).toSorted()).toEqual(["x", "y"]);
  });

  it("F3: where no command runs, what is read back to compare it goes on, too, where the last connection ended", async () => {
    await using far = await sftpHarness({ directives: ["ForceCommand internal-sftp"] }, { proxied: true });
    await using here = await temporaryDirectory();
    const { proxy } = far;
    if (!proxy) throw new Error("no proxy");
    const content = numbered(12 * mebibyte);
    await writeTree(here.path, { x: content });
    await using engine = engineOf(far);
    // No connection lives long enough for all of it.
    proxy.fault = { kind: "sever", afterBytes: () => 5 * mebibyte };
    const items = [item({ source: "x", target: far.url("y") })];
    const { manifest } = await engine.run(request({ direction: "out", root: here.path, items }), context);
    expect(manifest).toMatchObject([{ sha256: sha256(content), verified: "digest" }]);
    expect(await far.digest("y")).toBe(sha256(content));
    expect(proxy.severed).toBeGreaterThan(3);
    expect(await readdir(far.path(""))).toEqual(["y"]);
  });

  /** Four files of 900 kB over lines of so many bytes; returns how many lines there were. */
  async function fourFiles(far: SftpHarness, lineBytes: number): Promise<number> {
    await using here = await temporaryDirectory();
    const { proxy } = far;
    if (!proxy) throw new Error("no proxy");
    const contents = Object.fromEntries(["a", "b", "c", "d"].map((name, at) => [name, numbered(900_000 + at)]));
    await writeTree(here.path, contents);
    await using engine = engineOf(far);
    proxy.fault = { kind: "sever", afterBytes: () => lineBytes };
    const items = Object.keys(contents).map((name) => item({ source: name, target: far.url(name) }));
    await untilMoved(engine, request({ direction: "out", root: here.path, items }));
    proxy.fault = { kind: "pass" };
    expect(await digestTree(far.path(""))).toEqual(await digestTree(here.path));
    return proxy.connections;
  }

  it("F3: several files that no connection carries together, and no command compares, all arrive", async () => {
    await using far = await sftpHarness({}, { proxied: true });
    // All of it goes there once and is read back once; what each connection loses, and its beginning, come to less than it carries.
    expect(await fourFiles(far, 2_000_000)).toBeLessThan(20);
  });

  it("F3: several files arrive over connections that carry less than one of them", async () => {
    await using far = await sftpHarness({}, { proxied: true });
    expect(await fourFiles(far, 800_000)).toBeLessThan(60);
  });

  it("F3: any tree that goes there and comes back is the same", fuzzing, async () => {
    await using far = await sftpHarness({}, { proxied: true });
    const { proxy } = far;
    if (!proxy) throw new Error("no proxy");
    const name = fc
      .string({ unit: "grapheme", minLength: 1, maxLength: 12 })
      .map((text) => text.normalize("NFC").replace(/[\p{Cc}\p{Cs}\\/\u0080-\u009f\ufffd]/gu, "-"))
      .filter((text) => !/^\.+$|\.$|^\.part-/.test(text) && Buffer.byteLength(text) < 200);
    const path = fc.array(name, { minLength: 1, maxLength: 5 }).map((parts) => parts.join("/"));
    const content = fc.oneof(
      fc.constant({ bytes: 0, hole: 0 }),
      fc.record({ bytes: fc.integer({ min: 1, max: 70_000 }), hole: fc.constant(0) }),
      fc.record({ bytes: fc.integer({ min: 1, max: 300_000 }), hole: fc.integer({ min: 0, max: 1_000_000 }) }),
    );
    const tree = fc.dictionary(path, content, { minKeys: 1, maxKeys: 8 });
    const seed = fc.nat();
    let round = 0;
    await fc.assert(
      fc.asyncProperty(tree, seed, async (files, dice) => {
        await using here = await temporaryDirectory();
        const made = await plant(here, files, dice);
        fc.pre(made);
        const random = seeded(dice);
        const place = `round${round++}`;
        await using engine = engineOf(far);
        proxy.fault = { kind: "sever", afterBytes: () => 400_000 + 3_000_000 * random() };
        const out = [item({ kind: "directory", source: ".", target: `${far.url(place)}/` })];
        await untilMoved(engine, request({ direction: "out", root: here.join("tree"), items: out }));
        await mkdir(here.join("in"));
        const back = [item({ kind: "directory", source: far.url(place), target: "." })];
        await untilMoved(engine, request({ direction: "in", root: here.join("in"), items: back }));
        proxy.fault = { kind: "pass" };
        const expected = await digestTree(here.join("tree"));
        expect(await digestTree(far.path(place))).toEqual(expected);
        expect(await digestTree(here.join("in"))).toEqual(expected);
        await rm(far.path(place), { recursive: true });
      }),
      // Each smaller tree would take as long: none is looked for.
      { ...fuzz(3), endOnFailure: true },
    );
  });
});

/** As the agent does: when the tries of a run are used up the next run goes on, with what is journaled. */
async function untilMoved(engine: TransferEngine, task: ReturnType<typeof request>): Promise<void> {
  for (let runs = 1; ; runs++) {
    try {
      await engine.run({ ...task, known: [...task.journal] }, context);
      return;
    } catch (error) {
      if (!isFault(error, "TRANSFER") || runs >= 20) throw error;
    }
  }
}

/** Writes a tree; false where the names of two of its files cannot be together. */
async function plant(
  here: TemporaryDirectory,
  files: Readonly<Record<string, { readonly bytes: number; readonly hole: number }>>,
  seed: number,
): Promise<boolean> {
  const folded = Object.keys(files).map((path) => path.normalize("NFC").toUpperCase().toLowerCase());
  const clash = folded.some((path, index) =>
    folded.some((other, at) => at !== index && (other === path || other.startsWith(`${path}/`))),
  );
  const parts = folded.flatMap((path) => path.split("/").map((_, index, all) => all.slice(0, index + 1).join("/")));
  const exact = Object.keys(files).flatMap((path) =>
    path.split("/").map((_, index, all) => all.slice(0, index + 1).join("/")),
  );
  if (clash || new Set(parts).size !== new Set(exact).size) return false;
  for (const [path, { bytes, hole }] of Object.entries(files)) {
    await writeTree(here.join("tree"), { [path]: numbered(bytes).map((byte) => byte ^ (seed & 0xff)) });
    if (hole === 0) continue;
    await using handle = await open(join(here.join("tree"), path), "r+");
    await handle.write("end", bytes + hole);
  }
  return true;
}

describeWithEngine("sshd", "kill -9 in the middle of SFTP", () => {
  it.each(["in", "out"] as const)(
    "stage-%s goes on where it was, and the final name is never partial",
    async (direction) => {
      await using far = await sftpHarness({}, { proxied: true });
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
      try {
        await using child = await startChild(here, work);
        const part = await waitFor(
          async () => {
            const found = (await namesBelow(root)).find((name) => name.startsWith(".part-"));
            return found !== undefined && (await stat(join(root, found))).size > 2 * mebibyte && found;
          },
          { what: "a partial file", timeoutMs: 30_000 },
        );
        child.signal("SIGKILL");
        await child.finished;
        expect(await namesBelow(root)).toContain(part);
        expect(await namesBelow(root)).not.toContain(final);
      } finally {
        clearInterval(stall);
      }
      proxy.fault = { kind: "pass" };
      const before = proxy.bytes;
      await goOn(work);
      expect(proxy.bytes - before).toBeLessThan(size);
      expect(sha256(await readFile(join(root, final)))).toBe(sha256(numbered(size)));
      expect((await namesBelow(root)).filter((name) => name.startsWith(".part-"))).toEqual([]);
    },
  );

  it.each(["before-write", "before-rename", "after-rename", "after-write", "after-put"])(
    "at transfer.%s of a stage-out: absent or complete, then completed",
    async (name) => {
      await using far = await sftpHarness();
      await using here = await temporaryDirectory();
      await writeTree(here.path, { x: numbered(2 * mebibyte) });
      const work = childTask(far, "out", here.path);
      await killedAt(here, work, name);
      const there = await far.get("y");
      if (there) expect(sha256(there)).toBe(sha256(numbered(2 * mebibyte)));
      await goOn(work);
      expect(await digestTree(far.path(""))).toEqual({ y: sha256(numbered(2 * mebibyte)) });
    },
  );
});
