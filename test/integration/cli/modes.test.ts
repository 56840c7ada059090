import { afterAll, beforeAll, expect, test } from "vitest";
import { startRig } from "./rig.ts";

let rig: Awaited<ReturnType<typeof startRig>>;
beforeAll(async () => {
  rig = await startRig();
});
afterAll(async () => {
  await rig[Symbol.asyncDispose]();
});

test("a paused or drained agent does not say that it listens for work", async () => {
  const { shell } = rig;
  expect((await shell.run(["status"])).stdout).toContain("listen for work");
  for (const [order, mode] of [
    ["pause", "paused"],
    ["drain", "drained"],
  ] as const) {
    expect((await shell.run([order, ...(order === "drain" ? ["--wait"] : [])])).code).toBe(0);
    const { stdout } = await shell.run(["status"]);
    expect(stdout).not.toMatch(/for work/);
    expect(stdout).toContain(`no new work: ${mode}`);
  }
  expect((await shell.run(["resume"])).code).toBe(0);
});
