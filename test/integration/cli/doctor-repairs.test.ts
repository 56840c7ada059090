import { execFile } from "node:child_process";
import { userInfo } from "node:os";
import { promisify } from "node:util";
import { expect, test } from "vitest";
import { Shell } from "./rig.ts";
import { temporaryDirectory } from "../../helpers/temporary.ts";

const run = promisify(execFile);

test("the doctor's repairs of account and places are commands that a shell understands", async () => {
  await using directory = await temporaryDirectory("sa-cli-");
  const shell = new Shell(directory);
  const env = { SITEAGENT_STATE_DIR: "/proc/none", SITEAGENT_RUNTIME_DIR: "/proc/nothing" };
  const { stdout } = await shell.run(["doctor", "-o", "json"], { env });
  const { checks } = JSON.parse(stdout) as { checks: { id: string; result: string; repair?: string }[] };
  const repairs = checks.filter(({ repair, id }) => repair !== undefined && /^(?:account|.*-dir)$/.test(id));
  expect(repairs.map(({ repair }) => repair)).toContainEqual(
    expect.stringMatching(/install -d -m 700 -o \S+ \/proc\/none$/),
  );
  for (const { repair = "" } of repairs) {
    expect(repair).not.toMatch(/, /);
    await run("/bin/sh", ["-n", "-c", repair]);
  }
  if (userInfo().uid === 0) {
    expect(checks.find(({ id }) => id === "account")?.repair).toMatch(
      /su - siteagent -s \/bin\/sh -c 'siteagent doctor'$/,
    );
  }
});
