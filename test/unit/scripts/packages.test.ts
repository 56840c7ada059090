import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { repository } from "../../helpers/cli.ts";

interface LockedPackage {
  readonly version?: string;
  readonly resolved?: string;
  readonly integrity?: string;
  readonly os?: readonly string[];
}

const manifest = JSON.parse(await readFile(join(repository, "package.json"), "utf8")) as Record<string, object>;
const lockText = await readFile(join(repository, "package-lock.json"), "utf8");
const locked = (JSON.parse(lockText) as { packages: Record<string, LockedPackage> }).packages;

describe("package.json", () => {
  it("names an exact version of every dependency", () => {
    const versions = ["dependencies", "devDependencies", "optionalDependencies"].flatMap((kind) =>
      Object.entries(manifest[kind] ?? {}),
    );
    expect(versions.length).toBeGreaterThan(20);
    expect(versions.filter(([, version]) => !/^(npm:@?[\w./-]+@)?\d+\.\d+\.\d+$/.test(String(version)))).toEqual([]);
  });

  it("agrees with package-lock.json, so that npm ci accepts it", () => {
    const own = locked[""] as Record<string, object> | undefined;
    for (const kind of ["dependencies", "devDependencies", "optionalDependencies"]) {
      expect(own?.[kind], kind).toEqual(manifest[kind]);
    }
  });
});

describe("package-lock.json", () => {
  it("names no registry: neither 'resolved' nor any address of a package", () => {
    const packages = Object.entries(locked);
    expect(packages.filter(([, entry]) => entry.resolved !== undefined)).toEqual([]);
    const addresses = [...lockText.matchAll(/"(?!url"|funding")[^"]+": "(?:git\+|https?:|file:)[^"]*"/g)];
    expect(addresses.map(([text]) => text)).toEqual([]);
  });

  it("has a digest for every package", () => {
    const without = Object.entries(locked).filter(([path, entry]) => path !== "" && entry.integrity === undefined);
    expect(without).toEqual([]);
  });

  it("has the binaries of both platforms, not only of the one where it was written", () => {
    const paths = Object.keys(locked);
    for (const name of ["node-linux-", "@lydell/node-pty-linux-", "@typescript/typescript-linux-"]) {
      for (const arch of ["x64", "arm64"]) expect(paths, name).toContain(`node_modules/${name}${arch}`);
    }
  });
});
