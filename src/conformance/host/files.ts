/** Files below the work directory. */
import { execFile } from "node:child_process";
import { readdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import { contains, equal, holds, like, rejects } from "../check.ts";
import { callContext, type Case } from "../suite.ts";
import { type HostHarness, at } from "./commands.ts";

const execute = promisify(execFile);

/** Names that are awkward in commands and protocols. */
const names = ["plain", "-rf", "a b", "line\nend", 'it\'s "x" $y `z` \\', "é Ł 日本", "*", ".hidden", "n".repeat(200)];

export const files: readonly Case<HostHarness>[] = [
  ...names.map((name) => ({
    name: `F8: writes, reads, looks at, lists and removes a file called ${JSON.stringify(name)}`,
    run: async (harness: HostHarness) => {
      const directory = at(harness, "names");
      await harness.host.files.mkdir(directory, {}, callContext());
      await harness.host.files.write(join(directory, name), "content\n", { mode: 0o640 }, callContext());
      equal(await readFile(join(directory, name), "utf8"), "content\n");
      equal(
        await harness.host.files.read(join(directory, name), { maxBytes: 100 }, callContext()),
        Buffer.from("content\n"),
      );
      const stat = await harness.host.files.stat(join(directory, name), callContext());
      like(stat, { type: "file", bytes: 8, mode: 0o640 });
      holds(Math.abs((stat?.mtimeMs ?? 0) - Date.now()) < 600_000, `mtimeMs is ${stat?.mtimeMs}`);
      equal(await harness.host.files.list(directory, callContext()), [name]);
      await harness.host.files.remove(join(directory, name), callContext());
      equal(await readdir(directory), []);
    },
  })),

  {
    name: "gives bytes as they are, from an offset, up to a limit",
    run: async (harness) => {
      const bytes = Buffer.from(Array.from({ length: 300_000 }, (_, index) => (index * 7) % 256));
      await harness.host.files.mkdir(at(harness, "bytes"), {}, callContext());
      await harness.host.files.write(at(harness, "bytes", "f"), bytes, { mode: 0o600 }, callContext());
      const read = (options: { readonly offset?: number; readonly maxBytes: number }) =>
        harness.host.files.read(at(harness, "bytes", "f"), options, callContext());
      equal((await read({ maxBytes: 1_000_000 }))?.equals(bytes), true);
      equal(await read({ offset: 299_990, maxBytes: 100 }), bytes.subarray(299_990));
      equal(await read({ offset: 70_000, maxBytes: 3 }), bytes.subarray(70_000, 70_003));
      equal(await read({ offset: 300_000, maxBytes: 10 }), Buffer.alloc(0));
      equal(await read({ offset: 999_999, maxBytes: 10 }), Buffer.alloc(0));
      equal(await read({ maxBytes: 0 }), Buffer.alloc(0));
    },
  },

  {
    name: "replaces a file whole and leaves no partial name",
    run: async (harness) => {
      await harness.host.files.mkdir(at(harness, "replace"), {}, callContext());
      await writeFile(at(harness, "replace", "f"), "old and longer");
      await harness.host.files.write(at(harness, "replace", "f"), "new", { mode: 0o600 }, callContext());
      await harness.host.files.write(at(harness, "replace", "empty"), new Uint8Array(), { mode: 0o600 }, callContext());
      equal(await readFile(at(harness, "replace", "f"), "utf8"), "new");
      equal((await readdir(at(harness, "replace"))).toSorted(), ["empty", "f"]);
    },
  },

  {
    name: "keeps what is there, and no partial file, when it cannot write",
    run: async (harness) => {
      await harness.host.files.mkdir(at(harness, "refused", "f"), {}, callContext());
      const writing = harness.host.files.write(at(harness, "refused", "f"), "x", { mode: 0o600 }, callContext());
      await rejects(writing, { name: "Fault", code: "TRANSFER" });
      equal(await readdir(at(harness, "refused")), ["f"]);
      const nowhere = harness.host.files.write(at(harness, "nowhere", "f"), "x", { mode: 0o600 }, callContext());
      await rejects(nowhere, { name: "Fault", code: "TRANSFER" });
    },
  },

  {
    name: "answers for what is not there",
    run: async (harness) => {
      await harness.host.files.mkdir(at(harness, "absent"), {}, callContext());
      await writeFile(at(harness, "absent", "file"), "x");
      for (const path of [
        at(harness, "absent", "x"),
        at(harness, "absent", "x", "y"),
        at(harness, "absent", "file", "x"),
      ]) {
        equal(await harness.host.files.read(path, { maxBytes: 10 }, callContext()), undefined);
        equal(await harness.host.files.stat(path, callContext()), undefined);
        equal(await harness.host.files.list(path, callContext()), undefined);
        await harness.host.files.remove(path, callContext());
      }
      equal(await harness.host.files.list(at(harness, "absent", "file"), callContext()), undefined);
      equal(await harness.host.files.read(at(harness, "absent"), { maxBytes: 10 }, callContext()), undefined);
      equal(await readdir(at(harness, "absent")), ["file"]);
    },
  },

  {
    name: "reads no fifo and does not wait for one",
    run: async (harness) => {
      await harness.host.files.mkdir(at(harness, "fifo"), {}, callContext());
      await execute("mkfifo", [at(harness, "fifo", "f")]);
      equal(await harness.host.files.read(at(harness, "fifo", "f"), { maxBytes: 10 }, callContext()), undefined);
      like(await harness.host.files.stat(at(harness, "fifo", "f"), callContext()), { type: "other" });
      await harness.host.files.remove(at(harness, "fifo"), callContext());
    },
  },

  {
    name: "tells how much room is left",
    run: async (harness) => {
      await harness.host.files.mkdir(harness.host.workdir, {}, callContext());
      const room = await harness.host.files.freeRoom(callContext());
      if (room === undefined) return; // the host cannot say
      holds(room.bytes > 0 && (room.files ?? 1) > 0, `no room: ${JSON.stringify(room)}`);
    },
  },

  {
    name: "does nothing for a context that has aborted",
    run: async (harness) => {
      const context = callContext(AbortSignal.abort());
      const writing = harness.host.files.write(at(harness, "aborted"), "x", { mode: 0o600 }, context);
      await Promise.allSettled([writing]);
      const reading = harness.host.files.read(at(harness, "aborted"), { maxBytes: 1 }, callContext());
      contains([undefined, "x"], (await reading)?.toString());
    },
  },
];
