import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { readFile, writeFile } from "node:fs/promises";
import { waitFor } from "../../helpers/wait.ts";
import { startRig } from "./rig.ts";

let rig: Awaited<ReturnType<typeof startRig>>;
beforeAll(async () => {
  rig = await startRig();
});
afterAll(async () => {
  await rig[Symbol.asyncDispose]();
});

describe("submit --help", () => {
  test("without a workflow is the help of the command", async () => {
    const { stdout, stderr, code } = await rig.shell.run(["submit", "--help"]);
    expect({ stderr, code }).toEqual({ stderr: "", code: 0 });
    expect(stdout).toContain("Usage: siteagent submit");
    expect(stdout.match(/-h, --help/g)).toHaveLength(1);
  });

  test("shows what the agent told the hub", async () => {
    const { shell, hub } = rig;
    const { stdout, stderr, code } = await shell.run(["submit", "--help", "hello-1.0.0"]);
    expect({ stderr, code }).toEqual({ stderr: "", code: 0 });
    expect(stdout).toContain(`Served by site ${hub.site.id}.`);
    expect(stdout).toMatch(/^name +string +no +world +matches \^\[A-Za-z0-9_ \]\+\$$/m);
    expect(stdout).toContain("siteagent submit hello-1.0.0 -p name=world");
    expect(stdout).not.toContain("/bin/sh");
    expect(await shell.json("submit", "hello-1.0.0", "-h")).toEqual({
      workflow: "hello-1.0.0",
      served: [
        {
          sites: [hub.site.id],
          told: true,
          description: null,
          inputs: [],
          parameters: {
            name: {
              type: "string",
              required: false,
              default: "world",
              pattern: "^[A-Za-z0-9_ ]+$",
              max_length: 1024,
              from: "config.name",
            },
          },
        },
      ],
    });
    expect((await shell.run(["submit", "--help", "hello-1.0.0", "-o", "name"])).stdout).toBe("name\n");
    const words = ["__complete", "--", "submit", "hello-1.0.0", "-p", "na"];
    expect((await shell.run(words)).stdout).toBe("name=\n");
  });

  test("names the nearest workflow for one that nobody serves", async () => {
    expect(await rig.shell.run(["submit", "--help", "helo-1.0.0"])).toMatchObject({
      code: 66,
      stdout: "",
      stderr: expect.stringContaining("did you mean 'hello-1.0.0'?"),
    });
  });

  test("reads the site file where there is no hub", async () => {
    const { shell } = rig;
    const env = { SITEAGENT_HUB: "http://127.0.0.1:9" };
    const usual = await shell.run(["submit", "--help", "--local", "hello-1.0.0"], { env });
    expect(usual).toMatchObject({ code: 0, stdout: expect.stringMatching(/^name +string/m) });
    const other = shell.directory.join("config", "other.yaml");
    const text = await readFile(shell.siteFile, "utf8");
    await writeFile(other, text.replace("hello-1.0.0", "other-1.0.0"), { mode: 0o600 });
    const named = await shell.run(["submit", "--help", "--local", "--config", other, "other-1.0.0"], { env });
    expect(named).toMatchObject({ code: 0, stdout: expect.stringContaining("siteagent submit other-1.0.0") });
    expect(await shell.run(["submit", "--local", "hello-1.0.0"])).toMatchObject({ code: 64 });
  });

  test("follows the site file when it changes, without a restart of the agent", async () => {
    const { shell } = rig;
    const text = await readFile(shell.siteFile, "utf8");
    await writeFile(shell.siteFile, text.replace("default: world", "default: moon"), { mode: 0o600 });
    await shell.run(["reload"]);
    await waitFor(async () => (await shell.run(["submit", "--help", "hello-1.0.0"])).stdout.includes("moon"), {
      what: "the hub to know the new default",
      intervalMs: 200,
    });
  });
});

describe("explain", () => {
  test("says of a job that nobody serves, and of one that waits for slots, what the sites said", async () => {
    const { shell, hub } = rig;
    const nobody = await shell.id("submit", "slo-1.0.0");
    expect(await shell.json("explain", nobody)).toMatchObject({
      why: "No site serves workflow 'slo-1.0.0'.",
      do: [expect.any(String), expect.stringContaining("did you mean 'slow-1.0.0'?")],
    });
    const running = await Promise.all([1, 2, 3, 4].map(() => shell.id("submit", "slow-1.0.0")));
    await waitFor(
      async () => (await shell.run(["jobs", "--status", "RUNNING", "-o", "name"])).stdout.split("\n").length === 5,
      { what: "four jobs to run", intervalMs: 200 },
    );
    const fifth = await shell.id("submit", "slow-1.0.0");
    const full = `site '${hub.site.id}': running, all 4 slots in use, holds 4 jobs`;
    await waitFor(async () => ((await shell.json("explain", fifth)) as { facts: string[] }).facts.includes(full), {
      what: "the site to say that it is full",
      intervalMs: 200,
    });
    expect(await shell.json("explain", fifth)).toMatchObject({
      why: "It waits for a free slot; a site will claim it.",
      do: [],
    });
    expect((await shell.run(["cancel", fifth, ...running])).code).toBe(0);
  });
});
