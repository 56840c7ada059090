import { expect, it } from "vitest";
import { shortened } from "../../../src/agent/held-job.ts";
import type { ManifestEntry } from "../../../src/transfer/types.ts";
import { heldJobOf } from "./builders.ts";

function manifestOf(files: number): readonly ManifestEntry[] {
  return Array.from({ length: files }, (_, n) => ({
    item: "all",
    path: `${n}`,
    url: `file:///${n}`,
    bytes: n,
    sha256: "a".repeat(64),
    verified: "digest",
  }));
}

it("F16: of a manifest that has served only the first entries stay, and how many there were", () => {
  const few = heldJobOf("few", { manifest_in: manifestOf(1_000) });
  expect(shortened(few, "in", 1_000)).toEqual({});
  const many = heldJobOf("many", { manifest_in: manifestOf(1_001), manifest_out: manifestOf(5_000) });
  const inputs = { ...many, ...shortened(many, "in", 1_001) };
  expect(inputs.manifest_in).toEqual(manifestOf(1_000));
  const both = { ...inputs, ...shortened(inputs, "out", 900_000) };
  expect([both.manifest_in.length, both.manifest_out.length, both.files]).toEqual([
    1_000,
    1_000,
    { in: 1_001, out: 900_000 },
  ]);
});
