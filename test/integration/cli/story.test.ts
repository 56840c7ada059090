import { afterAll, beforeAll, expect, test } from "vitest";
import { startRig } from "./rig.ts";

let rig: Awaited<ReturnType<typeof startRig>>;
beforeAll(async () => {
  rig = await startRig();
});
afterAll(async () => {
  await rig[Symbol.asyncDispose]();
});

test("the hub's story of a job tells how its attempts ended", async () => {
  const { shell } = rig;
  const id = await shell.id("submit", "failing-1.0.0");
  expect((await shell.run(["wait", id])).code).toBe(1);
  expect((await shell.run(["job", id])).stdout).toMatch(/Attempts\n +TRY +END *\n +1 +exit code 3\b/);
});
