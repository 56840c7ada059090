import { execFile } from "node:child_process";
import { link, lstat, mkdir, readFile, rm, stat, symlink, utimes, writeFile } from "node:fs/promises";
import { promisify } from "node:util";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { newToken } from "../../../src/common/token.ts";
import { partialName } from "../../../src/transfer/paths.ts";
import { fuzz } from "../../helpers/fuzz.ts";
import { temporaryDirectory } from "../../helpers/temporary.ts";
import {
  digestTree,
  faultOf,
  fileUrl,
  item,
  namesBelow,
  request,
  sha256,
  startEngine,
  testContext,
  writeTree,
} from "./setup.ts";

async function place(): Promise<Awaited<ReturnType<typeof temporaryDirectory>>> {
  const directory = await temporaryDirectory("sa-transfer-");
  for (const name of ["data", "out", "job/in", "job/work"]) await mkdir(directory.join(name), { recursive: true });
  return directory;
}

function policyOf(directory: { join(...parts: readonly string[]): string }): {
  sources: string[];
  destinations: string[];
} {
  return { sources: [fileUrl(directory.join("data/"))], destinations: [fileUrl(directory.join("out/"))] };
}

describe("stage-in from local files", () => {
  test("copies a file, verifies it and journals it before it returns", async () => {
    await using directory = await place();
    await using engine = startEngine({ policy: policyOf(directory) });
    await writeTree(directory.join("data"), { "reads.fq": "ACGT" });
    const staged = request({
      direction: "in",
      root: directory.join("job/in"),
      items: [item({ name: "reads", source: fileUrl(directory.join("data/reads.fq")), target: "sub/reads.fq" })],
    });
    const outcome = await engine.run(staged, testContext());
    expect(await readFile(directory.join("job/in/sub/reads.fq"), "utf8")).toBe("ACGT");
    expect(outcome.manifest).toMatchObject([
      { item: "reads", path: "sub/reads.fq", bytes: 4, sha256: sha256("ACGT"), verified: "local" },
    ]);
    expect(staged.journal).toEqual(outcome.manifest);
    expect(outcome.movedBytes).toBe(4);
    expect(await namesBelow(directory.join("job/in"))).toEqual(["sub", "sub/reads.fq"]);
  });

  test("copies directories and globs, with include and exclude, in a stable order", async () => {
    await using directory = await place();
    await using engine = startEngine({ policy: policyOf(directory) });
    await writeTree(directory.join("data"), {
      "run/b.fq": "b",
      "run/a.fq": "a",
      "run/deep/er/c.fq": "c",
      "run/deep/skip.log": "x",
      "run/.hidden": "h",
      "one.txt": "1",
      "two.txt": "2",
      "three.md": "3",
    });
    const staged = request({
      direction: "in",
      root: directory.join("job/in"),
      items: [
        item({
          name: "run",
          kind: "directory",
          source: fileUrl(directory.join("data/run")),
          target: "run",
          exclude: ["*.log"],
        }),
        item({ name: "texts", kind: "glob", source: `${fileUrl(directory.join("data"))}/*.txt`, target: "." }),
      ],
    });
    const outcome = await engine.run(staged, testContext());
    expect(outcome.manifest.map((entry) => entry.path)).toEqual([
      "one.txt",
      "run/.hidden",
      "run/a.fq",
      "run/b.fq",
      "run/deep/er/c.fq",
      "two.txt",
    ]);
    expect(outcome.manifest[0]?.url).toBe(fileUrl(directory.join("data/one.txt")));
    expect(outcome.manifest[4]?.url).toBe(fileUrl(directory.join("data/run/deep/er/c.fq")));
  });

  test("takes of an output's tree what its globs and expressions name", async () => {
    await using directory = await place();
    await using engine = startEngine({ policy: policyOf(directory) });
    const made = [
      "s1/calls_001.vcf",
      "s1/calls_001.vcf.idx",
      "s2/calls_02.vcf",
      "s2/tmp/calls_003.vcf",
      "s2/x.log",
      "s2/y.log",
    ];
    await writeTree(directory.join("job/work"), Object.fromEntries(made.map((path) => [path, path])));
    const sent = async (filters: { include?: readonly string[]; exclude?: readonly string[] }) => {
      const target = `${fileUrl(directory.join("out"))}/${newToken()}/`;
      const items = [item({ kind: "directory", source: ".", target, ...filters })];
      const outcome = await engine.run(
        request({ direction: "out", root: directory.join("job/work"), items }),
        testContext(),
      );
      return outcome.manifest.map(({ path }) => path);
    };
    expect(await sent({ include: [String.raw`re:s\d/.*_\d{3}\.vcf`] })).toEqual([
      "s1/calls_001.vcf",
      "s2/tmp/calls_003.vcf",
    ]);
    expect(await sent({ include: ["re:.*vcf", "x.*"], exclude: ["re:s2/t.p"] })).toEqual([
      "s1/calls_001.vcf",
      "s2/calls_02.vcf",
      "s2/x.log",
    ]);
    expect(await sent({ exclude: ["*.log", "s1/**"] })).toEqual(["s2/calls_02.vcf", "s2/tmp/calls_003.vcf"]);
  });

  test("BAL-16, TAP-9: an empty required source is an error, a missing optional one is listed", async () => {
    await using directory = await place();
    await using engine = startEngine({ policy: policyOf(directory) });
    await mkdir(directory.join("data/empty"));
    const root = directory.join("job/in");
    const empty = item({
      name: "set",
      kind: "directory",
      source: fileUrl(directory.join("data/empty")),
      target: "set",
    });
    const absent = item({ name: "gone", source: fileUrl(directory.join("data/gone")), target: "gone" });
    const emptyFault = await faultOf(engine.run(request({ direction: "in", root, items: [empty] }), testContext()));
    expect(emptyFault).toMatchObject({ code: "TRANSFER_REFUSED" });
    expect(emptyFault.message).toContain("input 'set'");
    const absentFault = await faultOf(engine.run(request({ direction: "in", root, items: [absent] }), testContext()));
    expect(absentFault).toMatchObject({ code: "TRANSFER_REFUSED", details: { missing: true } });
    const optional = [empty, absent].map((one) => ({ ...one, required: false }));
    const outcome = await engine.run(request({ direction: "in", root, items: optional }), testContext());
    expect(outcome).toMatchObject({ manifest: [], missing: ["set", "gone"] });
  });

  test("TAP-9: a wrong digest is tried once more, then refused with both digests, and leaves nothing", async () => {
    await using directory = await place();
    await using engine = startEngine({ policy: policyOf(directory) });
    await writeTree(directory.join("data"), { x: "<html>log in</html>" });
    const context = testContext();
    const expectedSha256 = sha256("the data");
    const fault = await faultOf(
      engine.run(
        request({
          direction: "in",
          root: directory.join("job/in"),
          items: [item({ source: fileUrl(directory.join("data/x")), target: "x", expectedSha256 })],
        }),
        context,
      ),
    );
    expect(fault).toMatchObject({
      code: "DIGEST_MISMATCH",
      details: { expected: expectedSha256, actual: sha256("<html>log in</html>") },
    });
    expect(await namesBelow(directory.join("job/in"))).toEqual([]);
  });

  test("TAP-9: max_size and a promised size are held", async () => {
    await using directory = await place();
    await using engine = startEngine({ policy: policyOf(directory) });
    await writeTree(directory.join("data"), { x: "12345" });
    const source = fileUrl(directory.join("data/x"));
    const root = directory.join("job/in");
    const large = await faultOf(
      engine.run(
        request({ direction: "in", root, items: [item({ source, target: "x", maxBytes: 4 })] }),
        testContext(),
      ),
    );
    expect(large).toMatchObject({ code: "TRANSFER_REFUSED", details: { max_bytes: 4 } });
    const wrong = await faultOf(
      engine.run(
        request({ direction: "in", root, items: [item({ source, target: "x", expectedSize: 6 })] }),
        testContext(),
      ),
    );
    expect(wrong).toMatchObject({ code: "TRANSFER_REFUSED", details: { expected: 6, actual: 5 } });
    expect(await namesBelow(root)).toEqual([]);
  });

  test("known entries are not moved again as long as the file is the same", async () => {
    await using directory = await place();
    await using engine = startEngine({ policy: policyOf(directory) });
    await writeTree(directory.join("data"), { x: "12345" });
    const root = directory.join("job/in");
    const items = [item({ source: fileUrl(directory.join("data/x")), target: "x" })];
    const first = await engine.run(request({ direction: "in", root, items }), testContext());
    await rm(directory.join("data/x"));
    const again = request({ direction: "in", root, items, known: first.manifest });
    expect(await engine.run(again, testContext())).toMatchObject({ manifest: first.manifest, movedBytes: 0 });
    expect(again.journal).toEqual([]);
    await writeTree(directory.join("data"), { x: "12345" });
    await writeFile(`${root}/x`, "1234X");
    await utimes(`${root}/x`, 1, 1);
    expect(
      await engine.run(request({ direction: "in", root, items, known: first.manifest }), testContext()),
    ).toMatchObject({
      movedBytes: 5,
    });
    expect(await readFile(`${root}/x`, "utf8")).toBe("12345");
  });

  test("link makes a hard link, verified, and replaces what was there", async () => {
    await using directory = await place();
    await using engine = startEngine({ policy: policyOf(directory) });
    await writeTree(directory.join("data"), { big: "genome" });
    const root = directory.join("job/in");
    const items = [item({ source: fileUrl(directory.join("data/big")), target: "big", mode: "link" })];
    for (let round = 0; round < 2; round++) {
      const outcome = await engine.run(request({ direction: "in", root, items }), testContext());
      expect(outcome.manifest[0]).toMatchObject({ sha256: sha256("genome"), verified: "local" });
      expect((await stat(`${root}/big`)).ino).toBe((await stat(directory.join("data/big"))).ino);
      expect(await namesBelow(root)).toEqual(["big"]);
    }
  });

  test("takes up a partial file of the same source version, and recomputes its digest", async () => {
    await using directory = await place();
    await using engine = startEngine({ policy: policyOf(directory) });
    const data = Buffer.alloc(3_000_000, "siteagent ");
    await writeTree(directory.join("data"), { x: data });
    const root = directory.join("job/in");
    const items = [item({ source: fileUrl(directory.join("data/x")), target: "x" })];
    const stopper = new AbortController();
    const first = request({ direction: "in", root, items, onProgress: () => stopper.abort() });
    expect(await faultOf(engine.run(first, testContext({ signal: stopper.signal })))).toMatchObject({
      code: "CANCELLED",
    });
    const [part = ""] = await namesBelow(root);
    expect(part.startsWith(partialName(first.token, ""))).toBe(true);
    await writeFile(`${root}/${part}`, data.subarray(0, 1_000_000));
    const second = await engine.run(request({ direction: "in", root, items, token: first.token }), testContext());
    expect(second).toMatchObject({ movedBytes: 2_000_000, manifest: [{ sha256: sha256(data) }] });
    expect(await namesBelow(root)).toEqual(["x"]);
  });

  test("a damaged partial file ends in a redo when a digest was promised", async () => {
    await using directory = await place();
    await using engine = startEngine({ policy: policyOf(directory) });
    const data = Buffer.alloc(1_000_000, "siteagent ");
    await writeTree(directory.join("data"), { x: data });
    const root = directory.join("job/in");
    const items = [item({ source: fileUrl(directory.join("data/x")), target: "x", expectedSha256: sha256(data) })];
    const stopper = new AbortController();
    const first = request({ direction: "in", root, items, onProgress: () => stopper.abort() });
    await faultOf(engine.run(first, testContext({ signal: stopper.signal })));
    const [part = ""] = await namesBelow(root);
    await writeFile(`${root}/${part}`, Buffer.alloc(500_000, "x"));
    const second = await engine.run(request({ direction: "in", root, items, token: first.token }), testContext());
    expect(second).toMatchObject({ movedBytes: 1_000_000, manifest: [{ sha256: sha256(data), verified: "digest" }] });
  });

  test("clean removes the partial files of one job only", async () => {
    await using directory = await place();
    await using engine = startEngine({ policy: policyOf(directory) });
    const root = directory.join("job/in");
    const mine = request({ direction: "in", root, items: [] }).token;
    const other = request({ direction: "in", root, items: [] }).token;
    await writeTree(root, {
      [partialName(mine, "1")]: "",
      [`a/b/${partialName(mine, "2")}`]: "",
      [partialName(other, "1")]: "",
      "a/x": "",
    });
    await symlink(directory.join("data"), `${root}/away`);
    await writeTree(directory.join("data"), { [partialName(mine, "3")]: "" });
    await engine.clean(mine, root, testContext());
    expect(await namesBelow(root)).toEqual([partialName(other, "1"), "a", "a/b", "a/x", "away"].toSorted());
    expect(await namesBelow(directory.join("data"))).toEqual([partialName(mine, "3")]);
    await engine.clean(mine, `${root}/nowhere`, testContext());
  });
});

describe("what leads elsewhere is refused", () => {
  test.each(["../x", "/etc/x", "a/../../x", "a//x", "a/./x", "", ".", "a\nb", "a\0b", "x.", "a\\b", "é".repeat(200)])(
    "target %j",
    async (target) => {
      await using directory = await place();
      await using engine = startEngine({ policy: policyOf(directory) });
      await writeTree(directory.join("data"), { x: "1" });
      const items = [item({ source: fileUrl(directory.join("data/x")), target })];
      const fault = await faultOf(
        engine.run(request({ direction: "in", root: directory.join("job/in"), items }), testContext()),
      );
      expect(fault.code).toBe("UNSAFE_PATH");
      expect(await namesBelow(directory.path)).toEqual(["data", "data/x", "job", "job/in", "job/work", "out"]);
    },
  );

  test("a symbolic link in the way of a target", async () => {
    await using directory = await place();
    await using engine = startEngine({ policy: policyOf(directory) });
    await writeTree(directory.join("data"), { x: "1" });
    await symlink(directory.join("out"), directory.join("job/in/sub"));
    const items = [item({ source: fileUrl(directory.join("data/x")), target: "sub/x" })];
    const fault = await faultOf(
      engine.run(request({ direction: "in", root: directory.join("job/in"), items }), testContext()),
    );
    expect(fault.code).toBe("UNSAFE_PATH");
    expect(await namesBelow(directory.join("out"))).toEqual([]);
  });

  test("a symbolic link at the target's name is replaced, not written through", async () => {
    await using directory = await place();
    await using engine = startEngine({ policy: policyOf(directory) });
    await writeTree(directory.join("data"), { x: "1" });
    await writeTree(directory.join("out"), { victim: "old" });
    await symlink(directory.join("out/victim"), directory.join("job/in/x"));
    const items = [item({ source: fileUrl(directory.join("data/x")), target: "x" })];
    await engine.run(request({ direction: "in", root: directory.join("job/in"), items }), testContext());
    expect((await lstat(directory.join("job/in/x"))).isFile()).toBe(true);
    expect(await readFile(directory.join("out/victim"), "utf8")).toBe("old");
  });

  test("a partial name that is a hard link or symbolic link to something else", async () => {
    await using directory = await place();
    await using engine = startEngine({ policy: policyOf(directory) });
    await writeTree(directory.join("data"), { x: Buffer.alloc(2_000_000, "a") });
    await writeTree(directory.join("out"), { victim: "old" });
    const root = directory.join("job/in");
    const items = [item({ source: fileUrl(directory.join("data/x")), target: "x" })];
    const stopper = new AbortController();
    const first = request({ direction: "in", root, items, onProgress: () => stopper.abort() });
    await faultOf(engine.run(first, testContext({ signal: stopper.signal })));
    const [part = ""] = await namesBelow(root);
    for (const make of [link, symlink]) {
      await rm(`${root}/${part}`, { force: true });
      await make(directory.join("out/victim"), `${root}/${part}`);
      await engine.run(request({ direction: "in", root, items, token: first.token }), testContext());
      expect(await readFile(directory.join("out/victim"), "utf8")).toBe("old");
      expect(await namesBelow(root)).toEqual(["x"]);
    }
  });

  test("names that collide but for case", async () => {
    await using directory = await place();
    await using engine = startEngine({ policy: policyOf(directory) });
    await writeTree(directory.join("data"), { "d/Reads.fq": "1", "d/reads.fq": "2" });
    const items = [item({ kind: "directory", source: fileUrl(directory.join("data/d")), target: "d" })];
    const fault = await faultOf(
      engine.run(request({ direction: "in", root: directory.join("job/in"), items }), testContext()),
    );
    expect(fault.code).toBe("UNSAFE_PATH");
    expect(fault.message).toContain("collides");
  });

  test("a source whose links leave the allowed directory, by name or inside", async () => {
    await using directory = await place();
    await using engine = startEngine({ policy: policyOf(directory) });
    await writeTree(directory.path, { "secret/key": "s" });
    await symlink(directory.join("secret/key"), directory.join("data/key"));
    await symlink(directory.join("secret"), directory.join("data/dir"));
    await writeTree(directory.join("data"), { "set/x": "1" });
    await symlink(directory.join("secret/key"), directory.join("data/set/key"));
    const root = directory.join("job/in");
    for (const [kind, path] of [
      ["file", "key"],
      ["file", "dir/key"],
      ["directory", "set"],
      ["directory", "dir"],
    ] as const) {
      for (const mode of ["copy", "link"] as const) {
        const items = [item({ kind, mode, source: fileUrl(directory.join("data", path)), target: "t" })];
        const fault = await faultOf(engine.run(request({ direction: "in", root, items }), testContext()));
        expect(fault.code, path).toBe("UNSAFE_PATH");
      }
    }
    expect(await namesBelow(root)).toEqual([]);
  });

  test("a fifo is refused, not waited for", async () => {
    await using directory = await place();
    await using engine = startEngine({ policy: policyOf(directory) });
    await promisify(execFile)("mkfifo", [directory.join("data/pipe"), directory.join("job/work/pipe")]);
    const items = [item({ source: fileUrl(directory.join("data/pipe")), target: "x" })];
    const stageIn = engine.run(request({ direction: "in", root: directory.join("job/in"), items }), testContext());
    expect((await faultOf(stageIn)).code).toBe("UNSAFE_PATH");
    const out = [item({ source: "pipe", target: fileUrl(directory.join("out/x")) })];
    const stageOut = engine.run(
      request({ direction: "out", root: directory.join("job/work"), items: out }),
      testContext(),
    );
    expect((await faultOf(stageOut)).code).toBe("UNSAFE_PATH");
  });

  test("all wrong items are named at once", async () => {
    await using directory = await place();
    await using engine = startEngine({ policy: policyOf(directory) });
    const items = [
      item({ name: "a", source: "file:///etc/passwd", target: "x" }),
      item({ name: "b", source: fileUrl(directory.join("data/x")), target: "../x" }),
    ];
    const fault = await faultOf(
      engine.run(request({ direction: "in", root: directory.join("job/in"), items }), testContext()),
    );
    expect(fault.code).toBe("POLICY");
    expect(fault.details?.["problems"]).toHaveLength(2);
  });
});

describe("stage-out to local directories", () => {
  test("sends a file, a directory and a glob", async () => {
    await using directory = await place();
    await using engine = startEngine({ policy: policyOf(directory) });
    await writeTree(directory.join("job/work"), {
      "report.json": "{}",
      "plots/a.svg": "a",
      "plots/b/c.svg": "c",
      "x/1.log": "1",
      "x/2.log": "2",
    });
    const out = fileUrl(directory.join("out"));
    const sent = request({
      direction: "out",
      root: directory.join("job/work"),
      items: [
        item({ name: "report", source: "report.json", target: `${out}/run1/` }),
        item({ name: "plots", kind: "directory", source: "plots", target: `${out}/run1/plots` }),
        item({ name: "logs", kind: "glob", source: "x/*.log", target: `${out}/logs/`, exclude: ["2.log"] }),
      ],
    });
    const outcome = await engine.run(sent, testContext());
    expect(await namesBelow(directory.join("out"))).toEqual([
      "logs",
      "logs/1.log",
      "run1",
      "run1/plots",
      "run1/plots/a.svg",
      "run1/plots/b",
      "run1/plots/b/c.svg",
      "run1/report.json",
    ]);
    expect(outcome.manifest.map((entry) => entry.path)).toEqual([
      "plots/a.svg",
      "plots/b/c.svg",
      "report.json",
      "x/1.log",
    ]);
    const again = request({ ...sent, known: outcome.manifest });
    expect(await engine.run(again, testContext())).toMatchObject({ movedBytes: 0, manifest: outcome.manifest });
    const unrecorded = await engine.run(request({ ...sent, known: [] }), testContext());
    expect(unrecorded).toMatchObject({ movedBytes: 0, manifest: outcome.manifest });
  });

  test("symbolic links inside work are followed, those that leave it are refused", async () => {
    await using directory = await place();
    await using engine = startEngine({ policy: policyOf(directory) });
    const root = directory.join("job/work");
    await writeTree(root, { "run3/r.txt": "3" });
    await writeTree(directory.path, { "secret/key": "s" });
    await symlink("run3", `${root}/latest`);
    await symlink("run3/r.txt", `${root}/r.txt`);
    const out = fileUrl(directory.join("out"));
    const inside = [
      item({ source: "r.txt", target: `${out}/r.txt` }),
      item({ kind: "directory", source: "latest", target: `${out}/l/` }),
    ];
    await engine.run(request({ direction: "out", root, items: inside }), testContext());
    expect(Object.keys(await digestTree(directory.join("out")))).toEqual(["l/r.txt", "r.txt"]);
    await symlink(directory.join("secret/key"), `${root}/key`);
    await symlink(directory.join("secret"), `${root}/run3/dir`);
    await symlink("..", `${root}/run3/up`);
    for (const leaving of [
      item({ source: "key", target: `${out}/k` }),
      item({ source: "run3/dir/key", target: `${out}/k` }),
      item({ kind: "glob", source: "k*", target: `${out}/k/` }),
      item({ kind: "directory", source: "run3", target: `${out}/k/` }),
      item({ kind: "directory", source: ".", target: `${out}/k/` }),
    ]) {
      const fault = await faultOf(engine.run(request({ direction: "out", root, items: [leaving] }), testContext()));
      expect(fault.code, leaving.source).toBe("UNSAFE_PATH");
    }
    expect(Object.keys(await digestTree(directory.join("out")))).toEqual(["l/r.txt", "r.txt"]);
  });

  test("a name that is no UTF-8 is refused by name", async () => {
    await using directory = await place();
    await using engine = startEngine({ policy: policyOf(directory) });
    await writeFile(Buffer.concat([Buffer.from(`${directory.join("job/work")}/`), Buffer.from([0x61, 0xff])]), "x");
    const items = [item({ kind: "directory", source: ".", target: `${fileUrl(directory.join("out"))}/` })];
    const fault = await faultOf(
      engine.run(request({ direction: "out", root: directory.join("job/work"), items }), testContext()),
    );
    expect(fault).toMatchObject({ code: "UNSAFE_PATH" });
    expect(fault.message).toContain("UTF-8");
  });

  test("an existing destination is replaced whole", async () => {
    await using directory = await place();
    await using engine = startEngine({ policy: policyOf(directory) });
    await writeTree(directory.path, { "job/work/r": "new", "out/r": "older and longer" });
    const items = [item({ source: "r", target: fileUrl(directory.join("out/r")) })];
    await engine.run(request({ direction: "out", root: directory.join("job/work"), items }), testContext());
    expect(await readFile(directory.join("out/r"), "utf8")).toBe("new");
  });
});

const segment = fc
  .string({ unit: "grapheme", minLength: 1, maxLength: 20 })
  .filter((text) => /^[^/\\\p{Cc}\ufffd]+$/u.test(text) && !text.endsWith(".") && text.isWellFormed());

test("random trees are the same after stage-in and stage-out", { timeout: 120_000 }, async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.uniqueArray(fc.tuple(fc.array(segment, { minLength: 1, maxLength: 6 }), fc.uint8Array({ maxLength: 300 })), {
        maxLength: 12,
        selector: ([path]) => path[0]?.normalize("NFC").toUpperCase().toLowerCase(),
      }),
      async (files) => {
        await using directory = await place();
        await using engine = startEngine({ policy: policyOf(directory) });
        await mkdir(directory.join("data/tree"));
        await writeTree(
          directory.join("data/tree"),
          Object.fromEntries(files.map(([path, data]) => [path.join("/"), data])),
        );
        const before = await digestTree(directory.join("data/tree"));
        const common = { kind: "directory", required: false } as const;
        const root = directory.join("job/in");
        const inItems = [item({ ...common, source: fileUrl(directory.join("data/tree")), target: "tree" })];
        const staged = await engine.run(request({ direction: "in", root, items: inItems }), testContext());
        const outItems = [item({ ...common, source: "tree", target: `${fileUrl(directory.join("out"))}/` })];
        await engine.run(request({ direction: "out", root, items: outItems }), testContext());
        expect(await digestTree(directory.join("out"))).toEqual(before);
        expect(
          Object.fromEntries(staged.manifest.map((entry) => [entry.path.slice("tree/".length), entry.sha256])),
        ).toEqual(before);
      },
    ),
    fuzz(60),
  );
});
