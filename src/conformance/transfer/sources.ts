/** Listing and reading. */
import type { RemoteFile } from "../../transfer/types.ts";
import { differs, equal, like, rejects } from "../check.ts";
import { callContext, type Case } from "../suite.ts";
import { collect, content, listOne, other, readAll, readWhole, type TransferHarness } from "./files.ts";

export const sources: readonly Case<TransferHarness>[] = [
  {
    name: "lists one file as itself, with the same version each time",
    run: async (place) => {
      await place.put("a/x.bin", content);
      const first = await listOne(place, "a/x.bin");
      like(first, { path: "", bytes: content.byteLength });
      equal(await listOne(place, "a/x.bin"), first);
      await place.put("a/x.bin", other);
      const second = await listOne(place, "a/x.bin");
      equal(second.bytes, other.byteLength);
      if (first.version !== undefined) differs(second.version, first.version);
    },
  },

  {
    name: "says that nothing is there in a way that the engine understands",
    run: async (place) => {
      const listing = place.adapter.list(place.url("nothing"), "file", callContext());
      await rejects(listing, { name: "Fault", code: "TRANSFER_REFUSED", details: { missing: true } });
    },
  },

  {
    name: "reads the whole, and an empty file",
    needs: "stream",
    run: async (place) => {
      await place.put("x", content);
      await place.put("empty", new Uint8Array());
      equal(await readAll(place, "x", 0), content);
      equal(await readAll(place, "empty", 0), Buffer.alloc(0));
    },
  },

  {
    name: "reads from an offset",
    needs: ["resume", "stream"],
    run: async (place) => {
      await place.put("x", content);
      equal(await readAll(place, "x", 1), content.subarray(1));
      equal(await readAll(place, "x", content.byteLength - 1), content.subarray(-1));
      equal(await readAll(place, "x", content.byteLength), Buffer.alloc(0));
    },
  },

  {
    name: "does not give another version than the one that was listed",
    needs: "stream",
    run: async (place) => {
      await place.put("x", content);
      const listed = await listOne(place, "x");
      differs(listed.version, undefined);
      await place.put("x", other);
      const calls = [readWhole(place, place.url("x"), listed)];
      if (place.adapter.capabilities.resume) {
        calls.push(collect(place.adapter.read(place.url("x"), listed, 10, callContext())));
      }
      for (const result of await Promise.allSettled(calls)) {
        like(result, { status: "rejected", reason: { code: "TRANSFER", details: { source_changed: true } } });
      }
    },
  },

  {
    name: "lists directories and globs",
    needs: "list",
    run: async (place) => {
      await place.put("set/b.txt", other);
      await place.put("set/sub/a.txt", content);
      const listed = await place.adapter.list(place.url("set"), "directory", callContext());
      const files = listed.toSorted((a, b) => (a.path < b.path ? -1 : 1));
      equal(
        files.map((file) => [file.path, file.bytes]),
        [
          ["b.txt", other.byteLength],
          ["sub/a.txt", content.byteLength],
        ],
      );
      // Handed on as they are found, as JSON keeps them: the engine's lists do.
      const found: RemoteFile[] = [];
      const rest = await place.adapter.list(place.url("set"), "directory", callContext(), async (some) => {
        for (const file of some) found.push(JSON.parse(JSON.stringify(file)) as RemoteFile);
      });
      const parts = [...found, ...rest].toSorted((a, b) => (a.path < b.path ? -1 : 1));
      equal(
        parts.map((file) => [file.path, file.bytes, file.version]),
        files.map((file) => [file.path, file.bytes, file.version]),
      );
      const [, second] = parts;
      const canRead = place.adapter.bulk?.leastFiles !== 1 || place.anywhere === true;
      if (second && canRead) equal(await readWhole(place, place.url("set"), second), content);
      const glob = await place.adapter.list(place.url("set/*.txt"), "glob", callContext());
      equal(
        glob.map((file) => file.path),
        ["b.txt"],
      );
    },
  },

  {
    name: "refuses to list directories and globs",
    without: "list",
    run: async (place) => {
      await place.put("set/b.txt", other);
      await rejects(place.adapter.list(place.url("set"), "directory", callContext()), { code: "TRANSFER_REFUSED" });
      await rejects(place.adapter.list(place.url("set/*.txt"), "glob", callContext()), { code: "TRANSFER_REFUSED" });
    },
  },

  {
    name: "ends with CANCELLED when the signal is aborted",
    needs: "stream",
    run: async (place) => {
      await place.put("x", content);
      const listed = await listOne(place, "x");
      const stopper = new AbortController();
      if (place.adapter.bulk?.leastFiles === 1) {
        const fetching = readWhole(place, place.url("x"), listed, callContext(stopper.signal));
        stopper.abort();
        await rejects(fetching, { code: "CANCELLED" });
        return;
      }
      const reading = async (): Promise<void> => {
        for await (const _chunk of await place.adapter.read(place.url("x"), listed, 0, callContext(stopper.signal)))
          stopper.abort();
      };
      await rejects(reading(), { code: "CANCELLED" });
    },
  },
];
