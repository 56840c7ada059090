import { readFile, writeFile } from "node:fs/promises";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { startRig } from "./rig.ts";

let rig: Awaited<ReturnType<typeof startRig>>;
let text: string;
beforeAll(async () => {
  rig = await startRig();
  text = await readFile(rig.shell.siteFile, "utf8");
});
afterEach(async () => {
  await writeFile(rig.shell.siteFile, text);
});
afterAll(async () => {
  await rig[Symbol.asyncDispose]();
});

const faults = {
  "an unknown key": (good: string) => `${good}\nsurprise: 1\n`,
  "broken YAML": (good: string) => `${good}\noops: [1, {\n`,
};

describe.each(Object.entries(faults))("with %s in its site file, an agent that runs", (_, spoil) => {
  test("shows its status and the file's problem, by default and with --config", async () => {
    const { shell } = rig;
    await writeFile(shell.siteFile, spoil(text));
    for (const more of [[], ["--config", shell.siteFile]]) {
      const { stdout, code } = await shell.run(["status", ...more]);
      expect(code).toBe(1);
      for (const words of ["State: running", "degraded: 1 problem", "site.yaml:", "siteagent reload"])
        expect(stdout).toContain(words);
    }
    const machine = await shell.run(["status", "-o", "json"]);
    expect(JSON.parse(machine.stdout)).toMatchObject({
      mode: "running",
      problems: [{ what: expect.stringContaining(shell.siteFile), repair: expect.stringContaining("reload") }],
    });
  });

  test("obeys", async () => {
    const { shell } = rig;
    await writeFile(shell.siteFile, spoil(text));
    const env = { SITEAGENT_CONFIG: shell.siteFile };
    expect(await shell.run(["pause"], { env })).toMatchObject({
      code: 0,
      stdout: expect.stringContaining("is paused"),
    });
    expect((await shell.run(["drain", "--wait"], { env })).code).toBe(0);
    expect((await shell.run(["resume"], { env })).code).toBe(0);
    expect((await shell.run(["jobs", "--local"], { env })).code).toBe(0);
    expect(await shell.run(["reload"], { env })).toMatchObject({
      code: 78,
      stderr: expect.stringContaining("siteagent validate"),
    });
    await writeFile(shell.siteFile, text);
    expect((await shell.run(["reload"], { env })).code).toBe(0);
    expect((await shell.run(["status"], { env })).code).toBe(0);
  });
});

test("tells the faults of a site file where no agent answers", async () => {
  const { shell } = rig;
  const file = shell.directory.join("other.yaml");
  await writeFile(
    file,
    `${text}\nagents: {}\n`.replace("min_free_space", "runtime_dir: /nowhere/at/all, min_free_space"),
  );
  expect(await shell.run(["pause", "--config", file])).toMatchObject({
    code: 78,
    stderr: expect.stringContaining("'agents'"),
  });
  expect(await shell.run(["status", "--config", file])).toMatchObject({
    code: 2,
    stdout: expect.stringMatching(/down: (?:.|\n)*'agents'/),
  });
});

test("gives no order to the agent of another site file", async () => {
  const { shell } = rig;
  const file = shell.directory.join("unreadable.yaml");
  await writeFile(file, "agent: [\nb: }\n");
  expect(await shell.run(["pause", "--config", file])).toMatchObject({
    code: 78,
    stderr: expect.stringContaining("unreadable.yaml"),
  });
  expect((await shell.run(["status", "-o", "name"])).stdout).toBe("running\n");
});
