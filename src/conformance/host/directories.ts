/** Directories and trees. */
import { chmod, mkdir, writeFile } from "node:fs/promises";
import { equal, like, rejects } from "../check.ts";
import { callContext, type Case } from "../suite.ts";
import { type HostHarness, at } from "./commands.ts";

export const directories: readonly Case<HostHarness>[] = [
  {
    name: "makes a directory with its parents, of several callers for one",
    run: async (harness) => {
      const made = await Promise.all(
        Array.from({ length: 8 }, () => harness.host.files.mkdir(at(harness, "a/b/c"), {}, callContext())),
      );
      equal(made.filter(Boolean), [true]);
      equal(await harness.host.files.mkdir(at(harness, "a/b/c"), {}, callContext()), false);
      like(await harness.host.files.stat(at(harness, "a/b"), callContext()), { type: "directory", mode: 0o700 });
      await harness.host.files.mkdir(at(harness, "a/open"), { mode: 0o755 }, callContext());
      like(await harness.host.files.stat(at(harness, "a/open"), callContext()), { mode: 0o755 });
    },
  },

  {
    name: "makes the workdir itself, and nothing where a file is in the way",
    run: async (harness) => {
      await harness.host.files.mkdir(harness.host.workdir, {}, callContext());
      await writeFile(at(harness, "file"), "");
      for (const path of [at(harness, "file"), at(harness, "file", "below")]) {
        const making = harness.host.files.mkdir(path, {}, callContext());
        await rejects(making, { name: "Fault", code: "TRANSFER" });
      }
    },
  },

  {
    name: "lists and removes a tree, also where a program took the right to",
    run: async (harness) => {
      await mkdir(at(harness, "tree/deep/er"), { recursive: true });
      await Promise.all(Array.from({ length: 300 }, (_, index) => writeFile(at(harness, "tree", `f${index}`), "x")));
      await writeFile(at(harness, "tree/deep/er/f"), "x");
      await chmod(at(harness, "tree/deep/er"), 0o500);
      await chmod(at(harness, "tree/deep"), 0o000);
      equal((await harness.host.files.list(at(harness, "tree"), callContext()))?.length, 301);
      await harness.host.files.remove(at(harness, "tree"), callContext());
      equal(await harness.host.files.stat(at(harness, "tree"), callContext()), undefined);
    },
  },

  {
    name: "F8: removes a tree with names that are no text",
    run: async (harness) => {
      await mkdir(at(harness, "bytes-tree/sub"), { recursive: true });
      await writeFile(
        Buffer.concat([Buffer.from(at(harness, "bytes-tree/sub/")), Buffer.from([0xff, 0xfe, 0x0a])]),
        "x",
      );
      await harness.host.files.remove(at(harness, "bytes-tree"), callContext());
      equal(await harness.host.files.stat(at(harness, "bytes-tree"), callContext()), undefined);
    },
  },
];
