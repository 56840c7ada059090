import { mkdir, readdir, readFile, writeFile } from "node:fs/promises";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { waitFor } from "../../helpers/wait.ts";
import { startRig } from "./rig.ts";

let rig: Awaited<ReturnType<typeof startRig>>;
beforeAll(async () => {
  rig = await startRig();
});
afterAll(async () => {
  await rig[Symbol.asyncDispose]();
});

describe("one job", () => {
  test("goes from submit --wait to its log and its outputs", async () => {
    const { shell } = rig;
    const made = await shell.run([
      "submit",
      "hello-1.0.0",
      "-p",
      "name=Ann",
      "--tag",
      "project=p1",
      "--name",
      "first",
      "--wait",
    ]);
    expect(made).toMatchObject({ code: 0, stderr: "" });
    const id = /nmdc:\S+/.exec(made.stdout)?.[0] ?? "";

    const story = await shell.run(["job", id]);
    for (const words of [
      "FINISHED (JOB_FINISHED)",
      "project=p1",
      "exit code 0",
      "STAGED_IN",
      "greeting.txt",
      "parameters.name: Ann",
      "limits.walltime: ",
      "limits.cores: 1",
    ]) {
      expect(story.stdout).toContain(words);
    }
    expect(await shell.json("job", id)).toMatchObject({
      id,
      status: "FINISHED",
      tags: { project: "p1" },
      events: expect.any(Array),
    });

    const log = await waitFor(
      async () => {
        const found = await shell.run(["logs", id]);
        return found.stdout !== "" && found.stderr.includes("other") ? found : undefined;
      },
      { what: "the log to arrive at the hub" },
    );
    expect(log).toMatchObject({ stdout: "hello Ann\n", stderr: "to the other stream\n", code: 0 });
    expect((await shell.run(["logs", id, "--stream", "stdout", "-f"])).stdout).toBe("hello Ann\n");
    expect((await shell.run(["logs", id, "--tail", "1", "--stream", "stdout"])).stdout).toBe("hello Ann\n");
    for (const where of [[], ["--local"]]) {
      const since = (when: string) => shell.run(["logs", id, "--stream", "stdout", "--since", when, ...where]);
      expect((await since("1h")).stdout).toBe("hello Ann\n");
      const later = { stdout: "", stderr: "nothing since 2999-01-01T00:00:00.000Z\n", code: 0 };
      expect(await since("2999-01-01")).toMatchObject(later);
    }

    expect(await shell.json("outputs", "ls", id)).toMatchObject({
      outputs: [{ output: "greeting", path: "greeting.txt", bytes: 4, stored: true }],
    });
    expect((await shell.run(["outputs", "cat", id, "greeting"])).stdout).toBe("Ann\n");
    expect(await shell.run(["outputs", "cat", id, "greting.txt"])).toMatchObject({
      code: 66,
      stderr: expect.stringContaining("did you mean 'greeting.txt'?"),
    });
    await mkdir(shell.directory.join("results"));
    const got = await shell.run(["outputs", "get", id, "*.txt", "--to", "results"]);
    expect(got).toMatchObject({ code: 0, stdout: expect.stringContaining("digest verified") });
    expect(await readFile(shell.directory.join("results", "greeting.txt"), "utf8")).toBe("Ann\n");
    expect(await readdir(shell.directory.join("results"))).toEqual(["greeting.txt"]);
    expect(await shell.run(["outputs", "get", id, "--to", "results"])).toMatchObject({
      code: 65,
      stderr: expect.stringContaining("--force"),
    });
    expect((await shell.run(["outputs", "get", id, "--to", "results", "--force"])).code).toBe(0);
  });

  test("that fails says why in every place, with exit code 1", async () => {
    const { shell } = rig;
    const made = await shell.run(["submit", "failing-1.0.0", "--wait"]);
    expect(made.code).toBe(1);
    expect(made.stderr).toContain("FAILED");
    const id = await shell.id("jobs", "--all", "--limit", "1");
    expect((await shell.run(["wait", id])).code).toBe(1);
    expect(await shell.json("explain", id)).toMatchObject({
      status: "FAILED",
      why: expect.stringContaining("3"),
      do: expect.any(Array),
    });
    expect((await shell.run(["jobs", "--all", "--status", "failed"])).stdout).toMatch(/INFO\n.*FAILED.*3/);
    const again = await shell.run(["retry", "last", "--reason", "once more", "-o", "json"]);
    const { results } = JSON.parse(again.stdout) as {
      results: { id: string; job: { id: string; retry_of: string } }[];
    };
    expect(results[0]).toMatchObject({ id, job: { retry_of: id } });
    expect((await shell.run(["wait", results[0]?.job.id ?? ""])).code).toBe(1);
  });

  test("can be followed, and cancelled, by a beginning of its id", async () => {
    const { shell } = rig;
    const id = await shell.id("submit", "slow-1.0.0");
    await using following = await shell.start(["logs", id, "-f", "--stream", "stdout"]);
    await following.output(/begun/);
    expect(await shell.run(["wait", id, "--timeout", "200ms"])).toMatchObject({ code: 124 });
    expect(await shell.run(["jobs", "--status", "RUNNING"])).toMatchObject({ stdout: expect.stringContaining(id) });
    const beginning = id.slice("nmdc:".length, -3);
    const cancelled = await shell.run(["cancel", beginning, "--reason", "enough"]);
    expect(cancelled).toMatchObject({ code: 0, stdout: expect.stringContaining(`${id}  cancel requested`) });
    await using watching = await shell.start(["watch", id, "-o", "jsonl"]);
    expect((await watching.result(30_000)).code).toBe(1);
    const lines = watching.stdout
      .trimEnd()
      .split("\n")
      .map((line) => JSON.parse(line) as { event: string });
    expect(lines.at(-1)).toMatchObject({ event: "end", finished: false, jobs: [{ id, status: "CANCELLED" }] });
    expect((await following.result(30_000)).code).toBe(0);
    expect((await shell.run(["cancel", id])).stdout).toContain("had ended already");
  });

  test("with control sequences in its log reaches a pipe unchanged", async () => {
    const { shell } = rig;
    const id = await shell.id("submit", "odd-1.0.0");
    expect((await shell.run(["wait", id])).code).toBe(0);
    await waitFor(async () => (await shell.run(["logs", id])).stdout === "\u001b[2Jclear\n", { what: "the log" });
  });
});

describe("many jobs", () => {
  test("come from a file, one answer per line", async () => {
    const { shell } = rig;
    const lines = [
      { parameters: { name: "one" }, tags: { n: "1" } },
      { workflow: "hello-1.0.0", tags: { n: "2" } },
    ];
    await writeFile(shell.directory.join("jobs.jsonl"), lines.map((line) => JSON.stringify(line)).join("\n"));
    const args = [
      "submit",
      "hello-1.0.0",
      "--file",
      "jobs.jsonl",
      "--tag",
      "batch=b1",
      "--idempotency-key",
      "k1",
      "-o",
      "name",
    ];
    const first = (await shell.run(args)).stdout;
    expect(first.trim().split("\n")).toHaveLength(2);
    expect((await shell.run(args)).stdout).toBe(first);
    expect((await shell.run(["wait", ...first.trim().split("\n")])).code).toBe(0);

    const { stdout } = await shell.run([
      "jobs",
      "--all",
      "--tag",
      "batch=b1",
      "--columns",
      "id,tags,owner",
      "--no-header",
      "--sort",
      "created",
    ]);
    expect(stdout.trimEnd().split("\n")).toHaveLength(2);
    expect(stdout).toContain("batch=b1");
    const listed = (await shell.json("jobs", "--all", "--tag", "batch=b1")) as {
      total: number;
      jobs: { owner: string }[];
    };
    expect(listed).toMatchObject({ total: 2, jobs: [{ owner: "admin" }, { owner: "admin" }] });
    const limited = await shell.run(["jobs", "--all", "--tag", "batch=b1", "--limit", "1"]);
    expect(limited.stderr).toContain("1 of 2 jobs shown");
  });

  test("of a bad file are named by their line", async () => {
    const { shell } = rig;
    const bad = await shell.run(["submit", "--file", "-"], { input: '{"workflow":"hello-1.0.0"}\n{"workfow":"x"}\n' });
    expect(bad).toMatchObject({ code: 65, stdout: "", stderr: expect.stringContaining("line 2") });
  });

  test("are cancelled by filters only with --yes where nobody can answer", async () => {
    const { shell } = rig;
    const ids = [
      await shell.id("submit", "slow-1.0.0", "--tag", "group=g"),
      await shell.id("submit", "slow-1.0.0", "--tag", "group=g"),
    ];
    const refused = await shell.run(["cancel", "--all-matching", "--tag", "group=g"]);
    expect(refused).toMatchObject({ code: 64, stderr: expect.stringContaining("Cancel 2 jobs?") });
    expect(await shell.run(["cancel", "--tag", "group=g"])).toMatchObject({ code: 64 });
    const done = (await shell.run(["cancel", "--all-matching", "--tag", "group=g", "--yes", "-o", "name"])).stdout;
    expect(done.trim().split("\n").toSorted()).toEqual(ids.toSorted());
    expect((await shell.run(["wait", ...ids])).code).toBe(1);
    expect(await shell.run(["cancel", "--all-matching", "--tag", "group=g", "--yes"])).toMatchObject({ code: 66 });
  });
});

describe("words for jobs", () => {
  test("that fit nothing or too much are refused", async () => {
    const { shell } = rig;
    await shell.id("submit", "hello-1.0.0");
    await shell.id("submit", "hello-1.0.0");
    expect(await shell.run(["job", "nmdc:nothing"])).toMatchObject({ code: 66 });
    expect(await shell.run(["job", "nmdc:"])).toMatchObject({
      code: 64,
      stderr: expect.stringMatching(/fits \d+ jobs/),
    });
  });

  test("--dry-run shows the request and sends nothing", async () => {
    const { shell } = rig;
    const before = ((await shell.json("jobs", "--all")) as { total: number }).total;
    await writeFile(shell.directory.join("config.yaml"), "reads: {url: https://x.example}\n");
    const args = [
      "submit",
      "hello-1.0.0",
      "-p",
      "n:=4",
      "-p",
      "s=4",
      "-c",
      "config.yaml",
      "-c",
      "reads.size:=3",
      "--dry-run",
      "-o",
      "json",
    ];
    const { stdout, code } = await shell.run(args);
    expect(code).toBe(0);
    expect(JSON.parse(stdout)).toMatchObject({
      workflow: "hello-1.0.0",
      parameters: { n: 4, s: "4" },
      config: { reads: { url: "https://x.example", size: 3 } },
    });
    expect(((await shell.json("jobs", "--all")) as { total: number }).total).toBe(before);
  });

  test("an uploaded input becomes a URL in the config", async () => {
    const { shell } = rig;
    await writeFile(shell.directory.join("reads.txt"), "acgt\n");
    const job = await shell.json("submit", "elsewhere-1.0.0", "-i", "reads=reads.txt");
    expect(job).toMatchObject({ status: "PENDING", config: { reads: expect.stringMatching(/^https?:.*reads\.txt$/) } });
    expect(await shell.json("explain", "last")).toMatchObject({ why: expect.stringContaining("'elsewhere-1.0.0'") });
    expect((await shell.run(["cancel", "last"])).stdout).toContain("cancelled");
  });
});
