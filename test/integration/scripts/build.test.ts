import { existsSync } from "node:fs";
import { mkdir, readdir, readFile, utimes, writeFile } from "node:fs/promises";
import { expect, it } from "vitest";
import { build, refreshBuild } from "../../../scripts/build/build.ts";
import { type TemporaryDirectory, temporaryDirectory } from "../../helpers/temporary.ts";

async function project(): Promise<TemporaryDirectory> {
  const directory = await temporaryDirectory();
  const compilerOptions = {
    target: "esnext",
    module: "nodenext",
    types: [],
    rewriteRelativeImportExtensions: true,
    rootDir: "src",
  };
  await writeFile(directory.join("tsconfig.build.json"), JSON.stringify({ compilerOptions, include: ["src"] }));
  await writeFile(directory.join("package.json"), JSON.stringify({ type: "module" }));
  await mkdir(directory.join("src", "pages"), { recursive: true });
  await writeFile(
    directory.join("src", "main.ts"),
    'import { one } from "./one.ts";\nexport const two: number = one + 1;\n',
  );
  await writeFile(directory.join("src", "one.ts"), "export const one: number = 1;\n");
  await writeFile(directory.join("src", "pages", "start.sh"), "#!/bin/sh\n", { mode: 0o755 });
  return directory;
}

it("compiles, copies what is not TypeScript, and leaves nothing beside", async () => {
  await using directory = await project();
  expect(await build(directory.path)).toEqual({ files: 3, assets: 1 });
  expect((await import(directory.join("dist", "main.js"))) as unknown).toMatchObject({ two: 2 });
  expect(existsSync(directory.join("dist", "pages", "start.sh"))).toBe(true);
  expect(await readdir(directory.join(".cache"))).toEqual([]);
});

it("keeps the old build when the new one fails", async () => {
  await using directory = await project();
  await build(directory.path);
  await writeFile(directory.join("src", "one.ts"), 'export const one: number = "1";\n');
  await expect(build(directory.path)).rejects.toThrow(/tsc ended with 2[\s\S]*not assignable/);
  expect(await readFile(directory.join("dist", "one.js"), "utf8")).toContain("one = 1");
  expect(await readdir(directory.join(".cache"))).toEqual([]);
});

it("builds again only what is older than its sources", async () => {
  await using directory = await project();
  expect(await refreshBuild(directory.path)).toBe(false);
  expect(existsSync(directory.join("dist"))).toBe(false);
  await build(directory.path);
  await writeFile(directory.join("src", "one.ts"), "export const one: number = 5;\n");
  const past = new Date(Date.now() - 3_600_000);
  await utimes(directory.join("src", "one.ts"), past, past);
  await refreshBuild(directory.path);
  expect(await readFile(directory.join("dist", "one.js"), "utf8")).toContain("one = 1");
  const future = new Date(Date.now() + 3_600_000);
  await utimes(directory.join("src", "one.ts"), future, future);
  await refreshBuild(directory.path);
  expect(await readFile(directory.join("dist", "one.js"), "utf8")).toContain("one = 5");
});
