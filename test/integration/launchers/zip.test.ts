/** Apps out of an archive: unpacked anew for each attempt, by the attempt, then the command is what it is without an archive. */
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, it } from "vitest";
import { failOnLeakedProcesses } from "../../helpers/leaks.ts";
import { zipOf } from "../../helpers/zip.ts";
import { launchOne, readOut, untilState } from "./attempts.ts";
import { localHarness } from "./local-harness.ts";
import { planApp } from "./planned.ts";

failOnLeakedProcesses();

const script = `#!/bin/sh
printf '<%s>' "$@"; echo "$MARK $NODE_OPTIONS $(ulimit -S -n) $(cat app/data)"
echo changed >app/data; echo mine >app/more
exit 9
`;
const archive = zipOf([
  { name: "bin/tool", content: script, mode: 0o100_755 },
  { name: "data", content: "fresh" },
]);

it("runs the command of the archive as it is, with its own variables and limits, from fresh files each time", async () => {
  await using harness = await localHarness();
  await writeFile(join(harness.root, "tool.zip"), archive);
  // A variable that would end the program that unpacks, were it told of it.
  const app = {
    runtime: { zip: { archive: join(harness.root, "tool.zip") } },
    command: ["app/bin/tool", "a b", "$(id)", "--", ""],
    environment: { MARK: "m", NODE_OPTIONS: "--no-such-option" },
  };
  const plan = await planApp(harness.root, app);
  const again = { ...(await planApp(harness.root, app)), workDirectory: plan.workDirectory, argv: plan.argv };
  for (const attempt of [plan, again]) {
    const ref = await launchOne(harness.launcher, attempt);
    const { end, remaining } = await untilState(harness.launcher, ref, "ended");
    expect(end, await readOut(attempt, "err")).toMatchObject({ cause: "exit", exit_code: 9 });
    expect(remaining).toEqual([]);
    expect(await readOut(attempt)).toBe("<a b><$(id)><--><>m --no-such-option 1024 fresh\n");
    expect(await readFile(join(attempt.workDirectory, "app", "more"), "utf8")).toBe("mine\n");
  }
});

it("does not run the command when the archive is bad, and says why in its error output", async () => {
  await using harness = await localHarness();
  await writeFile(join(harness.root, "tool.zip"), archive.subarray(0, -5));
  const plan = await planApp(harness.root, {
    runtime: { zip: { archive: join(harness.root, "tool.zip"), into: "tool" } },
    command: ["sh", "-c", "echo ran"],
  });
  const ref = await launchOne(harness.launcher, plan);
  const { end } = await untilState(harness.launcher, ref, "ended");
  expect(end).toMatchObject({ cause: "exit", exit_code: 125 });
  expect(await readOut(plan)).toBe("");
  expect(await readOut(plan, "err")).toMatch(/the archive '.*tool\.zip' cannot be unpacked: it is no ZIP archive/);
});

it("takes an input of the job as the archive", async () => {
  await using harness = await localHarness();
  const plan = await planApp(harness.root, {
    inputs: { tool: { from: "https://tools.example.org/tool.zip", to: "sub.zip" } },
    runtime: { zip: { input: "tool" } },
    command: ["app/bin/tool"],
  });
  await writeFile(join(plan.workDirectory, "..", "in", "sub.zip"), archive);
  const ref = await launchOne(harness.launcher, plan);
  const { end } = await untilState(harness.launcher, ref, "ended");
  expect(end, await readOut(plan, "err")).toMatchObject({ cause: "exit", exit_code: 9 });
});
