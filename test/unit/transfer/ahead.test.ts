import { expect, it } from "vitest";
import { Ahead } from "../../../src/transfer/ahead.ts";
import type { PlannedFile } from "../../../src/transfer/plan.ts";
import type { TransferContext } from "../../../src/transfer/types.ts";
import { testContext } from "../../integration/transfer/setup.ts";

function fileOf(bytes: number): PlannedFile {
  const item = { name: "d", source: "", target: "", kind: "file", required: true, mode: "copy" } as const;
  const move = (): Promise<never> => Promise.reject(new Error("not used"));
  return { item: { ...item, include: [], exclude: [] }, path: "x", host: "h", bytes, move };
}

it("bytes of files that go together are told as they move, and each file's once, whatever moves more or less", async () => {
  const [one, two] = [fileOf(100), fileOf(50)];
  const left = new Map([
    ["one", one],
    ["two", two],
  ]);
  let told = 0;
  const hear = { moved: (_: PlannedFile, bytes: number) => (told += bytes), done: async () => {} };
  const ahead = new Ahead(hear, left);
  const allowed: number[] = [];
  const remote: TransferContext["remote"] = {
    begin: async () => {},
    flow: async (bytes) => void allowed.push(bytes),
    done: () => {},
    failed: () => false,
  };
  let context = ahead.context({ ...testContext(), remote });
  await context.remote?.flow(60);
  context.elsewhere?.(30);
  expect([told, allowed]).toEqual([90, [60]]);
  ahead.listener.moved(one, 100);
  left.delete("one");
  expect(told).toBe(100);
  await context.remote?.flow(1_000); // an archive has headers
  expect(told).toBe(150);
  ahead.undo(); // the line is cut: the second file comes anew
  expect(told).toBe(100);
  context = ahead.context({ ...testContext(), remote });
  await context.remote?.flow(20);
  expect(told).toBe(120);
  ahead.listener.moved(two, 50); // a difference is less than the file
  left.delete("two");
  ahead.undo();
  expect(told).toBe(150);
});
