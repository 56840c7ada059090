import { spawn } from "node:child_process";
import { once } from "node:events";
import { open } from "node:fs/promises";
import { expect, test } from "vitest";
import { cleanEnvironment, siteagentBin } from "../../helpers/cli.ts";
import { temporaryDirectory } from "../../helpers/temporary.ts";

test.each([
  [["config", "schema"]],
  [["help"]],
  [["help", "environment"]],
  [["jobs", "--help"]],
  [["--version"]],
  [["completion", "bash"]],
  [["status", "-o", "json"]],
  [["doctor"]],
])("%j says that its data could not be written, and ends with 74", async (args) => {
  await using home = await temporaryDirectory("sa-home-");
  await using full = await open("/dev/full", "w");
  const child = spawn(siteagentBin, args, {
    env: cleanEnvironment(home.path),
    cwd: home.path,
    stdio: ["ignore", full.fd, "pipe"],
  });
  let stderr = "";
  child.stderr?.on("data", (data: Buffer) => (stderr += data.toString()));
  const [code] = (await once(child, "close")) as [number | null];
  expect(stderr).toContain("standard output cannot be written: ENOSPC");
  expect(code).toBe(74);
});
