import { readFile, writeFile } from "node:fs/promises";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { startRig } from "./rig.ts";

let rig: Awaited<ReturnType<typeof startRig>>;
beforeAll(async () => {
  rig = await startRig();
});
afterAll(async () => {
  await rig[Symbol.asyncDispose]();
});

describe("the agent here", () => {
  test("shows its status for people and programs", async () => {
    const { shell, hub } = rig;
    const { stdout, code } = await shell.run(["status"]);
    expect(code).toBe(0);
    for (const words of ["State: running", hub.url, "reachable", "none held", "Targets", "hello", "Next"])
      expect(stdout).toContain(words);
    expect(await shell.json("status")).toMatchObject({ mode: "running", site: hub.site.id, problems: [] });
  });

  test("is the only one of its state directory", async () => {
    expect(await rig.shell.run(["run"])).toMatchObject({ code: 75 });
  });

  test("pauses with reason and end, and resumes", async () => {
    const { shell } = rig;
    expect(await shell.json("pause", "--reason", "tea", "--until", "2h")).toMatchObject({
      mode: "paused",
      reason: "tea",
      until: expect.any(String),
    });
    expect((await shell.run(["status"])).stdout).toMatch(/State: paused \(tea, by \S+\), until .* \(in /);
    expect((await shell.run(["resume"])).stdout).toContain("is running");
    expect(await shell.run(["pause", "--until", "later"])).toMatchObject({ code: 64 });
  });

  test("drains until nothing is held", async () => {
    const { shell } = rig;
    const drained = await shell.run(["drain", "--wait", "--reason", "upgrade"]);
    expect(drained).toMatchObject({ code: 0, stdout: expect.stringContaining("is drained") });
    expect((await shell.run(["status", "-o", "name"])).stdout).toBe("drained\n");
    expect((await shell.run(["resume"])).code).toBe(0);
  });

  test("reloads a good file and keeps its settings at a bad one", async () => {
    const { shell } = rig;
    expect((await shell.run(["reload"])).code).toBe(0);
    const text = await readFile(shell.siteFile, "utf8");
    await writeFile(shell.siteFile, `${text}\nsurprise: 1\n`);
    const bad = await shell.run(["reload"]);
    await writeFile(shell.siteFile, text);
    expect(bad).toMatchObject({ code: 78, stderr: expect.stringContaining("surprise") });
    expect((await shell.run(["reload"])).code).toBe(0);
    expect((await shell.json("status")) as object).toMatchObject({ config: { problem: null } });
  });

  test("answers for its jobs without a hub", async () => {
    const { shell } = rig;
    const id = await shell.id("submit", "hello-1.0.0", "-p", "name=Bo");
    expect((await shell.run(["wait", id])).code).toBe(0);
    const local = { env: { SITEAGENT_CONFIG_DIR: shell.directory.join("nowhere") } };
    expect((await shell.run(["wait", id, "--local"], local)).code).toBe(0);
    expect((await shell.run(["jobs", "--local", "--all"], local)).stdout).toContain(id);
    expect((await shell.run(["jobs", "--local"], local)).stderr).toContain("no active jobs");
    expect((await shell.run(["logs", "last", "--local"], local)).stdout).toBe("hello Bo\n");
    const story = (await shell.run(["job", id, "--local"], local)).stdout;
    for (const words of ["Target: local", "Attempts", "exit code 0", "parameters.name: Bo", "greeting.txt"])
      expect(story).toContain(words);
    expect((await shell.run(["outputs", "cat", id, "greeting", "--local"], local)).stdout).toBe("Bo\n");
    expect(await shell.run(["explain", id, "--local"], local)).toMatchObject({
      code: 0,
      stdout: expect.stringContaining("finished"),
    });
  });

  test("cancels a job without a hub", async () => {
    const { shell } = rig;
    const id = await shell.id("submit", "slow-1.0.0");
    await using watching = await shell.start(["watch", id]);
    await watching.output(/RUNNING/);
    expect((await shell.run(["cancel", id, "--local", "--reason", "here"])).stdout).toContain("cancel requested");
    expect((await shell.run(["wait", id, "--local"])).code).toBe(1);
    expect((await watching.result(30_000)).code).toBe(1);
    expect(watching.stdout).toContain("CANCELLED");
  });

  test("connects a terminal to a job", async () => {
    const { shell } = rig;
    const id = await shell.id("submit", "terminal-1.0.0");
    await using watching = await shell.start(["watch", id]);
    await watching.output(/RUNNING/);
    await using attached = await shell.start(["attach", id]);
    attached.write("good day\r");
    await attached.output(/you said good day/);
    expect((await attached.result(30_000)).code).toBe(0);
    expect((await watching.result(30_000)).code).toBe(0);
    expect(await shell.run(["attach", id])).toMatchObject({
      code: 66,
      stderr: expect.stringContaining("no attempt that runs"),
    });
  });

  test("is seen by the doctor, which finds nothing that stops it", async () => {
    const { shell } = rig;
    const { stdout, code } = await shell.run(["doctor", "-o", "json"]);
    const report = JSON.parse(stdout) as { checks: { id: string; result: string; found: string }[] };
    expect(code).toBeLessThan(2);
    const of = (id: string) => report.checks.find((check) => check.id === id);
    for (const id of ["config", "secret", "apps", "api", "credentials", "workdir", "clock"])
      expect(of(id), id).toMatchObject({ result: "ok" });
    expect(of("instance")?.found).toContain("one runs");
  });
});
