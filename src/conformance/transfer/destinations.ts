/** Writing, and telling what lies there. */
import { newToken } from "../../common/token.ts";
import { equal } from "../check.ts";
import { callContext, type Case } from "../suite.ts";
import { content, digest, localFile, other, type TransferHarness } from "./files.ts";

export const destinations: readonly Case<TransferHarness>[] = [
  {
    name: "writes whole files, replaces them, and tells what lies there",
    needs: ["write", "stream"],
    run: async (place) => {
      equal(await place.adapter.verify(place.url("out/r"), callContext()), undefined);
      for (const data of [content, other, Buffer.alloc(0)]) {
        await using local = await localFile(data);
        const info = { bytes: data.byteLength, sha256: digest(data), token: newToken() };
        await place.adapter.write(place.url("out/r"), local.path, info, callContext());
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
