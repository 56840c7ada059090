import { mkdir, mkdtemp, realpath, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve, sep } from "node:path";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { Fault } from "../../../src/common/fault.ts";
import { newToken } from "../../../src/common/token.ts";
import {
  decodeName,
  isPartialName,
  openDirectoryBelow,
  openFileBelow,
  openPlace,
  partialName,
  pathProblem,
  foldedPath,
  refuseNeighbours,
  relativeSegments,
} from "../../../src/transfer/paths.ts";
import { fuzz, fuzzing } from "../../helpers/fuzz.ts";

const odd = fc.oneof(
  fc.constantFrom(
    "..",
    ".",
    "",
    "/",
    "\\",
    "a",
    "a/b",
    "../..",
    "\0",
    "\n",
    "\u0085",
    "…",
    "a.",
    " ",
    "-rf",
    "~",
    "$HOME",
    "a\ud800",
    "\ufffd",
    "%2e%2e",
  ),
  fc.string({ unit: "binary", maxLength: 6 }),
  fc.constant("x".repeat(256)),
);

test("no name that passes leads outside its root", fuzzing, () => {
  fc.assert(
    fc.property(
      fc.array(odd, { maxLength: 6 }).map((parts) => parts.join("/")),
      (path) => {
        if (pathProblem(path) !== undefined) return;
        const root = "/srv/job/in";
        const full = resolve(root, path);
        expect(full.startsWith(`${root}${sep}`)).toBe(true);
        expect(full).toBe(join(root, path));
        expect(relativeSegments(path, "target").join("/")).toBe(path);
      },
    ),
    fuzz(3_000),
  );
});

test("the error names the field and shows the value on one line", () => {
  expect(() => relativeSegments("a\nb/../c", "input 'reads': target")).toThrow(
    /^input 'reads': target 'a\\u000ab\/\.\.\/c' is refused: /,
  );
});

test("partial names are recognised per job and refused as targets", () => {
  const token = newToken();
  const name = partialName(token, "0a1b");
  expect(isPartialName(name)).toBe(true);
  expect(isPartialName(name, token)).toBe(true);
  expect(isPartialName(name, newToken())).toBe(false);
  expect(isPartialName(".part-of-a-book")).toBe(false);
  expect(pathProblem(`a/${name}`)).toContain("siteagent's own");
});

describe("collisions", () => {
  const refuseCollisions = (paths: readonly string[]): void => {
    const sorted = paths.map(foldedPath).toSorted((a, b) => (a.folded < b.folded ? -1 : 1));
    for (const [index, second] of sorted.entries()) {
      const first = sorted[index - 1];
      if (first) refuseNeighbours(first, second, "target");
    }
  };

  test.each([
    [["a", "A"]],
    [["é", "e\u0301"]],
    [["dir/x", "DIR/X"]],
    [["straße", "STRASSE"]],
    [["a", "a/b"]],
    [["a/b/c", "z", "A/B"]],
    [["same", "same"]],
    [["a/b", "a.c", "a-d", "a", "a c"]],
  ])("%j", (paths) => {
    expect(() => refuseCollisions(paths)).toThrow(Fault);
  });

  test("different names are none", () => {
    expect(() => refuseCollisions(["a", "b", "c/a", "c/b", "cc", "c.d/e", "c-", "c c"])).not.toThrow();
  });
});

describe("walking below a root", () => {
  test("random walks through a directory full of traps never leave it", fuzzing, async () => {
    const base = await realpath(await mkdtemp(join(tmpdir(), "sa-paths-")));
    try {
      const root = join(base, "root");
      await mkdir(join(root, "real/deep"), { recursive: true });
      await mkdir(join(base, "outside"));
      await writeFile(join(base, "outside/secret"), "secret");
      await writeFile(join(root, "real/file"), "inside");
      await symlink("../outside", join(root, "out"));
      await symlink(join(base, "outside/secret"), join(root, "real/link"));
      await symlink(".", join(root, "real/self"));
      await symlink("/", join(root, "real/deep/top"));
      const step = fc.constantFrom(
        "real",
        "deep",
        "out",
        "link",
        "self",
        "top",
        "file",
        "secret",
        "new",
        "..",
        "outside",
      );
      await fc.assert(
        fc.asyncProperty(fc.array(step, { minLength: 1, maxLength: 6 }), async (steps) => {
          const safe = pathProblem(steps.join("/")) === undefined;
          if (!safe) return;
          try {
            await using handle = await openFileBelow(root, steps, "target");
            expect(await handle.readFile("utf8")).toBe("inside");
          } catch (error) {
            if (error instanceof Fault) expect(error.code).toBe("UNSAFE_PATH");
            else expect(error).toMatchObject({ code: "ENOENT" });
          }
        }),
        fuzz(500),
      );
    } finally {
      await rm(base, { recursive: true });
    }
  });

  test("makes missing directories, and survives two makers at once", async () => {
    const root = await mkdtemp(join(tmpdir(), "sa-paths-"));
    try {
      const make = (): Promise<AsyncDisposable> =>
        openDirectoryBelow(root, ["a", "b", "c"], { create: true, field: "target" });
      const made = await Promise.all([make(), make(), make(), make()]);
      await Promise.all(made.map((directory) => directory[Symbol.asyncDispose]()));
      await using directory = await openDirectoryBelow(root, ["a", "b"], { create: false, field: "target" });
      await writeFile(directory.at("x"), "x");
      await using handle = await openFileBelow(root, ["a", "b", "x"], "target");
      expect(await handle.readFile("utf8")).toBe("x");
    } finally {
      await rm(root, { recursive: true });
    }
  });

  test("a target is a file's place: its directories are made, a directory or a file among them is refused", async () => {
    const root = await mkdtemp(join(tmpdir(), "sa-paths-"));
    try {
      {
        await using place = await openPlace(root, "made/here/x", "input 'reads'");
        await writeFile(place.directory.at(place.name), "x");
      }
      {
        // One that is there is replaced when the transfer is done, so it is no hindrance.
        await using again = await openPlace(root, "made/here/x", "input 'reads'");
        expect(again.name).toBe("x");
      }
      await expect(openPlace(root, "made/here", "input 'reads'")).rejects.toThrow(
        "input 'reads': target 'made/here' is refused: a directory has that name",
      );
      await expect(openPlace(root, "made/here/x/y", "input 'reads'")).rejects.toMatchObject({ code: "UNSAFE_PATH" });
      await expect(openFileBelow(root, ["made"], "target")).rejects.toThrow("it is a directory");
    } finally {
      await rm(root, { recursive: true });
    }
  });
});

test("a name that is no UTF-8 is refused with its directory, byte by byte", () => {
  expect(decodeName(Buffer.from("é.fq"), "in", "output 'x'")).toBe("é.fq");
  expect(() => decodeName(Buffer.from([0x61, 0xff]), "in", "output 'x'")).toThrow(
    /'in\/aÿ' is refused: it is not valid UTF-8/,
  );
  expect(() => decodeName(Buffer.from([0xff]), "", "output 'x'")).toThrow(/'ÿ' is refused/);
});
