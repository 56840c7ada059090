/** Writing, and telling what lies there. */
import { equal } from "../check.ts";
import { callContext, type Case } from "../suite.ts";
import { content, digest, other, type TransferHarness, writeWhole } from "./files.ts";

export const destinations: readonly Case<TransferHarness>[] = [
  {
    name: "writes whole files, replaces them, and tells what lies there",
    needs: ["write", "stream"],
    run: async (place) => {
      equal(await place.adapter.verify(place.url("out/r"), callContext()), undefined);
      for (const data of [content, other, Buffer.alloc(0)]) {
        await writeWhole(place, place.url("out/r"), data);
        equal(Buffer.from((await place.get("out/r")) ?? []), data);
        const there = await place.adapter.verify(place.url("out/r"), callContext());
        equal(there?.bytes, data.byteLength);
      }
    },
  },

  {
    name: "tells the digest of what lies there",
    needs: "digest",
    run: async (place) => {
      await place.put("x", content);
      equal((await place.adapter.verify(place.url("x"), callContext()))?.sha256, digest(content));
    },
  },
];
