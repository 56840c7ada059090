import { copyFile, mkdir, readFile, rm, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { createLocalTransfer } from "../../../src/transfer/local/index.ts";
import type { TransferPolicy } from "../../../src/transfer/policy.ts";
import type { BulkTransfer, TransferAdapter } from "../../../src/transfer/types.ts";
import { sha256 } from "./setup.ts";

export interface BulkAdapter extends TransferAdapter {
  readonly bulk: BulkTransfer;
  /** Paths of each call so far. */
  readonly calls: (readonly string[])[];
  /** Files that were read or written one by one. */
  readonly singles: string[];
}

/** What a test makes of a file on its way: other bytes, or an error. */
export type OnTheWay = (path: string, content: Buffer, call: number) => Promise<Buffer | undefined>;

/** Directories of this machine as if they were far away, reached by calls for many files alone or for single ones too. */
export function bulkAdapter(
  policy: TransferPolicy,
  limits: Partial<Omit<BulkTransfer, "fetch" | "send">> = {},
  onTheWay: OnTheWay = async (_path, content) => content,
): BulkAdapter {
  const local = createLocalTransfer({ policy });
  const calls: (readonly string[])[] = [];
  const singles: string[] = [];
  const bulk: BulkTransfer = {
    leastFiles: 2,
    mostFileBytes: 1_000_000,
    mostFiles: 1_000,
    mostBytes: 10_000_000,
    ...limits,
    async fetch(url, files, directory, arrived) {
      const call = calls.push(files.map(({ path }) => path)) - 1;
      for (const file of files) {
        const content = await onTheWay(file.path, await readFile(join(fileURLToPath(url), file.path)), call);
        if (content === undefined) continue;
        const target = join(directory, file.path === "" ? "file" : file.path);
        await mkdir(dirname(target), { recursive: true });
        await rm(target, { force: true });
        await writeFile(target, content);
        await arrived(file);
      }
    },
    async send(url, files, _info, arrived) {
      const call = calls.push(files.map(({ path }) => path)) - 1;
      for (const file of files) {
        const content = await onTheWay(file.path, await readFile(file.localPath), call);
        if (content === undefined) continue;
        const target = join(fileURLToPath(url), file.path);
        await mkdir(dirname(target), { recursive: true });
        await writeFile(`${target}.new`, content);
        await copyFile(`${target}.new`, target);
        await rm(`${target}.new`);
        await arrived(file, { bytes: content.length, sha256: sha256(content) });
      }
    },
  };
  return {
    kind: "far",
    schemes: local.schemes,
    capabilities: local.capabilities,
    bulk,
    calls,
    singles,
    probe: (context) => local.probe(context),
    list: (url, kind, context) => local.list(url, kind, context),
    read: (url, file, offset, context) => {
      singles.push(file.path);
      return local.read(url, file, offset, context);
    },
    write: (url, path, info, context) => {
      singles.push(url);
      return local.write(url, path, info, context);
    },
    verify: (url, context) => local.verify(url, context),
    [Symbol.asyncDispose]: () => local[Symbol.asyncDispose](),
  };
}
