import { cp, mkdir, readdir, rename, rm, stat } from "node:fs/promises";
import { join } from "node:path";
import { captureStep, repository, tool } from "../lib/run.ts";

/**
 * Compiles `src` to `dist` and copies what is not TypeScript (shell, SQL, pages). The old `dist` stays until the new one
 * is whole, because `bin/siteagent` runs what lies there. Throws with the compiler's words.
 */
export async function build(root = repository): Promise<{ files: number; assets: number }> {
  const source = join(root, "src");
  const target = join(root, "dist");
  const cache = join(root, ".cache");
  const fresh = join(cache, `dist-${process.pid}`);
  await mkdir(cache, { recursive: true });
  await rm(fresh, { recursive: true, force: true });
  try {
    const args = [tool("typescript/bin/tsc"), "-p", join(root, "tsconfig.build.json"), "--outDir", fresh];
    const compiled = await captureStep(process.execPath, args);
    if (compiled.code !== 0) throw new Error(`tsc ended with ${compiled.code}\n${compiled.output}`);
    const assets = (await filesUnder(source)).filter((path) => !/\.[cm]?ts$/.test(path));
    for (const path of assets) await cp(join(source, path), join(fresh, path), { preserveTimestamps: true });
    const files = (await filesUnder(fresh)).length;
    if (!(await exists(join(fresh, "main.js")))) throw new Error("the build has no main.js: is there a src/main.ts?");
    await rm(target, { recursive: true, force: true });
    await rename(fresh, target);
    return { files, assets: assets.length };
  } finally {
    await rm(fresh, { recursive: true, force: true });
  }
}

/** Builds again when there is a `dist` that is older than `src`: tests that start `bin/siteagent` must not run old code. True when it did. */
export async function refreshBuild(root = repository): Promise<boolean> {
  const built = await modified(join(root, "dist", "main.js"));
  if (built === undefined) return false;
  const source = join(root, "src");
  const times = await Promise.all((await filesUnder(source)).map((path) => modified(join(source, path))));
  if (times.every((time) => time === undefined || time <= built)) return false;
  await build(root);
  return true;
}

/** Paths of all files, relative to `directory`. */
async function filesUnder(directory: string): Promise<readonly string[]> {
  const entries = await readdir(directory, { recursive: true, withFileTypes: true });
  const files = entries.filter((entry) => entry.isFile());
  return files.map((entry) => join(entry.parentPath, entry.name).slice(directory.length + 1));
}

async function modified(path: string): Promise<number | undefined> {
  try {
    return (await stat(path)).mtimeMs;
  } catch {
    return undefined;
  }
}

async function exists(path: string): Promise<boolean> {
  return (await modified(path)) !== undefined;
}
