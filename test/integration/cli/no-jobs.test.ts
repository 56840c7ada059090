import { afterAll, beforeAll, expect, test } from "vitest";
import { temporaryDirectory } from "../../helpers/temporary.ts";
import { Shell, startHubFor } from "./rig.ts";

let shell: Shell;
const stack = new AsyncDisposableStack();
beforeAll(async () => {
  shell = new Shell(stack.use(await temporaryDirectory("sa-cli-")));
  await startHubFor(shell, stack);
});
afterAll(async () => {
  await stack.disposeAsync();
});

test.each([
  ["cancel", "no active jobs match"],
  ["retry", "no ended jobs match"],
])("%s says that no job is in question", async (verb, words) => {
  expect(await shell.run([verb, "--all-matching", "--tag", "none=such", "--yes"])).toMatchObject({
    code: 66,
    stderr: expect.stringContaining(words),
  });
});
