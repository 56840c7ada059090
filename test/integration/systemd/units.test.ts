import { execFile } from "node:child_process";
import { chmod, mkdir, readdir, readFile, writeFile } from "node:fs/promises";
import { basename, join } from "node:path";
import { promisify } from "node:util";
import { expect, test } from "vitest";
import { repository } from "../../helpers/cli.ts";
import { describeWithEngine } from "../../helpers/engines/index.ts";
import { type TemporaryDirectory, temporaryDirectory } from "../../helpers/temporary.ts";

const run = promisify(execFile);
const units = join(repository, "systemd");

/** The units as installed, with the program at a place that exists. */
async function installed(directory: TemporaryDirectory, folder: string): Promise<readonly string[]> {
  const program = directory.join("siteagent", "bin", "siteagent");
  await mkdir(join(program, ".."), { recursive: true });
  await writeFile(program, "#!/bin/sh\n");
  await chmod(program, 0o755);
  const paths = [];
  for (const name of await readdir(folder)) {
    if (!/\.(?:service|socket)$/.test(name)) continue;
    const text = await readFile(join(folder, name), "utf8");
    const path = directory.join(name);
    await writeFile(path, text.replaceAll(/(?:%h\/\.local)?\/opt\/siteagent\/current/g, directory.join("siteagent")));
    paths.push(path);
  }
  return paths.toSorted();
}

describeWithEngine("systemd-analyze", "unit files", () => {
  test("of a root installation: systemd has nothing to say", async () => {
    await using directory = await temporaryDirectory("sa-units-");
    const paths = await installed(directory, units);
    expect(paths.map((path) => basename(path))).toEqual([
      "siteagent-hub.service",
      "siteagent-runner.service",
      "siteagent-runner.socket",
      "siteagent.service",
    ]);
    const { stdout, stderr } = await run("systemd-analyze", ["verify", "--man=no", ...paths]);
    expect(stdout + stderr).toBe("");
  });

  test("of one account: systemd has nothing to say", async () => {
    await using directory = await temporaryDirectory("sa-units-");
    const paths = await installed(directory, join(units, "user"));
    expect(paths).toHaveLength(2);
    const env = { ...process.env, XDG_RUNTIME_DIR: directory.path };
    const { stdout, stderr } = await run("systemd-analyze", ["verify", "--user", "--man=no", ...paths], { env });
    expect(stdout + stderr).toBe("");
  });

  test.each(["siteagent.service", "siteagent-hub.service"])("%s is locked down", async (name) => {
    await using directory = await temporaryDirectory("sa-units-");
    await installed(directory, units);
    const args = ["security", "--offline=true", "--no-pager", directory.join(name)];
    const { stdout } = await run("systemd-analyze", args, { env: { ...process.env, NO_COLOR: "1" } });
    const level = /exposure level for \S+ (\d+\.\d)/.exec(stdout)?.[1];
    expect(Number(level)).toBeLessThanOrEqual(2.5);
  });
});
