/** What all verbs have in common. */
import { newToken } from "../../common/token.ts";
import { holds, like } from "../check.ts";
import { callContext, type Case } from "../suite.ts";
import { collect, digest, localFile, other, type TransferHarness } from "./files.ts";

export const general: readonly Case<TransferHarness>[] = [
  {
    name: "says whether it works here, and can be closed twice",
    run: async (place) => {
      like(await place.adapter.probe(callContext()), { ok: true });
      holds(place.adapter.schemes.length > 0, "it serves no scheme");
      await place.adapter[Symbol.asyncDispose]();
      await place.adapter[Symbol.asyncDispose]();
    },
  },

  {
    name: "refuses what the policy does not allow, at every verb",
    run: async (place) => {
      const { adapter, forbidden } = place;
      const file = { path: "", bytes: 1, mtimeMs: undefined, version: undefined };
      await using local = await localFile(other);
      const info = { bytes: other.byteLength, sha256: digest(other), token: newToken() };
      const calls = [
        adapter.list(forbidden, "file", callContext()),
        collect(adapter.read(forbidden, file, 0, callContext())),
        adapter.write(forbidden, local.path, info, callContext()),
        adapter.verify(forbidden, callContext()),
      ];
      for (const call of await Promise.allSettled(calls)) {
        like(call, { status: "rejected", reason: { code: "POLICY" } });
      }
    },
  },
];
