import { mkdir, readdir, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { makeDirectories, readTraces, removeDirectory, tracesOf } from "../../../src/agent/directories.ts";
import { newToken } from "../../../src/common/token.ts";
import { arraysIn, tasksFile, tasksText } from "../../../src/launchers/batch/arrays.ts";
import { temporaryDirectory } from "../../helpers/temporary.ts";
import { heldJobOf } from "./builders.ts";

/** A job's directory with these files, by their paths in it. */
async function jobDirectory(workdir: string, files: Readonly<Record<string, string>>): Promise<string> {
  const directory = join(workdir, newToken());
  for (const [path, text] of Object.entries(files)) {
    const file = join(directory, path);
    await mkdir(join(file, ".."), { recursive: true });
    await writeFile(file, text);
  }
  return directory;
}

const marker = JSON.stringify({ job: "j1", app: "tool" });

describe("what a job's directory says without the journal", () => {
  it("names its app and the attempts of which something may have begun, in either form of the plan", async () => {
    await using workdir = await temporaryDirectory();
    const [one, two] = [newToken(), newToken()];
    const directory = await jobDirectory(workdir.path, {
      "job.json": marker,
      "attempts/1/plan": `siteagent-plan 1\0SITEAGENT_ATTEMPT_TOKEN=${one}\0/bin/true`,
      "attempts/2/plan.sh": `run() { env SITEAGENT_ATTEMPT_TOKEN=${two} /bin/true; }`,
    });
    await mkdir(join(directory, "attempts", "3"));
    const traces = await readTraces(directory);
    expect(traces).toMatchObject({ app: "tool", whole: true });
    expect(new Set(traces.attempts)).toEqual(
      new Set([
        { token: one, directory: join(directory, "attempts", "1") },
        { token: two, directory: join(directory, "attempts", "2") },
      ]),
    );
  });

  it("names attempts that are tasks of an array and have not begun", async () => {
    await using workdir = await temporaryDirectory();
    const [token, array] = [newToken(), newToken()];
    const directory = await jobDirectory(workdir.path, { "job.json": marker });
    const attempt = join(directory, "attempts", "1");
    await mkdir(attempt, { recursive: true });
    await mkdir(arraysIn(workdir.path), { recursive: true });
    const text = tasksText("2026-11-21T23:15:00.000Z", [{ token, directory: attempt, plan: "plan" }]);
    await writeFile(tasksFile(workdir.path, array), text);
    expect(await readTraces(directory)).toEqual({
      app: "tool",
      attempts: [{ token, directory: attempt }],
      whole: true,
    });
  });

  it.each([
    ["a plan without a token", { "attempts/1/plan": "rubbish" }],
    ["no plan, but evidence", { "attempts/1/recorder": "1 2 3" }],
  ])("is not whole with %s", async (_what, files) => {
    await using workdir = await temporaryDirectory();
    const directory = await jobDirectory(workdir.path, { "job.json": marker, ...files });
    expect(await readTraces(directory)).toEqual({ app: "tool", attempts: [], whole: false });
  });

  it.each([
    ["no marker", {}],
    ["a marker that is cut", { "job.json": marker.slice(0, -3) }],
    ["a marker of something else", { "job.json": '{"job":1,"app":["tool"]}' }],
  ])("is nobody's with %s", async (_what, files) => {
    await using workdir = await temporaryDirectory();
    const directory = await jobDirectory(workdir.path, { "work/x": "", ...files });
    expect(await readTraces(directory)).toEqual({ app: undefined, attempts: [], whole: true });
    expect(await tracesOf([workdir.path], new Set(["j1"]))).toEqual(new Map());
  });

  it("is found by the marker in any work directory that is there, and only when it is asked for", async () => {
    await using workdir = await temporaryDirectory();
    const directory = await jobDirectory(workdir.path, { "job.json": marker });
    const workdirs = [workdir.join("none"), workdir.path];
    expect(await tracesOf(workdirs, new Set(["j1", "j2"]))).toEqual(new Map([["j1", directory]]));
    expect(await tracesOf(workdirs, new Set(["j2"]))).toEqual(new Map());
  });
});

describe("the directories of a job", () => {
  it("are made below a work directory that is not there yet, again without harm, and removed whole however many files they hold", async () => {
    await using root = await temporaryDirectory();
    const token = newToken();
    const job = heldJobOf("j1", { token, directory: root.join("not", "yet", token) });
    await makeDirectories(job);
    await makeDirectories(job);
    expect((await stat(job.directory)).mode & 0o777).toBe(0o700);
    expect(await tracesOf([root.join("not", "yet")], new Set(["j1"]))).toEqual(new Map([["j1", job.directory]]));
    for (let n = 0; n < 600; n++) await writeFile(join(job.directory, "work", `f${n}`), "");
    await removeDirectory(job.directory);
    expect(await readdir(root.join("not", "yet"))).toEqual([]);
    await removeDirectory(job.directory);
  });

  it("are not made where a file is in the way", async () => {
    await using root = await temporaryDirectory();
    await writeFile(root.join("file"), "");
    const token = newToken();
    const job = heldJobOf("j1", { token, directory: root.join("file", token) });
    await expect(makeDirectories(job)).rejects.toMatchObject({ code: "ENOTDIR" });
  });

  it.each([["relative/abcdefghijklmno"], ["/"], ["/srv/work"]])("'%s' is never removed as one", async (path) => {
    await expect(removeDirectory(path)).rejects.toMatchObject({ code: "UNSAFE_PATH" });
  });
});
