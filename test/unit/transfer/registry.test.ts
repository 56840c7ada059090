import { existsSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { builtInTransfers } from "../../../src/transfer/built-in.ts";
import { compilePolicy } from "../../../src/transfer/policy.ts";
import { TransferRegistry } from "../../../src/transfer/registry.ts";

const policy = compilePolicy({ sources: [], destinations: [] });
const access = (host: string): never => {
  throw new Error(`no way to '${host}'`);
};
const stores = (): undefined => undefined;
const folder = join(import.meta.dirname, "../../../src/transfer");

test("each adapter folder is registered and documented", () => {
  const entries = readdirSync(folder, { withFileTypes: true }).filter((entry) => entry.isDirectory());
  const folders = entries.filter(({ name }) => name !== "cache"); // of the engine
  expect(folders.map((entry) => entry.name).toSorted()).toEqual(Object.keys(builtInTransfers).toSorted());
  for (const { name } of folders) {
    expect(existsSync(join(folder, name, "index.ts"))).toBe(true);
    expect(existsSync(join(folder, name, "README.md"))).toBe(true);
  }
});

test("finds adapters by scheme, and names the nearest scheme", async () => {
  await using registry = new TransferRegistry(
    Object.values(builtInTransfers).map((create) => create({ policy, access, stores })),
  );
  expect(registry.schemes).toEqual(["file", "globus", "http", "https", "rsync", "s3", "scp", "sftp"]);
  expect(registry.forUrl("HTTPS://x/").kind).toBe("http");
  expect(() => registry.forUrl("htps://x/")).toThrow("no transfer serves scheme 'htps' of 'htps://x/'");
  expect(() => registry.forUrl("")).toThrow("no transfer serves scheme ''");
});

test("two adapters for one scheme are refused", () => {
  const local = builtInTransfers.local({ policy });
  const registry = new TransferRegistry([local]);
  registry.add(local);
  expect(() => registry.add(builtInTransfers.local({ policy }))).toThrow("scheme 'file' is served by two transfers");
});
